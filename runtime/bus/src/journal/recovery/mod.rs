//! Opening: finds the files, the last frame and what may not have been synced, writes that again, and replays.
//!
//! Nothing but leftovers is changed before all that can refuse the opening was looked at.

mod check;
mod files;
mod mend;
mod rebuild;
mod replay;
mod tail;
mod walk;

use std::sync::Arc;

use self::files::{Files, SegmentFile};
use self::rebuild::unsealed;
use self::replay::Replayer;
use self::tail::Tail;
use super::housekeeping::Prepared;
use super::index::Index;
use super::sealed::LastFrame;
use super::segment::{OpenSegment, Segment, Shared};
use super::writer::{Current, Replay};
use super::{JournalOptions, OpenError, Place, SegmentNumbers};
use crate::FrameNumber;
use crate::disk::Disk;

pub use self::check::JournalSummary;
pub(crate) use self::check::check_journal;
pub(crate) use self::files::{oldest_frame, reaches_back};
pub(super) use self::rebuild::rebuild;

/// The report of an opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the store was new.
    pub created: bool,
    /// Whether it had been closed: its last frame is a closing one.
    pub clean: bool,
    /// The oldest frame kept; the one after the last if there is none.
    pub oldest: FrameNumber,
    /// The last frame, now synced.
    pub last: FrameNumber,
    /// Frames handed to the replay.
    pub frames_replayed: u64,
    /// Frames whose header was broken in one byte and was read as it had been written.
    pub frames_mended: u64,
    /// Frames that were gone past, for their headers are broken. What they hold of events cannot be read, where no
    /// index tells its place, and what they changed is lost if they are not in the tables.
    pub lost: Vec<Lost>,
    /// Frames written again and synced, for nobody knew whether they had been.
    pub frames_rewritten: u64,
    /// What was found after the last frame and given up.
    pub cut: Option<Cut>,
}

/// Frames that were written in part, or whose like follow a frame that was: none of them was ever synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The first frame that is gone.
    pub frame: FrameNumber,
    /// Where it began.
    pub place: Place,
    /// Bytes of the frames given up, as far as their headers tell.
    pub bytes: u64,
}

/// Frames that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The last frame before them.
    pub after: FrameNumber,
    /// The first frame after them.
    pub before: FrameNumber,
    /// Where they begin.
    pub place: Place,
    /// Bytes up to the next frame, or to the end of the segment.
    pub bytes: u64,
}

/// What the journal starts from.
pub(super) struct Recovered {
    pub(super) shared: Shared,
    pub(super) current: Option<Current>,
    /// The next segment, if it was found ready.
    pub(super) prepared: Option<Prepared>,
    pub(super) next_segment: u64,
    pub(super) last: LastFrame,
    /// Segments that are full and have no footer.
    pub(super) unsealed: Vec<Arc<Segment>>,
    pub(super) report: Recovery,
}

/// Finds out what is on the disk, makes it last, and replays what comes after `persisted`.
pub(super) fn recover(
    disk: Arc<dyn Disk>,
    options: &JournalOptions,
    persisted: FrameNumber,
    replay: &mut Replay<'_>,
) -> Result<Recovered, OpenError> {
    let files = Files::find(&*disk)?;
    let shared = Shared::new(disk, files.store, options);
    let disk = &*shared.disk;
    let tail = Tail::find(disk, &files, persisted)?;
    if tail.last.number < persisted {
        return Err(OpenError::TablesAhead { persisted, last: tail.last.number });
    }
    let frames_rewritten = tail.rewrite(options.control)?;
    let mut replayer = Replayer::new((persisted, &tail.lost), replay);
    let index = tail.replay(&mut replayer)?;
    let report = Recovery {
        created: files.created,
        clean: tail.closed(),
        oldest: tail.oldest,
        last: tail.last.number,
        frames_replayed: replayer.frames,
        frames_mended: tail.mended,
        lost: tail.lost.clone(),
        frames_rewritten,
        cut: tail.cut,
    };
    let (used, spare) = files.segments.split_at(tail.used);
    let newest_number = used.last().map_or(0, |newest| newest.numbers.last);
    let prepared = keep_one(disk, spare)?;
    let unsealed = unsealed(disk, files.store, used, &tail)?;
    let last = tail.last;
    let current = fill(&shared, used, &unsealed, tail, index);
    Ok(Recovered { shared, current, prepared, next_segment: newest_number + 1, last, unsealed, report })
}

/// Lists the segments in use; the newest is the one to write on.
fn fill(
    shared: &Shared,
    used: &[SegmentFile],
    unsealed: &[Arc<Segment>],
    mut tail: Tail,
    index: Index,
) -> Option<Current> {
    let mut segments = shared.segments.write();
    for &SegmentFile { numbers, byte_len } in used {
        let open = unsealed.iter().find(|segment| segment.numbers == numbers).cloned();
        segments.push_back(open.unwrap_or_else(|| Segment::sealed(numbers, byte_len)));
    }
    let newest = tail.segments.pop()?;
    let (end, file) = (newest.end(), newest.file);
    let open = OpenSegment { file: Arc::clone(&file), index, last: tail.last };
    let segment = Segment::open(SegmentNumbers::one(newest.number), newest.byte_len, open);
    segments.pop_back();
    segments.push_back(Arc::clone(&segment));
    Some(Current { segment, file, end })
}

/// Keeps the first segment that is not in use as the next one, and removes the others, newest first.
fn keep_one(disk: &dyn Disk, spare: &[SegmentFile]) -> Result<Option<Prepared>, OpenError> {
    let Some((first, others)) = spare.split_first() else { return Ok(None) };
    // Whoever put the file in place may not have come to sync its name.
    disk.sync_directory()?;
    for other in others.iter().rev() {
        disk.remove(&other.numbers.name())?;
        disk.sync_directory()?;
    }
    let file = disk.open(&first.numbers.name())?;
    Ok(Some(Prepared { number: first.numbers.first, byte_len: first.byte_len, file }))
}
