//! The journal's one writer.

use std::sync::Arc;

use super::{
    AppendError, FrameParts, JournalOptions, JournalReader, OpenError, Recovery, ReleaseError, Section,
    SegmentSummary, SyncError,
};
use crate::FrameNumber;
use crate::disk::Disk;

/// Takes the sections of replayed frames; an error ends the opening with these words.
pub type Replay<'a> = dyn FnMut(FrameNumber, &Section<'_>) -> Result<(), Arc<str>> + 'a;

/// The journal, for the one thread that appends to it.
pub struct Journal {}

impl Journal {
    /// Opens the journal on `disk`, which must be locked, or makes a new one if the disk is empty.
    ///
    /// Whatever may not have been synced is written again and synced first. Then the sections of every frame
    /// after `persisted` (how far the tables have come on their own disk) go to `replay`, in order.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: JournalOptions,
        persisted: FrameNumber,
        replay: &mut Replay<'_>,
    ) -> Result<(Self, Recovery), OpenError> {
        let _ = (disk, options, persisted, replay);
        unimplemented!("lands next")
    }

    /// A reader; clones of it may go to any thread.
    pub fn reader(&self) -> JournalReader {
        unimplemented!("lands next")
    }

    /// Writes a frame and returns its number. It is not synced yet, but readers find its blocks at once:
    /// who must not see them is kept from them by the high watermark.
    pub fn append(&mut self, parts: FrameParts<'_>) -> Result<FrameNumber, AppendError> {
        let _ = parts;
        unimplemented!("lands next")
    }

    /// Waits until every frame appended so far is on the disk, and returns the last one's number. After a
    /// failure the journal takes nothing more.
    pub fn sync(&mut self) -> Result<FrameNumber, SyncError> {
        unimplemented!("lands next")
    }

    /// The last frame appended.
    pub fn last(&self) -> FrameNumber {
        unimplemented!("lands next")
    }

    /// The last frame known to be on the disk.
    pub fn synced(&self) -> FrameNumber {
        unimplemented!("lands next")
    }

    /// The oldest frame kept.
    pub fn oldest(&self) -> FrameNumber {
        unimplemented!("lands next")
    }

    /// Bytes of all segments in use.
    pub fn bytes(&self) -> u64 {
        unimplemented!("lands next")
    }

    /// Gives up the oldest segments, one by one, as long as all frames of the next one are at or before
    /// `persisted` and `may_drop` agrees; returns their summaries' number. Their files are used again when
    /// no reader is in them any more. The segment being written is never given up.
    pub fn release(
        &mut self,
        persisted: FrameNumber,
        may_drop: &mut dyn FnMut(&SegmentSummary) -> bool,
    ) -> Result<u64, ReleaseError> {
        let _ = (persisted, may_drop);
        unimplemented!("lands next")
    }

    /// Syncs, writes the closing frame that tells the next opening that nothing is missing, and syncs it.
    pub fn close(self) -> Result<(), SyncError> {
        unimplemented!("lands next")
    }
}
