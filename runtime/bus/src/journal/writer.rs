//! The journal's one writer: where the next frame goes, what is synced, what is given up.

use std::sync::Arc;

use super::assemble::{Assembler, FrameIdentity, paged_len};
use super::format::{PAGE, SegmentHeader, SegmentKind};
use super::housekeeping::{Housekeeper, Prepared};
use super::index::Index;
use super::random::random;
use super::recovery::{Recovered, recover};
use super::sealed::LastFrame;
use super::segment::{OpenSegment, Segment, Shared};
use super::{
    AppendError, FrameParts, JournalOptions, JournalReader, OpenError, PlacedBlock, Recovery, ReleaseError,
    Section, SegmentNumbers, SegmentSummary, SyncError,
};
use crate::block::{BlockHeader, HEADER_BYTES};
use crate::disk::{Disk, DiskFile};
use crate::limits::{BLOCK_BYTES_MAX, FRAME_BYTES_MAX, SEGMENT_BYTES_MAX};
use crate::{FrameNumber, crash};

/// Takes the sections of replayed frames; an error ends the opening with these words.
pub type Replay<'a> = dyn FnMut(FrameNumber, &Section<'_>) -> Result<(), Arc<str>> + 'a;

/// The journal, for the one thread that appends to it.
pub struct Journal {
    shared: Arc<Shared>,
    housekeeper: Housekeeper,
    pub(super) options: JournalOptions,
    assembler: Assembler,
    /// The blocks of the frame being written, with their bytes in the segment.
    headers: Vec<(BlockHeader, u32)>,
    life: u64,
    current: Option<Current>,
    /// The number of the segment after the newest.
    next_segment: u64,
    last: LastFrame,
    synced: FrameNumber,
    oldest: FrameNumber,
    poison: Option<Arc<str>>,
}

/// The segment that is being written.
pub(super) struct Current {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn DiskFile>,
    /// Where the next frame goes; 0 if the segment's header is not written yet.
    pub(super) end: u64,
}

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
        let Recovered { shared, current, prepared, next_segment, last, unsealed, report } =
            recover(disk, &options, persisted, replay)?;
        let shared = Arc::new(shared);
        let housekeeper = Housekeeper::start(Arc::clone(&shared), options.housekeeping, prepared)?;
        let mut journal = Self {
            shared,
            housekeeper,
            options,
            assembler: Assembler::default(),
            headers: Vec::new(),
            life: random(),
            current,
            next_segment,
            last,
            synced: last.number,
            oldest: report.oldest,
            poison: None,
        };
        for segment in unsealed {
            journal.housekeeper.seal(segment);
        }
        let bytes = journal.segment_bytes();
        journal.housekeeper.expect(next_segment, bytes);
        Ok((journal, report))
    }

    /// A reader; clones of it may go to any thread.
    pub fn reader(&self) -> JournalReader {
        JournalReader::new(Arc::clone(&self.shared))
    }

    /// Writes a frame and returns its number. It is not synced yet, but readers find its blocks at once:
    /// who must not see them is kept from them by the high watermark. A frame without parts closes.
    pub fn append(&mut self, parts: FrameParts<'_>) -> Result<FrameNumber, AppendError> {
        if let Some(poison) = &self.poison {
            return Err(AppendError::Poisoned(Arc::clone(poison)));
        }
        // Whoever reads it decompresses it.
        let whole = |placed: &PlacedBlock| (HEADER_BYTES + placed.block.byte_len()) as u64;
        let largest = parts.blocks.iter().map(whole).max().unwrap_or(0);
        if largest > BLOCK_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: largest, limit: BLOCK_BYTES_MAX });
        }
        let frame_bytes = paged_len(parts);
        if frame_bytes > FRAME_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: frame_bytes, limit: FRAME_BYTES_MAX });
        }
        let (next, before) = (self.next_segment, self.make_room(parts, frame_bytes)?);
        self.write(parts, frame_bytes)?;
        if let Some(before) = before {
            self.housekeeper.seal(before);
        }
        if self.next_segment != next {
            let bytes = self.segment_bytes();
            self.housekeeper.expect(self.next_segment, bytes);
        }
        Ok(self.last.number)
    }

    /// Waits until every frame appended so far is on the disk, and returns the last one's number. After a
    /// failure the journal takes nothing more.
    pub fn sync(&mut self) -> Result<FrameNumber, SyncError> {
        if let Some(poison) = &self.poison {
            return Err(SyncError(Arc::clone(poison)));
        }
        if let Some(current) = &self.current
            && self.synced < self.last.number
        {
            if let Err(error) = current.file.sync_data() {
                return Err(SyncError(self.poison(&error)));
            }
            self.synced = self.last.number;
            crash::point("after-sync");
        }
        Ok(self.synced)
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The last frame appended.
    pub fn last(&self) -> FrameNumber {
        self.last.number
    }

    /// The last frame known to be on the disk.
    pub fn synced(&self) -> FrameNumber {
        self.synced
    }

    /// The oldest frame kept.
    pub fn oldest(&self) -> FrameNumber {
        self.oldest
    }

    /// Bytes of all segments in use.
    pub fn bytes(&self) -> u64 {
        self.reader().segment_bytes()
    }

    /// The number of the segment after the newest.
    pub fn next_segment(&self) -> u64 {
        self.next_segment
    }

    /// Segments that can still be begun: those that fit on the disk, and the one that is ready.
    pub fn room(&self) -> std::io::Result<u64> {
        let free_bytes = self.shared.disk.free_bytes()?.saturating_add(self.housekeeper.filled_bytes());
        Ok(free_bytes / self.segment_bytes().max(1) + u64::from(self.housekeeper.has_ready()))
    }

    /// Gives up the oldest segments, one by one, as long as all frames of the next one are at or before
    /// `persisted` and `may_drop` agrees; returns how many. Their files are used again when no reader is in
    /// them any more. The segment being written, and one that is still being sealed, are never given up.
    pub fn release(
        &mut self,
        persisted: FrameNumber,
        may_drop: &mut dyn FnMut(&SegmentSummary) -> bool,
    ) -> Result<u64, ReleaseError> {
        let mut released = 0;
        loop {
            if let Some(fault) = self.housekeeper.fault() {
                return Err(ReleaseError::Stopped(fault));
            }
            let Some(summary) = self.oldest_sealed()? else { return Ok(released) };
            if summary.last_frame > persisted || !may_drop(&summary) {
                return Ok(released);
            }
            let Some(segment) = self.shared.segment(summary.numbers.first) else { return Ok(released) };
            let sealed = self.shared.sealed(&segment)?;
            segment.be_replaced(sealed);
            self.put_away(&segment).map_err(|error| ReleaseError::Stopped(self.poison(&error)))?;
            self.shared.segments.write().pop_front();
            self.shared.forget(&segment);
            self.oldest = summary.last_frame.next();
            self.housekeeper.retire(segment);
            released += 1;
        }
    }

    /// Takes the name from a segment's file. Synced before anything else: found again by an opening, it would be in use,
    /// with a hole behind it where later segments were settled as if it were gone. And before the next is released, so
    /// that a crash never leaves a gap.
    fn put_away(&self, segment: &Segment) -> std::io::Result<()> {
        let disk = &self.shared.disk;
        disk.rename(&segment.numbers.name(), &segment.numbers.released_name())?;
        crash::point("segment-release");
        disk.sync_directory()
    }

    /// Syncs, writes the closing frame that tells the next opening that nothing is missing, and syncs it.
    pub fn close(mut self) -> Result<(), SyncError> {
        self.sync()?;
        self.append(FrameParts::default()).map_err(|error| match error {
            AppendError::Poisoned(what) => SyncError(what),
            error => SyncError(error.to_string().into()),
        })?;
        self.sync()?;
        Ok(())
    }

    /// Bytes of the next segment.
    fn segment_bytes(&self) -> u64 {
        let bytes = if self.next_segment == 1 {
            self.options.first_segment_bytes
        } else {
            self.options.segment_bytes
        };
        bytes.min(SEGMENT_BYTES_MAX)
    }

    /// Makes sure that the current segment has room for the frame; returns the one before it if that is full.
    fn make_room(
        &mut self,
        parts: FrameParts<'_>,
        frame_bytes: u64,
    ) -> Result<Option<Arc<Segment>>, AppendError> {
        let blocks = parts.blocks.len() as u64;
        if let Some(current) = &self.current {
            let open = current.segment.open.read();
            let footer = open.as_ref().map_or(u64::MAX / 2, |open| open.index.footer_len_with(blocks));
            if current.end.max(PAGE) + frame_bytes + footer <= current.segment.byte_len {
                return Ok(None);
            }
        }
        if let Some(fault) = self.housekeeper.fault() {
            self.poison = Some(Arc::clone(&fault));
            return Err(AppendError::Poisoned(fault));
        }
        let needed = PAGE + frame_bytes + Index::default().footer_len_with(blocks);
        let byte_len = self.segment_bytes();
        let prepared =
            self.housekeeper.take(self.next_segment, needed, byte_len).map_err(AppendError::Prepare)?;
        // The next segment's header is the word that everything before it is synced.
        self.sync().map_err(|SyncError(what)| AppendError::Poisoned(what))?;
        Ok(self.begin(prepared))
    }

    /// Makes a prepared segment the current one; returns the one before it.
    fn begin(&mut self, prepared: Prepared) -> Option<Arc<Segment>> {
        let Prepared { number, byte_len, file } = prepared;
        let open = OpenSegment { file: Arc::clone(&file), index: Index::default(), last: self.last };
        let segment = Segment::open(SegmentNumbers::one(number), byte_len, open);
        self.shared.segments.write().push_back(Arc::clone(&segment));
        self.next_segment = number + 1;
        let before = self.current.replace(Current { segment, file, end: 0 });
        before.map(|before| before.segment)
    }

    fn write(&mut self, parts: FrameParts<'_>, frame_bytes: u64) -> Result<(), AppendError> {
        let Some(current) = &mut self.current else { unreachable!("room was made in a segment") };
        let (last, store) = (self.last, self.shared.store);
        let first = (current.end == 0).then(|| SegmentHeader {
            kind: SegmentKind::Journal,
            numbers: current.segment.numbers,
            store,
            first_frame: last.number.next(),
            previous_crc: last.crc,
            blocks: 0,
        });
        let identity = FrameIdentity { store, life: self.life, previous: last, synced: self.synced };
        let at = current.end;
        self.headers.clear();
        let frame = self.assembler.assemble(identity, first.as_ref(), parts, |header, byte| {
            let byte = u32::try_from(at + byte).expect("segments are bounded by 4 GiB");
            self.headers.push((*header, byte));
        });
        crash::point("before-write");
        if let Err(error) = current.file.write_at(&self.assembler.slices(parts), at) {
            return Err(AppendError::Poisoned(self.poison(&error)));
        }
        crash::point("after-write");
        current.end = at.max(PAGE) + frame_bytes;
        self.housekeeper.written(current.end, current.segment.byte_len);
        self.last = frame;
        let mut open = current.segment.open.write();
        let open = open.as_mut().expect("the current segment is not sealed");
        self.headers.iter().for_each(|(header, byte)| open.index.insert(header, *byte));
        open.last = frame;
        Ok(())
    }

    /// The summary of the oldest segment, if it is sealed.
    fn oldest_sealed(&self) -> Result<Option<SegmentSummary>, ReleaseError> {
        let oldest = self.shared.segments.read().front().cloned();
        let Some(oldest) = oldest.filter(|oldest| oldest.open.read().is_none()) else { return Ok(None) };
        Ok(Some(self.shared.summary(&oldest)?))
    }

    /// Takes nothing more: what is on the disk after the last sync is unknown.
    fn poison(&mut self, error: &std::io::Error) -> Arc<str> {
        Arc::clone(self.poison.get_or_insert_with(|| error.to_string().into()))
    }
}
