//! The index of a full segment whose footer is missing or broken, made again from its frames.

use std::io::{self, IoSliceMut};
use std::sync::Arc;

use super::files::SegmentFile;
use super::replay::insert;
use super::tail::Tail;
use super::walk::{FrameBytes, Walk, place_in, read_blocks};
use crate::FrameNumber;
use crate::block::{BlockHeader, HEADER_BYTES};
use crate::bytes::align;
use crate::disk::{Disk, DiskFile};
use crate::journal::format::{PAGE, SegmentKind, kind};
use crate::journal::index::Index;
use crate::journal::sealed::{LastFrame, Sealed};
use crate::journal::segment::{OpenSegment, Segment, read_segment_header};
use crate::journal::{FindError, OpenError, Place};

/// The index of a segment that ends with the frame `last`, from its frames.
pub(in crate::journal) fn rebuild(
    store: u128,
    segment: &Segment,
    file: Arc<dyn DiskFile>,
    last: LastFrame,
) -> Result<Sealed, FindError> {
    let file_of = SegmentFile { numbers: segment.numbers, byte_len: segment.byte_len };
    let index = index_of(store, file_of, &*file, last)?;
    let trailer = last.trailer(store, segment.numbers.first);
    Ok(Sealed::rebuilt(file, segment.byte_len, trailer, &index))
}

/// The full segments, of those that the tail reaches and the one before, that have no footer: a crash came
/// before it was written, so it is to be written now.
pub(super) fn unsealed(
    disk: &dyn Disk,
    store: u128,
    used: &[SegmentFile],
    tail: &Tail,
) -> Result<Vec<Arc<Segment>>, OpenError> {
    let mut unsealed = Vec::new();
    let before_tail = used.len() - tail.segments.len();
    for (index, segment) in used.iter().enumerate().skip(before_tail.saturating_sub(1)) {
        let Some(follower) = tail.segments.get(index + 1 - before_tail) else { break };
        let last = follower.before();
        let file = disk.open(&segment.numbers.name())?;
        let footer = Sealed::read(&file, segment.byte_len)?;
        let sealed = footer.is_some_and(|sealed| sealed.belongs(store, segment.numbers.first, last));
        if !sealed {
            let index = index_of(store, *segment, &*file, last).map_err(|error| match error {
                FindError::Broken { place, what } => OpenError::Broken { place, what },
                FindError::Io { what, .. } => OpenError::Io(io::Error::other(what.to_string())),
            })?;
            let open = OpenSegment { file, index, last };
            unsealed.push(Segment::open(segment.numbers, segment.byte_len, open));
        }
    }
    Ok(unsealed)
}

fn index_of(
    store: u128,
    segment: SegmentFile,
    file: &dyn DiskFile,
    last: LastFrame,
) -> Result<Index, FindError> {
    let SegmentFile { numbers, byte_len } = segment;
    let number = numbers.first;
    let broken = |byte, what| FindError::Broken { place: Place { segment: number, byte }, what };
    let failed = |error: io::Error| FindError::Io { segment: number, what: error.to_string().into() };
    let Ok(header) = read_segment_header(file, store, numbers).map_err(failed)? else {
        return Err(broken(0, "the segment's header is not one of this store"));
    };
    if header.kind == SegmentKind::Settled {
        return settled_index(segment, file, header.blocks);
    }
    let previous = LastFrame { number: FrameNumber(header.first_frame.0 - 1), crc: header.previous_crc };
    let follower = Some(last);
    let mut walk =
        Walk { file, segment: number, byte_len, store, byte: PAGE, previous, follower, ahead: None };
    let (mut index, mut bytes, mut blocks) = (Index::default(), FrameBytes::default(), Vec::new());
    while walk.previous.number < last.number {
        let byte = walk.byte;
        let frame = match walk.next() {
            Ok(Some(frame)) => frame,
            // Nobody knows what blocks it held: reading stops where they are missing.
            Ok(None) if walk.go_past().map_err(failed)?.is_some() => continue,
            Err(OpenError::Io(error)) => return Err(failed(error)),
            Ok(None) | Err(_) => return Err(broken(byte, "a frame that was synced is not there")),
        };
        if !bytes.read(file, &frame).map_err(failed)? {
            return Err(broken(byte, "a frame's header has changed while it was read"));
        }
        for (section, section_bytes, start) in
            bytes.sections().filter(|(section, ..)| section.kind == kind::BLOCKS)
        {
            blocks.clear();
            read_blocks(&section, section_bytes, start, &mut blocks).map_err(|at| {
                broken(place_in(number, &frame, at).byte, "the header of a block that was synced")
            })?;
            insert(&mut index, &frame, &blocks);
        }
    }
    if walk.previous == last {
        Ok(index)
    } else {
        Err(broken(walk.byte, "the frames are not those that the next segment follows"))
    }
}

/// The index of a settled segment, from the headers of its blocks, which stand one after the other.
fn settled_index(segment: SegmentFile, file: &dyn DiskFile, blocks: u32) -> Result<Index, FindError> {
    let SegmentFile { numbers, byte_len } = segment;
    let number = numbers.first;
    let broken = |byte| FindError::Broken {
        place: Place { segment: number, byte },
        what: "the header of a block in a settled segment",
    };
    let failed = |error: io::Error| FindError::Io { segment: number, what: error.to_string().into() };
    let (mut index, mut at, mut bytes) = (Index::default(), PAGE, [0; HEADER_BYTES]);
    for _ in 0..blocks {
        if at + HEADER_BYTES as u64 > byte_len {
            return Err(broken(at));
        }
        file.read_at(&mut [IoSliceMut::new(&mut bytes)], at).map_err(failed)?;
        let header = BlockHeader::decode(&bytes).map_err(|_| broken(at))?;
        index.insert(&header, u32::try_from(at).map_err(|_| broken(at))?);
        at += align(header.byte_len(), 8);
    }
    Ok(index)
}
