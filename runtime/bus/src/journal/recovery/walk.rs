//! From frame to frame by their headers, and the bytes of one frame. Judges a single frame, not the journal.

use std::io::{self, IoSliceMut};

use super::Lost;
use super::mend::mend;
use crate::FrameNumber;
use crate::block::{BlockHeader, HEADER_BYTES};
use crate::bytes::align;
use crate::disk::DiskFile;
use crate::journal::format::{FrameFault, FrameHeader, PAGE, PAGE_BYTES, SectionHeader, VERSION, kind};
use crate::journal::sealed::LastFrame;
use crate::journal::{OpenError, Place};

/// Bytes of a header that is mended at most: 32,000 sections, far more than a group has.
const MENDED_BYTES_MAX: u64 = 1 << 20;

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
    /// Whether one byte of its header is broken.
    pub(super) is_mended: bool,
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
    /// The last frame in the segment, if the one after it tells.
    pub(super) follower: Option<LastFrame>,
    /// The byte from which a header was looked for, and what was found.
    pub(super) ahead: Option<(u64, Option<(FrameHeader, u64)>)>,
}

impl Walk<'_> {
    /// The next frame, or `None` where the chain ends; then `byte` is where it does. A header of which one byte is
    /// broken is read as it was written, if a later one tells its checksum, and that it was synced.
    pub(super) fn next(&mut self) -> Result<Option<FrameAt>, OpenError> {
        if self.follower.is_some_and(|last| self.previous.number >= last.number) {
            return Ok(None);
        }
        let (header, crc, is_mended) = match read_header(self.file, self.byte, self.byte_len)? {
            Ok((header, crc)) => (header, crc, false),
            Err(FrameFault::Newer(found)) => {
                return Err(OpenError::NewerVersion { found, known: VERSION });
            }
            Err(FrameFault::Broken | FrameFault::Short(_)) => match self.mended()? {
                Some((header, crc)) => (header, crc, true),
                None => return Ok(None),
            },
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
            is_mended,
        };
        self.byte = frame.end();
        self.previous = frame.last();
        Ok(Some(frame))
    }

    /// The header here as it was written, if that can be told.
    fn mended(&mut self) -> io::Result<Option<(FrameHeader, u32)>> {
        let here = self.previous.number.next();
        let crc = match self.follower.filter(|last| last.number == here) {
            Some(last) => last.crc,
            None => match self.ahead()? {
                Some((next, _)) if next.number == here.next() => next.previous_crc,
                _ => return Ok(None),
            },
        };
        let mut bytes =
            vec![0; usize::try_from(MENDED_BYTES_MAX.min(self.byte_len - self.byte)).unwrap_or(0)];
        self.file.read_at(&mut [IoSliceMut::new(&mut bytes)], self.byte)?;
        Ok(mend(&bytes, crc).and_then(|header| FrameHeader::decode(&header).ok()))
    }

    /// The next header that tells that what is here was synced. It is looked for once.
    fn ahead(&mut self) -> io::Result<Option<(FrameHeader, u64)>> {
        match &self.ahead {
            Some((byte, found)) if *byte == self.byte => Ok(found.clone()),
            _ => {
                let found = find_header(self, self.previous.number)?;
                self.ahead = Some((self.byte, found.clone()));
                Ok(found)
            }
        }
    }

    /// Goes past what is here and cannot be read, to the next frame that can, if something tells that it was synced.
    pub(super) fn go_past(&mut self) -> io::Result<Option<Lost>> {
        let (after, place) = (self.previous.number, Place { segment: self.segment, byte: self.byte });
        if self.follower.is_some_and(|last| after >= last.number) {
            return Ok(None);
        }
        if let Some((header, byte)) = self.ahead()? {
            let bytes = byte - self.byte;
            self.byte = byte;
            self.previous = LastFrame { number: FrameNumber(header.number.0 - 1), crc: header.previous_crc };
            return Ok(Some(Lost { after, before: header.number, place, bytes }));
        }
        let Some(last) = self.follower.filter(|last| after < last.number) else { return Ok(None) };
        self.previous = last;
        let bytes = self.byte_len.saturating_sub(self.byte);
        Ok(Some(Lost { after, before: last.number.next(), place, bytes }))
    }
}

/// The next header in the segment, with its byte, that belongs to a frame after the one that follows `after` and
/// tells that that one was synced: so what stands before it was written, and is broken. Bytes of an older life
/// have lower numbers, and frames that were cut are followed by none that was synced after them.
fn find_header(walk: &Walk<'_>, after: FrameNumber) -> io::Result<Option<(FrameHeader, u64)>> {
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
        if frame.is_mended
            && let Some(header) = mend(&self.bytes, frame.crc)
        {
            self.bytes[..header.len()].copy_from_slice(&header);
        }
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
