//! The first page of a segment, written with the first frame in it: without it the segment is not in use.

use super::{PAGE_BYTES, SegmentNumbers, VERSION};
use crate::FrameNumber;
use crate::bytes::Reader;

const MAGIC: [u8; 8] = *b"TMSEGMT\0";
const BYTES: usize = 64;
const CRC_FROM: usize = 12;
/// Where the copy of the header begins: no sector of a disk holds both.
const COPY_AT: usize = PAGE_BYTES / 2;

/// What a segment is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// Frames as they were committed.
    Journal,
    /// The blocks of frames that are in the tables, grouped by partition, and no frame.
    Settled,
}

/// The contents of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// What the segment is used for.
    pub kind: SegmentKind,
    /// Its numbers, the same as in its name; several only if it is settled.
    pub numbers: SegmentNumbers,
    /// The store that it belongs to.
    pub store: u128,
    /// The number of the first frame in it.
    pub first_frame: FrameNumber,
    /// CRC of the header of the frame before that; 0 if there was none.
    pub previous_crc: u32,
    /// Number of blocks of a settled segment; 0 in a journal's.
    pub blocks: u32,
}

/// Bytes that are no such page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentFault {
    /// Not one, or damaged.
    Broken,
    /// Of a version that is not known.
    Newer(u16),
}

impl SegmentHeader {
    /// Appends the header, without the zeros up to the end of the page.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let start = into.len();
        let kind: u16 = match self.kind {
            SegmentKind::Journal => 1,
            SegmentKind::Settled => 2,
        };
        into.extend_from_slice(&MAGIC);
        into.extend_from_slice(&[0; 4]);
        into.extend_from_slice(&VERSION.to_le_bytes());
        into.extend_from_slice(&kind.to_le_bytes());
        into.extend_from_slice(&self.numbers.first.to_le_bytes());
        into.extend_from_slice(&self.store.to_le_bytes());
        into.extend_from_slice(&self.first_frame.0.to_le_bytes());
        into.extend_from_slice(&self.previous_crc.to_le_bytes());
        into.extend_from_slice(&self.blocks.to_le_bytes());
        into.extend_from_slice(&(self.numbers.last - self.numbers.first).to_le_bytes());
        let crc = crc32c::crc32c(&into[start + CRC_FROM..]);
        into[start + 8..start + CRC_FROM].copy_from_slice(&crc.to_le_bytes());
        debug_assert_eq!(into.len() - start, BYTES);
    }

    /// Appends the first page of a segment: the header, and a copy of it in the page's second half.
    pub fn encode_page(&self, into: &mut Vec<u8>) {
        let start = into.len();
        self.encode(into);
        into.resize(start + COPY_AT, 0);
        self.encode(into);
        into.resize(start + PAGE_BYTES, 0);
    }

    /// Reads the header of segment `numbers` of the store from its first page: the first of the two copies that is
    /// sound and is this segment's.
    pub fn decode_page(page: &[u8], store: u128, numbers: SegmentNumbers) -> Result<Self, SegmentFault> {
        let copies = [0, COPY_AT].map(|at| Self::decode(page.get(at..).unwrap_or_default()));
        let is_own = |header: &Self| header.store == store && header.numbers == numbers;
        if let Some(header) = copies.iter().flatten().find(|header| is_own(header)) {
            return Ok(*header);
        }
        let newer = |copy| matches!(copy, Err(SegmentFault::Newer(_)));
        copies.into_iter().find(|copy| newer(*copy)).unwrap_or(Err(SegmentFault::Broken))
    }

    /// Reads the header from the front of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentFault> {
        let bytes = bytes.get(..BYTES).ok_or(SegmentFault::Broken)?;
        let mut reader = Reader::new(bytes);
        let (magic, crc) = (reader.array(), reader.u32());
        if magic != Some(MAGIC) || crc != Some(crc32c::crc32c(&bytes[CRC_FROM..])) {
            return Err(SegmentFault::Broken);
        }
        match reader.u16() {
            Some(VERSION) => Self::decode_fields(&mut reader).ok_or(SegmentFault::Broken),
            version => Err(version.map_or(SegmentFault::Broken, SegmentFault::Newer)),
        }
    }

    fn decode_fields(reader: &mut Reader<'_>) -> Option<Self> {
        let kind = match reader.u16()? {
            1 => SegmentKind::Journal,
            2 => SegmentKind::Settled,
            _ => return None,
        };
        let first = reader.u64()?;
        let store = reader.u128()?;
        let first_frame = reader.u64().filter(|&frame| frame > 0).map(FrameNumber)?;
        let (previous_crc, blocks, joined) = (reader.u32()?, reader.u32()?, reader.u64()?);
        let last = first.checked_add(joined).filter(|_| joined == 0 || kind == SegmentKind::Settled)?;
        Some(Self { kind, numbers: SegmentNumbers { first, last }, store, first_frame, previous_crc, blocks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_every_flipped_bit_is_found() {
        for kind in [SegmentKind::Journal, SegmentKind::Settled] {
            let header = SegmentHeader {
                kind,
                numbers: SegmentNumbers { first: 3, last: if kind == SegmentKind::Settled { 9 } else { 3 } },
                store: 4,
                first_frame: FrameNumber(5),
                previous_crc: 6,
                blocks: 7,
            };
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
            for bit in 0..bytes.len() * 8 {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(SegmentHeader::decode(&bytes), Err(SegmentFault::Broken), "bit {bit}");
            }
        }
    }

    #[test]
    fn one_copy_is_enough_and_that_of_another_segment_is_none() {
        let (kind, first_frame) = (SegmentKind::Journal, FrameNumber(5));
        let numbers = SegmentNumbers::one(3);
        let header = SegmentHeader { kind, numbers, store: 4, first_frame, previous_crc: 6, blocks: 7 };
        let (mut page, mut old) = (Vec::new(), Vec::new());
        header.encode_page(&mut page);
        SegmentHeader { numbers: SegmentNumbers::one(2), ..header }.encode_page(&mut old);
        for other in [vec![7; PAGE_BYTES], old] {
            for page in [
                [&page[..COPY_AT], &other[COPY_AT..]].concat(),
                [&other[..COPY_AT], &page[COPY_AT..]].concat(),
                page.clone(),
            ] {
                assert_eq!(SegmentHeader::decode_page(&page, 4, numbers), Ok(header));
            }
        }
        for (store, first, last) in [(4, 2, 2), (5, 3, 3), (4, 3, 4)] {
            let numbers = SegmentNumbers { first, last };
            assert_eq!(SegmentHeader::decode_page(&page, store, numbers), Err(SegmentFault::Broken));
        }
    }
}
