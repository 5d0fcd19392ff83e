//! Every frame, block and index of a journal, read and held to its checksums, without changing anything. What is
//! broken is gone past, to the next header that tells that what is before it was synced.

use std::sync::Arc;

use super::Lost;
use super::files::{Listed, SegmentFile};
use super::walk::{FrameAt, FrameBytes, Walk, place_in};
use crate::block::{Block, BlockHeader, HEADER_BYTES};
use crate::bytes::align;
use crate::check::{Fault, Whose};
use crate::disk::{Disk, DiskFile, IoSliceMut};
use crate::journal::format::{
    FrameHeader, PAGE, PAGE_BYTES, STORE, SegmentFault, SegmentHeader, SegmentKind, SegmentNumbers,
    StoreFault, StoreFile, VERSION, kind,
};
use crate::journal::sealed::{LastFrame, Sealed};
use crate::journal::{OpenError, Place};
use crate::tables::Deltas;
use crate::{DriverKey, FrameNumber};

/// What a journal holds, as far as it is sound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalSummary {
    /// Segments in use.
    pub segments: u64,
    /// The first frame kept.
    pub first: FrameNumber,
    /// The last frame.
    pub last: FrameNumber,
    /// Sound blocks.
    pub blocks: u64,
    /// Events in them.
    pub events: u64,
    /// Sound changes of tables.
    pub changes: u64,
    /// A frame at the end that is broken and was never known to be synced: the next opening cuts it off.
    pub cut: Option<FrameNumber>,
}

/// Checks the journal on `disk`; `persisted` is how far the tables have come.
pub(crate) fn check_journal(
    disk: &dyn Disk,
    persisted: FrameNumber,
    faults: &mut Vec<Fault>,
) -> Result<JournalSummary, OpenError> {
    let segments = used_segments(disk, faults)?;
    let mut check = Check { faults, summary: JournalSummary::default(), synced: persisted, late: Vec::new() };
    check.summary.segments = segments.len() as u64;
    let mut previous = None;
    for (index, segment) in segments.iter().enumerate() {
        let follower = segments.get(index + 1).and_then(|next| next.header).map(|header| before(&header));
        previous = Some(check.segment(segment, previous, follower)?);
    }
    Ok(check.finish(previous))
}

/// A segment in use.
struct Used {
    numbers: SegmentNumbers,
    byte_len: u64,
    file: Arc<dyn DiskFile>,
    store: u128,
    /// `None` if both copies are broken.
    header: Option<SegmentHeader>,
}

/// The frame before the first of a segment.
fn before(header: &SegmentHeader) -> LastFrame {
    LastFrame { number: FrameNumber(header.first_frame.0 - 1), crc: header.previous_crc }
}

/// The segments up to the newest that has a header, oldest first.
fn used_segments(disk: &dyn Disk, faults: &mut Vec<Fault>) -> Result<Vec<Used>, OpenError> {
    // What was joined is as good as removed.
    let segments = Listed::of(&disk.list()?).segments;
    let mut used = Vec::new();
    let store = store_id(disk, segments.first(), faults)?;
    for SegmentFile { numbers, byte_len } in segments {
        let file = disk.open(&numbers.name())?;
        let header = match SegmentHeader::decode_page(&first_page(&*file)?, store, numbers) {
            Ok(header) => Some(header),
            Err(SegmentFault::Newer(found)) => return Err(OpenError::NewerVersion { found, known: VERSION }),
            Err(SegmentFault::Broken) => None,
        };
        used.push(Used { numbers, byte_len, file, store, header });
    }
    let count = used.iter().rposition(|segment| segment.header.is_some()).map_or(0, |newest| newest + 1);
    used.truncate(count);
    for pair in used.windows(2).filter(|pair| pair[0].numbers.last + 1 != pair[1].numbers.first) {
        let place = Place { segment: pair[0].numbers.last + 1, byte: 0 };
        faults.push(fault(place, "the segment is missing", Whose::Store));
    }
    for segment in used.iter().filter(|segment| segment.header.is_none()) {
        let place = Place { segment: segment.numbers.first, byte: 0 };
        faults.push(fault(place, "both headers of the segment are broken", Whose::Store));
    }
    Ok(used)
}

/// The id in `STORE`, or, if that is broken, in the first segment.
fn store_id(
    disk: &dyn Disk,
    oldest: Option<&SegmentFile>,
    faults: &mut Vec<Fault>,
) -> Result<u128, OpenError> {
    let names = disk.list()?;
    let len = names.iter().find(|(name, _)| name == STORE).map_or(0, |(_, len)| *len);
    let mut bytes = vec![0; usize::try_from(len.min(PAGE)).unwrap_or(0)];
    if len > 0 {
        disk.open(STORE)?.read_at(&mut [IoSliceMut::new(&mut bytes)], 0)?;
    }
    match StoreFile::decode(&bytes) {
        Ok(file) => return Ok(file.store),
        Err(StoreFault::Newer(found)) => return Err(OpenError::NewerVersion { found, known: VERSION }),
        Err(StoreFault::Broken) => {}
    }
    let place = Place { segment: 0, byte: 0 };
    faults.push(fault(place, "the file STORE is broken or missing", Whose::Store));
    let first = oldest.map(|oldest| disk.open(&oldest.numbers.name())).transpose()?;
    let header = first.map(|file| first_page(&*file)).transpose()?.map(|page| SegmentHeader::decode(&page));
    match header {
        Some(Ok(header)) => Ok(header.store),
        _ => Err(OpenError::Store { what: "broken, and no segment tells the store's id" }),
    }
}

fn first_page(file: &dyn DiskFile) -> std::io::Result<Vec<u8>> {
    let len = file.byte_len()?.min(PAGE);
    let mut page = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_at(&mut [IoSliceMut::new(&mut page)], 0)?;
    page.resize(PAGE_BYTES, 0);
    Ok(page)
}

fn fault(place: Place, what: impl Into<String>, whose: Whose) -> Fault {
    Fault { place: Some(place), what: what.into(), whose }
}

struct Check<'a> {
    faults: &'a mut Vec<Fault>,
    summary: JournalSummary,
    /// The last frame that something says was synced.
    synced: FrameNumber,
    /// Faults in frames of which nothing says yet that they were synced.
    late: Vec<(FrameNumber, Fault)>,
}

impl Check<'_> {
    /// Checks a segment that comes after the frame `previous`, as far as that is known; `follower` is where the
    /// next segment says that it ends. Returns its last frame.
    fn segment(
        &mut self,
        segment: &Used,
        previous: Option<LastFrame>,
        follower: Option<LastFrame>,
    ) -> Result<LastFrame, OpenError> {
        let own = segment.header.as_ref().map(before);
        let nothing = LastFrame { number: FrameNumber(0), crc: 0 };
        let start = own.or(previous).unwrap_or(nothing);
        if self.summary.first == FrameNumber(0) {
            self.summary.first = start.number.next();
        }
        if let (Some(previous), Some(own)) = (previous, own)
            && previous.number < own.number
        {
            let place = Place { segment: segment.numbers.first, byte: 0 };
            let whose = Whose::Unknown { after: previous.number, before: own.number.next() };
            self.faults.push(fault(place, "frames before this segment are missing", whose));
        }
        self.synced = self.synced.max(start.number).max(follower.map_or(start.number, |last| last.number));
        if let Some(header) = segment.header.filter(|header| header.kind == SegmentKind::Settled) {
            self.settled(segment, header.blocks)?;
            let last = follower.unwrap_or(start);
            self.summary.last = self.summary.last.max(last.number);
            self.index(segment, last)?;
            return Ok(last);
        }
        let mut walk = Walk {
            file: &*segment.file,
            segment: segment.numbers.first,
            byte_len: segment.byte_len,
            store: segment.store,
            byte: PAGE,
            previous: start,
            follower,
            ahead: None,
        };
        let mut bytes = FrameBytes::default();
        loop {
            if let Some(frame) = walk.next()? {
                self.synced = self.synced.max(frame.synced_through);
                self.frame(segment, &frame, &mut bytes)?;
                continue;
            }
            let Some(Lost { after, before, place, .. }) = walk.go_past()? else { break };
            self.faults.push(fault(
                place,
                "the header of a frame is broken",
                Whose::Unknown { after, before },
            ));
        }
        if let Some(last) = follower {
            self.index(segment, last)?;
            return Ok(last);
        }
        self.remains(&walk)?;
        Ok(walk.previous)
    }

    /// Takes note of what is left of a frame where the journal ends.
    fn remains(&mut self, walk: &Walk<'_>) -> Result<(), OpenError> {
        let next = walk.previous.number.next();
        if walk.byte + PAGE <= walk.byte_len {
            let mut page = [0; PAGE_BYTES];
            walk.file.read_at(&mut [IoSliceMut::new(&mut page)], walk.byte)?;
            if FrameHeader::number_in_damaged(&page, walk.store).is_some_and(|number| number >= next) {
                self.summary.cut = Some(next);
            }
        }
        Ok(())
    }

    fn frame(&mut self, segment: &Used, frame: &FrameAt, bytes: &mut FrameBytes) -> Result<(), OpenError> {
        self.summary.last = self.summary.last.max(frame.number);
        if frame.is_mended {
            let what = "one byte in the header of a frame is broken";
            self.faults.push(fault(place_in(segment.numbers.first, frame, 0), what, Whose::Nobody));
        }
        if !bytes.read(&*segment.file, frame)? {
            let what = "the header of a frame changed while it was read";
            self.late
                .push((frame.number, fault(place_in(segment.numbers.first, frame, 0), what, Whose::Store)));
            return Ok(());
        }
        for (section, content, start) in bytes.sections() {
            let place = place_in(segment.numbers.first, frame, start);
            match section.kind {
                kind::BLOCKS => self.blocks((segment.numbers.first, frame), section.crc, content, start),
                kind::DELTA
                    if crc32c::crc32c(content) == section.crc && Deltas::is_sound(section.owner, content) =>
                {
                    self.summary.changes += 1;
                }
                kind::DELTA => {
                    let whose = match section.owner {
                        DriverKey::NONE => Whose::Store,
                        DriverKey::PUBLISHERS => Whose::Publishes,
                        driver => Whose::Driver(driver),
                    };
                    self.late.push((frame.number, fault(place, "a change of tables is broken", whose)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks the blocks of a section that begins at `start` in its frame.
    fn blocks(&mut self, (segment, frame): (u64, &FrameAt), crc: u32, content: &[u8], start: usize) {
        let (mut at, mut found, mut lost) = (0, 0, None);
        while at < content.len() {
            let rest = &content[at..];
            let header = BlockHeader::decode(rest).ok();
            let len = header.as_ref().and_then(|header| usize::try_from(header.byte_len()).ok());
            let (Some(header), Some(len)) = (header, len.filter(|&len| len <= rest.len())) else {
                // Blocks begin at multiples of 8.
                lost.get_or_insert(at);
                at += 8;
                continue;
            };
            found = crc32c::crc32c_append(found, &rest[..crate::block::HEADER_BYTES]);
            if let Ok(block) = Block::decode(&rest[..len]) {
                self.summary.blocks += 1;
                self.summary.events += block.columns.len() as u64;
            } else {
                let whose = Whose::Events { source: header.target, first: header.first, end: header.end() };
                let place = place_in(segment, frame, start + at);
                self.late.push((frame.number, fault(place, "a block is broken", whose)));
            }
            at += usize::try_from(align(len as u64, 8)).unwrap_or(usize::MAX);
        }
        if lost.is_some() || found != crc {
            let place = place_in(segment, frame, start + lost.unwrap_or(0));
            let whose = Whose::UnknownIn(frame.number);
            self.late.push((frame.number, fault(place, "the header of a block is broken", whose)));
        }
    }

    /// Checks the blocks of a settled segment, which stand one after the other.
    fn settled(&mut self, segment: &Used, blocks: u32) -> Result<(), OpenError> {
        let (mut at, mut bytes) = (PAGE, Vec::new());
        for _ in 0..blocks {
            let place = Place { segment: segment.numbers.first, byte: at };
            bytes.resize(HEADER_BYTES.min(usize::try_from(segment.byte_len - at).unwrap_or(0)), 0);
            segment.file.read_at(&mut [IoSliceMut::new(&mut bytes)], at)?;
            let header = BlockHeader::decode(&bytes).ok();
            let Some(header) = header.filter(|header| header.byte_len() <= segment.byte_len - at) else {
                let whose = Whose::UnknownIn(FrameNumber(0));
                self.faults.push(fault(place, "the header of a block in a settled segment is broken", whose));
                return Ok(());
            };
            bytes.resize(usize::try_from(header.byte_len()).unwrap_or(0), 0);
            segment.file.read_at(&mut [IoSliceMut::new(&mut bytes)], at)?;
            if let Ok(block) = Block::decode(&bytes) {
                self.summary.blocks += 1;
                self.summary.events += block.columns.len() as u64;
            } else {
                let whose = Whose::Events { source: header.target, first: header.first, end: header.end() };
                self.faults.push(fault(place, "a block is broken", whose));
            }
            at += align(header.byte_len(), 8);
        }
        Ok(())
    }

    /// Checks the index of a sealed segment.
    fn index(&mut self, segment: &Used, last: LastFrame) -> Result<(), OpenError> {
        let sealed = Sealed::read(&segment.file, segment.byte_len)?;
        let sealed = sealed.filter(|sealed| sealed.belongs(segment.store, segment.numbers.first, last));
        let is_sound = match &sealed {
            Some(sealed) => sealed.rows.iter().all(|row| matches!(sealed.entries(row), Ok(Some(_)))),
            None => false,
        };
        if !is_sound {
            let place = Place { segment: segment.numbers.first, byte: segment.byte_len };
            self.faults.push(fault(place, "the index of the segment is broken or missing", Whose::Nobody));
        }
        Ok(())
    }

    /// Tells faults from a cut: only a frame at the end of which nothing says that it was synced may be broken.
    fn finish(self, last: Option<LastFrame>) -> JournalSummary {
        let Self { faults, mut summary, synced, late } = self;
        summary.last = summary.last.max(last.map_or(FrameNumber(0), |last| last.number));
        for (frame, fault) in late {
            if frame <= synced {
                faults.push(fault);
            } else {
                summary.cut = Some(summary.cut.map_or(frame, |cut| cut.min(frame)));
            }
        }
        summary
    }
}
