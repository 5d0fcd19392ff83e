//! A frame as the pieces of one vectored write: headers and small bodies side by side in one buffer, large
//! bodies and deltas where they are.

use std::io::IoSlice;
use std::ops::Range;

use super::format::{FrameHeader, PAGE, PAGE_BYTES, SectionHeader, SegmentHeader, kind};
use super::frame::{FrameParts, PlacedBlock};
use super::sealed::LastFrame;
use crate::DriverKey;
use crate::block::{BlockHeader, body_slices};
use crate::bytes::align;
use crate::limits::BODY_COPY_BYTES_MAX;

/// Zeros that follow a frame up to the next page: a page written whole need not be read first.
static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// A piece of the write.
#[derive(Clone, Debug)]
enum Piece {
    /// Bytes of the buffer.
    Buffer(Range<usize>),
    /// The body of a block.
    Body(usize),
    /// The bytes of a delta.
    Delta(usize),
    /// Zeros.
    Zeros(usize),
}

/// Makes frames; keeps its memory from one to the next.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    header: FrameHeader,
    encoded: Vec<u8>,
    buffer: Vec<u8>,
    pieces: Vec<Piece>,
    buffer_from: usize,
    /// Where the frame begins in the buffer: after the segment's header, if that is written with it.
    frame_at: usize,
}

/// What is the same in all frames that a journal writes, and what changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameIdentity {
    pub(super) store: u128,
    pub(super) life: u64,
    /// The frame before.
    pub(super) previous: LastFrame,
    /// The last synced frame.
    pub(super) synced: crate::FrameNumber,
}

/// Bytes of a frame with these parts, up to the next page; what the frame will take of its segment.
pub(super) fn paged_len(parts: FrameParts<'_>) -> u64 {
    let blocks = parts.blocks.iter().map(|placed| align(placed.stored_len(), 8));
    let deltas = parts.deltas.iter().map(|delta| align(delta.bytes.len() as u64, 8));
    let header = FrameHeader::padded_len(section_count(parts));
    align(header + blocks.sum::<u64>() + deltas.sum::<u64>(), PAGE)
}

/// A frame without parts is a closing one, which says so in a section.
fn section_count(parts: FrameParts<'_>) -> usize {
    (usize::from(!parts.blocks.is_empty()) + parts.deltas.len()).max(1)
}

impl Assembler {
    /// Lays out the frame, after the segment's header if it is the first there. `placed` is told of every
    /// block's header and its byte within the write. Returns the number and the CRC of the frame.
    pub(super) fn assemble(
        &mut self,
        identity: FrameIdentity,
        segment: Option<&SegmentHeader>,
        parts: FrameParts<'_>,
        mut placed: impl FnMut(&BlockHeader, u64),
    ) -> LastFrame {
        self.buffer.clear();
        self.pieces.clear();
        self.buffer_from = 0;
        if let Some(segment) = segment {
            segment.encode_page(&mut self.buffer);
        }
        self.frame_at = self.buffer.len();
        let header_len = FrameHeader::padded_len(section_count(parts));
        self.buffer.resize(self.frame_at + usize::try_from(header_len).unwrap_or(0), 0);
        self.header.sections.clear();
        if !parts.blocks.is_empty() {
            self.add_blocks(parts, &mut placed);
        }
        self.add_deltas(parts);
        if self.header.sections.is_empty() {
            self.header.sections.push(section(kind::CLOSING, 0, DriverKey::NONE, 0));
        }
        self.finish(identity)
    }

    /// The pieces of the write.
    pub(super) fn slices<'a>(&'a self, parts: FrameParts<'a>) -> Vec<IoSlice<'a>> {
        let mut slices = Vec::with_capacity(self.pieces.len() + 8);
        for piece in &self.pieces {
            match piece {
                Piece::Buffer(range) => slices.push(IoSlice::new(&self.buffer[range.clone()])),
                Piece::Body(index) => slices.extend(body_of(&parts.blocks[*index])),
                Piece::Delta(index) => slices.push(IoSlice::new(parts.deltas[*index].bytes)),
                Piece::Zeros(len) => slices.push(IoSlice::new(&ZEROS[..*len])),
            }
        }
        slices
    }

    fn add_blocks(&mut self, parts: FrameParts<'_>, placed: &mut impl FnMut(&BlockHeader, u64)) {
        // Bytes of the section that are not in the buffer.
        let mut elsewhere = 0;
        let (mut crc, start) = (0, self.buffer.len());
        for (index, block) in parts.blocks.iter().enumerate() {
            let header = block.header();
            assert!(header.count > 0, "a block has an event");
            let at = self.buffer.len();
            header.encode(&mut self.buffer);
            crc = crc32c::crc32c_append(crc, &self.buffer[at..]);
            placed(&header, (at + elsewhere) as u64);
            let body = block.body_len();
            if body <= BODY_COPY_BYTES_MAX {
                for part in body_of(block) {
                    self.buffer.extend_from_slice(&part);
                }
            } else {
                self.cut(Piece::Body(index));
                elsewhere += body;
            }
            self.pad(body);
        }
        let byte_len = (self.buffer.len() - start + elsewhere) as u64;
        self.header.sections.push(section(kind::BLOCKS, crc, DriverKey::NONE, byte_len));
    }

    fn add_deltas(&mut self, parts: FrameParts<'_>) {
        for (index, delta) in parts.deltas.iter().enumerate() {
            let crc = crc32c::crc32c(delta.bytes);
            self.header.sections.push(section(kind::DELTA, crc, delta.owner, delta.bytes.len() as u64));
            if delta.bytes.len() <= BODY_COPY_BYTES_MAX {
                self.buffer.extend_from_slice(delta.bytes);
            } else {
                self.cut(Piece::Delta(index));
            }
            self.pad(delta.bytes.len());
        }
    }

    /// Fills the header in, and the zeros after the frame.
    fn finish(&mut self, identity: FrameIdentity) -> LastFrame {
        self.header.store = identity.store;
        self.header.life = identity.life;
        self.header.number = identity.previous.number.next();
        self.header.synced_through = identity.synced;
        self.header.previous_crc = identity.previous.crc;
        self.encoded.clear();
        let crc = self.header.encode(&mut self.encoded);
        self.buffer[self.frame_at..self.frame_at + self.encoded.len()].copy_from_slice(&self.encoded);
        let frame_len = self.header.frame_len();
        let zeros = usize::try_from(align(frame_len, PAGE) - frame_len).unwrap_or(0);
        self.cut(Piece::Zeros(zeros));
        LastFrame { number: self.header.number, crc }
    }

    /// Ends the run of the buffer, and puts `piece` after it.
    fn cut(&mut self, piece: Piece) {
        self.pieces.push(Piece::Buffer(self.buffer_from..self.buffer.len()));
        self.buffer_from = self.buffer.len();
        self.pieces.push(piece);
    }

    fn pad(&mut self, len: usize) {
        let zeros = usize::try_from(align(len as u64, 8)).unwrap_or(0) - len;
        self.buffer.extend_from_slice(&ZEROS[..zeros]);
    }
}

/// The body of a block as pieces of the write.
fn body_of(placed: &PlacedBlock) -> impl Iterator<Item = IoSlice<'_>> {
    let (compressed, plain) = match &placed.compressed {
        Some(body) => (Some(IoSlice::new(body.bytes())), None),
        None => (None, Some(body_slices(&placed.block))),
    };
    compressed.into_iter().chain(plain.into_iter().flatten())
}

fn section(kind: u16, crc: u32, owner: DriverKey, byte_len: u64) -> SectionHeader {
    SectionHeader { kind, required: true, crc, owner, byte_len }
}
