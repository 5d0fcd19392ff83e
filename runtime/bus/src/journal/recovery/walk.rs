//! From frame to frame by their headers, and the bytes of one frame. Judges a single frame, not the journal.

use std::io::{self, IoSliceMut};

use crate::FrameNumber;
use crate::block::{BlockHeader, HEADER_BYTES};
use crate::bytes::align;
use crate::disk::DiskFile;
use crate::journal::format::{FrameFault, FrameHeader, PAGE, PAGE_BYTES, SectionHeader, VERSION, kind};
use crate::journal::sealed::LastFrame;
use crate::journal::{OpenError, Place};

/// Where a frame lies, and what its header says of the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameAt {
    pub(super) number: FrameNumber,
    /// The opening that wrote it.
    pub(super) life: u64,
    pub(super) byte: u64,
    /// Bytes of the frame up to the next page.
    pub(super) paged_len: u64,
    pub(super) synced_through: FrameNumber,
    pub(super) crc: u32,
    pub(super) closing: bool,
}

impl FrameAt {
    pub(super) fn end(&self) -> u64 {
        self.byte + self.paged_len
    }

    pub(super) fn last(&self) -> LastFrame {
        LastFrame { number: self.number, crc: self.crc }
    }
}

/// Reads the header at `byte`; a broken one if the file ends before it does.
pub(super) fn read_header(
    file: &dyn DiskFile,
    byte: u64,
    byte_len: u64,
) -> io::Result<Result<(FrameHeader, u32), FrameFault>> {
    let left = byte_len.saturating_sub(byte);
    if left < PAGE {
        return Ok(Err(FrameFault::Broken));
    }
    let mut bytes = vec![0; PAGE_BYTES];
    file.read_at(&mut [IoSliceMut::new(&mut bytes)], byte)?;
    match FrameHeader::decode(&bytes) {
        Err(FrameFault::Short(needed)) if needed as u64 <= left => {
            bytes.resize(needed, 0);
            file.read_at(&mut [IoSliceMut::new(&mut bytes)], byte)?;
            Ok(FrameHeader::decode(&bytes))
        }
        found => Ok(found),
    }
}

/// Walks the frames of a segment as long as each follows the one before.
pub(super) struct Walk<'a> {
    pub(super) file: &'a dyn DiskFile,
    pub(super) segment: u64,
    pub(super) byte_len: u64,
    pub(super) store: u128,
    pub(super) byte: u64,
    pub(super) previous: LastFrame,
}

impl Walk<'_> {
    /// The next frame, or `None` where the chain ends; then `byte` is where it does.
    pub(super) fn next(&mut self) -> Result<Option<FrameAt>, OpenError> {
        let (header, crc) = match read_header(self.file, self.byte, self.byte_len)? {
            Ok(found) => found,
            Err(FrameFault::Newer(found)) => {
                return Err(OpenError::NewerVersion { found, known: VERSION });
            }
            Err(FrameFault::Broken | FrameFault::Short(_)) => return Ok(None),
        };
        let paged_len = align(header.frame_len(), PAGE);
        let follows = header.store == self.store
            && header.number == self.previous.number.next()
            && header.previous_crc == self.previous.crc
            && paged_len <= self.byte_len - self.byte;
        if !follows {
            return Ok(None);
        }
        let known = |section: &&SectionHeader| {
            section.required && !matches!(section.kind, kind::BLOCKS | kind::DELTA | kind::CLOSING)
        };
        if let Some(section) = header.sections.iter().find(known) {
            return Err(OpenError::UnknownSection { frame: header.number, kind: section.kind });
        }
        let frame = FrameAt {
            number: header.number,
            life: header.life,
            byte: self.byte,
            paged_len,
            synced_through: header.synced_through,
            crc,
            closing: header.sections.iter().any(|section| section.kind == kind::CLOSING),
        };
        self.byte = frame.end();
        self.previous = frame.last();
        Ok(Some(frame))
    }
}

/// The next header in the segment, with its byte, that belongs to a frame after the one that follows `after` and
/// tells that that one was synced: so what stands before it was written, and is broken. Bytes of an older life
/// have lower numbers, and frames that were cut are followed by none that was synced after them.
pub(super) fn find_header(walk: &Walk<'_>, after: FrameNumber) -> io::Result<Option<(FrameHeader, u64)>> {
    const CHUNK: u64 = 256 * PAGE;
    let lost = after.next();
    let mut chunk = Vec::new();
    let mut at = walk.byte + PAGE;
    while at + PAGE <= walk.byte_len {
        let len = CHUNK.min((walk.byte_len - at) / PAGE * PAGE);
        chunk.resize(usize::try_from(len).unwrap_or(0), 0);
        walk.file.read_at(&mut [IoSliceMut::new(&mut chunk)], at)?;
        for (page, byte) in chunk.chunks(PAGE_BYTES).zip((at..).step_by(PAGE_BYTES)) {
            if FrameHeader::number_in_damaged(page, walk.store).is_some_and(|number| number > lost)
                && let Ok((header, _)) = read_header(walk.file, byte, walk.byte_len)?
                && header.synced_through >= lost
            {
                return Ok(Some((header, byte)));
            }
        }
        at += len;
    }
    Ok(None)
}

/// The bytes of one frame; keeps its memory from one to the next.
#[derive(Debug, Default)]
pub(super) struct FrameBytes {
    bytes: Vec<u8>,
    pub(super) header: FrameHeader,
}

impl FrameBytes {
    /// Reads the whole frame; false if its header is no longer what it was.
    pub(super) fn read(&mut self, file: &dyn DiskFile, frame: &FrameAt) -> io::Result<bool> {
        self.bytes.resize(usize::try_from(frame.paged_len).unwrap_or(0), 0);
        file.read_at(&mut [IoSliceMut::new(&mut self.bytes)], frame.byte)?;
        match FrameHeader::decode(&self.bytes) {
            Ok((header, crc)) if crc == frame.crc => {
                self.header = header;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The sections with their bytes, and where these begin in the frame.
    pub(super) fn sections(&self) -> impl Iterator<Item = (SectionHeader, &[u8], usize)> {
        let mut at = usize::try_from(FrameHeader::padded_len(self.header.sections.len())).unwrap_or(0);
        self.header.sections.iter().map(move |section| {
            let start = at;
            let len = usize::try_from(section.byte_len).unwrap_or(usize::MAX);
            at = start.saturating_add(usize::try_from(align(section.byte_len, 8)).unwrap_or(usize::MAX));
            // The header's own check holds the sum of the sections to the frame's length.
            (*section, self.bytes.get(start..start.saturating_add(len)).unwrap_or_default(), start)
        })
    }

    /// Whether every byte that a checksum covers is as it was written.
    pub(super) fn is_whole(&self) -> bool {
        let mut blocks = Vec::new();
        self.sections().all(|(section, bytes, start)| {
            blocks.clear();
            match section.kind {
                kind::BLOCKS => {
                    read_blocks(&section, bytes, start, &mut blocks).is_ok()
                        && blocks.iter().all(|(header, at)| self.body_is_whole(header, *at))
                }
                _ => crc32c::crc32c(bytes) == section.crc,
            }
        })
    }

    fn body_is_whole(&self, header: &BlockHeader, at: usize) -> bool {
        let end = at.saturating_add(usize::try_from(header.byte_len()).unwrap_or(usize::MAX));
        self.bytes.get(at + HEADER_BYTES..end).is_some_and(|body| crc32c::crc32c(body) == header.body_crc)
    }
}

/// The headers of the blocks in a section that begins at `start`, each with its byte in the frame; the byte of
/// the first that is broken.
pub(super) fn read_blocks(
    section: &SectionHeader,
    bytes: &[u8],
    start: usize,
    blocks: &mut Vec<(BlockHeader, usize)>,
) -> Result<(), usize> {
    let (mut at, mut crc) = (0, 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let header = BlockHeader::decode(rest).map_err(|_| start + at)?;
        let len = usize::try_from(align(header.byte_len(), 8)).map_err(|_| start + at)?;
        if len > rest.len() {
            return Err(start + at);
        }
        crc = crc32c::crc32c_append(crc, &rest[..HEADER_BYTES]);
        blocks.push((header, start + at));
        at += len;
    }
    if crc == section.crc { Ok(()) } else { Err(start) }
}

/// A place in the segment that a frame lies in.
pub(super) fn place_in(segment: u64, frame: &FrameAt, byte: usize) -> Place {
    Place { segment, byte: frame.byte + byte as u64 }
}
