//! The end of the journal: the segments from the first frame that is not in the tables to the last frame there
//! is, what of it may not have been synced, and what follows it.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use super::files::{Files, SegmentFile};
use super::replay::Replayer;
use super::walk::{FrameAt, FrameBytes, Walk, read_header};
use super::{Cut, Lost};
use crate::bytes::align;
use crate::disk::{Disk, DiskFile};
use crate::journal::format::{
    FrameFault, FrameHeader, PAGE, PAGE_BYTES, SegmentFault, SegmentHeader, SegmentKind, VERSION,
};
use crate::journal::index::Index;
use crate::journal::sealed::LastFrame;
use crate::journal::segment::read_segment_header;
use crate::journal::{Control, OpenError, Place};
use crate::{FrameNumber, crash};

/// Bytes that are read at a time, where no frame says how many.
const CHUNK: u64 = 1 << 20;

/// A segment of the tail.
pub(super) struct TailSegment {
    pub(super) number: u64,
    pub(super) byte_len: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) header: SegmentHeader,
    pub(super) frames: Vec<FrameAt>,
}

impl TailSegment {
    /// Where the next frame goes; 0 if the first is still to come, and the segment's header with it.
    pub(super) fn end(&self) -> u64 {
        self.frames.last().map_or(0, FrameAt::end)
    }

    /// The frame before the first.
    pub(super) fn before(&self) -> LastFrame {
        LastFrame { number: FrameNumber(self.header.first_frame.0 - 1), crc: self.header.previous_crc }
    }

    fn last(&self) -> LastFrame {
        self.frames.last().map_or_else(|| self.before(), FrameAt::last)
    }
}

/// The end of the journal.
pub(super) struct Tail {
    /// How many of the files are in use; the others are ready for it.
    pub(super) used: usize,
    pub(super) segments: Vec<TailSegment>,
    pub(super) oldest: FrameNumber,
    pub(super) last: LastFrame,
    /// The last frame that is known to have been synced.
    synced: FrameNumber,
    pub(super) cut: Option<Cut>,
    /// Frames whose header was mended.
    pub(super) mended: u64,
    /// Frames that were gone past.
    pub(super) lost: Vec<Lost>,
}

impl Tail {
    /// Finds the last frame that can be had. Changes nothing.
    pub(super) fn find(disk: &dyn Disk, files: &Files, persisted: FrameNumber) -> Result<Self, OpenError> {
        let mut segments = Vec::new();
        let mut used = files.segments.len();
        while used > 0 {
            let segment = &files.segments[used - 1];
            if let Some(newest) = open_segment(disk, files.store, *segment)? {
                segments.push(newest);
                break;
            }
            used -= 1;
        }
        let first_frame = |segments: &[TailSegment]| segments.last().map(|oldest| oldest.header.first_frame);
        while let Some(first) = first_frame(&segments)
            && first > persisted.next()
            && segments.len() < used
        {
            segments.push(must_be_used(disk, files.store, files.segments[used - 1 - segments.len()])?);
        }
        segments.reverse();
        check_kinds(&segments, persisted)?;
        let oldest = oldest_frame(disk, files, &segments)?;
        if persisted.next() < oldest {
            return Err(OpenError::TablesBehind { persisted, oldest });
        }
        let Walked { mended, lost } = walk_all(files.store, &mut segments)?;
        let nothing = LastFrame { number: FrameNumber(0), crc: 0 };
        let last = segments.last().map_or(nothing, TailSegment::last);
        let synced = FrameNumber(0);
        let mut tail = Self { used, segments, oldest, last, synced, cut: None, mended, lost };
        tail.synced = tail.synced_through().max(persisted.min(last.number));
        tail.cut = tail.end(disk, files)?;
        Ok(tail)
    }

    /// The segment with the last frame.
    pub(super) fn newest(&self) -> Option<&TailSegment> {
        self.segments.last()
    }

    /// Whether the store was closed after the last frame.
    pub(super) fn closed(&self) -> bool {
        self.newest().and_then(|newest| newest.frames.last()).is_some_and(|frame| frame.closing)
    }

    /// Writes the same bytes in the same places again, of every frame that may not have been synced, and
    /// syncs them: a page may have reached the cache and not the disk. Returns how many frames.
    pub(super) fn rewrite(&self, control: Control) -> Result<u64, OpenError> {
        let Some(newest) = self.newest() else { return Ok(0) };
        let Some(first) = newest.frames.iter().position(|frame| frame.number > self.synced) else {
            return Ok(0);
        };
        if control == Control::ServeTailUnwritten || crash::is_without("tail-rewrite") {
            return Ok(0);
        }
        let mut at = if first == 0 { 0 } else { newest.frames[first].byte };
        let mut bytes = Vec::new();
        while at < newest.end() {
            let len = CHUNK.min(newest.end() - at);
            bytes.resize(usize::try_from(len).unwrap_or(0), 0);
            newest.file.read_at(&mut [IoSliceMut::new(&mut bytes)], at)?;
            newest.file.write_at(&[IoSlice::new(&bytes)], at)?;
            at += len;
        }
        newest.file.sync_data()?;
        Ok((newest.frames.len() - first) as u64)
    }

    /// Replays the tail, and makes the index of the segment that will be written on.
    pub(super) fn replay(&self, replayer: &mut Replayer<'_, '_>) -> Result<Index, OpenError> {
        let mut index = Index::default();
        let Some((newest, older)) = self.segments.split_last() else { return Ok(index) };
        for segment in older {
            replayer.replay(segment, None)?;
        }
        replayer.replay(newest, Some(&mut index))?;
        replayer.lose(None)?;
        Ok(index)
    }

    /// The last frame that some header says was synced: a segment is begun only when all before it is.
    fn synced_through(&self) -> FrameNumber {
        let Some(newest) = self.newest() else { return FrameNumber(0) };
        newest
            .frames
            .last()
            .map_or(newest.before().number, |last| last.synced_through.max(newest.before().number))
    }

    /// Cuts the journal before the first frame that is broken and was not synced, and looks for anything
    /// that says it was.
    fn end(&mut self, disk: &dyn Disk, files: &Files) -> Result<Option<Cut>, OpenError> {
        let spare = &files.segments[self.used..];
        let mut rest = Rest::new(files.store, self.last.number.next());
        let Some(newest) = self.segments.last_mut() else {
            let first = spare.first();
            if let Some(first) = first.filter(|first| first.numbers.first != 1) {
                return Err(broken_header(first.numbers.first));
            }
            rest.place = Place { segment: 1, byte: 0 };
            return rest.look(disk, spare);
        };
        let mut bytes = FrameBytes::default();
        let mut whole = newest.frames.len();
        for (index, frame) in newest.frames.iter().enumerate().filter(|(_, frame)| frame.number > self.synced)
        {
            if !bytes.read(&*newest.file, frame)? || !bytes.is_whole() {
                whole = index;
                break;
            }
        }
        newest.frames.truncate(whole);
        self.last = newest.last();
        rest.frame = self.last.number.next();
        rest.last_life = newest.frames.last().map(|last| last.life);
        rest.place = Place { segment: newest.number, byte: newest.end().max(PAGE) };
        rest.look_in(&*newest.file, newest.number, newest.byte_len, newest.end().max(PAGE))?;
        rest.look(disk, spare)
    }
}

fn broken_header(segment: u64) -> OpenError {
    OpenError::Broken {
        place: Place { segment, byte: 0 },
        what: "the segment's header is not one of this store",
    }
}

/// Opens a segment if it is in use; one that is not has zeros or the header of an older life.
fn open_segment(
    disk: &dyn Disk,
    store: u128,
    segment: SegmentFile,
) -> Result<Option<TailSegment>, OpenError> {
    let SegmentFile { numbers, byte_len } = segment;
    let (file, number) = (disk.open(&numbers.name())?, numbers.first);
    match read_segment_header(&*file, store, numbers)? {
        Ok(header) => Ok(Some(TailSegment { number, byte_len, file, header, frames: Vec::new() })),
        Err(SegmentFault::Newer(found)) => Err(OpenError::NewerVersion { found, known: VERSION }),
        Err(SegmentFault::Broken) => Ok(None),
    }
}

/// The tail is frames: only what is in the tables is ever settled, and never the newest segment.
fn check_kinds(segments: &[TailSegment], persisted: FrameNumber) -> Result<(), OpenError> {
    let settled = segments.iter().rposition(|segment| segment.header.kind == SegmentKind::Settled);
    let Some(settled) = settled else { return Ok(()) };
    match segments.get(settled + 1) {
        Some(next) => Err(OpenError::TablesBehind { persisted, oldest: next.header.first_frame }),
        None => Err(OpenError::Broken {
            place: Place { segment: segments[settled].number, byte: 0 },
            what: "the segment after this one, which is settled, is not in use",
        }),
    }
}

fn must_be_used(disk: &dyn Disk, store: u128, segment: SegmentFile) -> Result<TailSegment, OpenError> {
    open_segment(disk, store, segment)?.ok_or_else(|| broken_header(segment.numbers.first))
}

/// The first frame of the oldest segment.
fn oldest_frame(disk: &dyn Disk, files: &Files, tail: &[TailSegment]) -> Result<FrameNumber, OpenError> {
    let (Some(oldest), Some(first)) = (files.segments.first(), tail.first()) else {
        return Ok(FrameNumber(1));
    };
    if oldest.numbers.contains(first.number) {
        return Ok(first.header.first_frame);
    }
    Ok(must_be_used(disk, files.store, *oldest)?.header.first_frame)
}

/// What was found on the way through the segments.
#[derive(Default)]
struct Walked {
    mended: u64,
    lost: Vec<Lost>,
}

/// Walks all segments. Only the last may end with something that is no frame: it begins when all before it is
/// synced. What is broken is gone past.
fn walk_all(store: u128, segments: &mut [TailSegment]) -> Result<Walked, OpenError> {
    let mut walked = Walked::default();
    for index in 0..segments.len() {
        let follower = segments.get(index + 1).map(TailSegment::before);
        let segment = &mut segments[index];
        let mut walk = Walk {
            file: &*segment.file,
            segment: segment.number,
            byte_len: segment.byte_len,
            store,
            byte: PAGE,
            previous: segment.before(),
            follower,
            ahead: None,
        };
        loop {
            if let Some(frame) = walk.next()? {
                walked.mended += u64::from(frame.is_mended);
                segment.frames.push(frame);
                continue;
            }
            let place = Place { segment: walk.segment, byte: walk.byte };
            match walk.go_past()? {
                Some(lost) => walked.lost.push(lost),
                None if follower.is_some_and(|last| last != walk.previous) => {
                    return Err(OpenError::Broken { place, what: "a frame that was synced is not there" });
                }
                None => break,
            }
        }
    }
    Ok(walked)
}

/// What lies behind the last frame.
struct Rest {
    store: u128,
    /// The first frame that is not there.
    frame: FrameNumber,
    place: Place,
    /// The opening that wrote the last frame, if that is in the same segment.
    last_life: Option<u64>,
    found: bool,
    bytes: u64,
}

impl Rest {
    fn new(store: u128, frame: FrameNumber) -> Self {
        Self { store, frame, place: Place { segment: 0, byte: 0 }, last_life: None, found: false, bytes: 0 }
    }

    /// Looks through segments that were never begun, and tells what was cut.
    fn look(mut self, disk: &dyn Disk, spare: &[SegmentFile]) -> Result<Option<Cut>, OpenError> {
        for segment in spare {
            let file = disk.open(&segment.numbers.name())?;
            self.look_in(&*file, segment.numbers.first, segment.byte_len, PAGE)?;
        }
        Ok(self.found.then_some(Cut { frame: self.frame, place: self.place, bytes: self.bytes }))
    }

    /// Looks for headers at every page from `from` on.
    fn look_in(
        &mut self,
        file: &dyn DiskFile,
        number: u64,
        byte_len: u64,
        from: u64,
    ) -> Result<(), OpenError> {
        let mut chunk = Vec::new();
        let mut at = from;
        while at + PAGE <= byte_len {
            let len = CHUNK.min((byte_len - at) / PAGE * PAGE);
            chunk.resize(usize::try_from(len).unwrap_or(0), 0);
            file.read_at(&mut [IoSliceMut::new(&mut chunk)], at)?;
            for (page, byte) in chunk.chunks(PAGE_BYTES).zip((at..).step_by(PAGE_BYTES)) {
                let number_there = FrameHeader::number_in_damaged(page, self.store);
                if number_there.is_some_and(|number| number >= self.frame) {
                    let here = Place { segment: number, byte };
                    self.note(here, read_header(file, byte, byte_len)?)?;
                }
            }
            at += len;
        }
        Ok(())
    }

    /// Whether an earlier opening cut this frame, and others were written since: the last frame is of another
    /// life, and is not one that this frame's life found when it began.
    fn was_cut_before(&self, header: &FrameHeader) -> bool {
        self.last_life.is_some_and(|life| life != header.life) && header.synced_through.next() < self.frame
    }

    /// Takes note of a header, or of the remains of one.
    fn note(&mut self, here: Place, header: Result<(FrameHeader, u32), FrameFault>) -> Result<(), OpenError> {
        match header {
            Err(FrameFault::Newer(found)) => return Err(OpenError::NewerVersion { found, known: VERSION }),
            Ok((header, _)) if header.synced_through >= self.frame => {
                return Err(OpenError::Broken {
                    place: self.place,
                    what: "a later frame says that the one here was synced",
                });
            }
            Ok((header, _)) if self.was_cut_before(&header) => return Ok(()),
            Ok((header, _)) => self.bytes += align(header.frame_len(), PAGE),
            // Remains of a header count only where the next frame would be: elsewhere they may be any bytes.
            Err(_) if here != self.place => return Ok(()),
            Err(_) => self.bytes += PAGE,
        }
        self.found = true;
        Ok(())
    }
}
