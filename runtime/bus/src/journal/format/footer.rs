//! The end of a sealed segment: its index. From the end of the file backwards: trailer, rows, entries.

use super::VERSION;
use crate::bytes::Reader;
use crate::{FrameNumber, Offset, Partition, TopicId, TopicPartition};

const MAGIC: [u8; 8] = *b"TMINDEX\0";
const CRC_FROM: usize = 12;
const FLAG_CAUSE: u32 = 1;
const FLAG_PACKED: u32 = 2;
const FLAG_COMPRESSED: u32 = 4;

/// What is known of the whole segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The store that it belongs to.
    pub store: u128,
    /// The segment's number.
    pub segment: u64,
    /// The last frame in it.
    pub last_frame: FrameNumber,
    /// CRC of that frame's header.
    pub last_crc: u32,
    /// Number of rows: partitions with blocks in the segment.
    pub rows: u32,
    /// Number of entries: blocks in the segment.
    pub blocks: u32,
    /// CRC32C of the rows.
    pub rows_crc: u32,
    /// The newest append time of a block, in milliseconds since the Unix epoch; 0 without blocks.
    pub newest: i64,
}

/// What is known of a partition in the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The partition.
    pub source: TopicPartition,
    /// Blocks of it.
    pub blocks: u32,
    /// The place of its first entry among the entries.
    pub first_entry: u32,
    /// CRC32C of its entries.
    pub entries_crc: u32,
    /// The first offset.
    pub first: Offset,
    /// The offset after the last event.
    pub end: Offset,
    /// The newest append time, in milliseconds since the Unix epoch.
    pub newest: i64,
    /// Bytes of its blocks, headers included.
    pub bytes: u64,
}

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The offset of its first event.
    pub first: Offset,
    /// Milliseconds since the Unix epoch.
    pub append_time: i64,
    /// Its byte in the file.
    pub byte: u32,
    /// Its bytes, header included, without the padding that follows.
    pub byte_len: u32,
    /// Number of events.
    pub count: u32,
    /// Whether it has a column of causes.
    pub has_cause: bool,
    /// Whether its body is packed.
    pub is_packed: bool,
    /// Whether its body is compressed.
    pub is_compressed: bool,
}

impl Trailer {
    /// Bytes of the trailer, the last of the file.
    pub const BYTES: usize = 80;

    /// The trailer's bytes.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&MAGIC);
        into.extend_from_slice(&[0; 4]);
        into.extend_from_slice(&VERSION.to_le_bytes());
        into.extend_from_slice(&[0; 2]);
        into.extend_from_slice(&self.store.to_le_bytes());
        into.extend_from_slice(&self.segment.to_le_bytes());
        into.extend_from_slice(&self.last_frame.0.to_le_bytes());
        into.extend_from_slice(&self.last_crc.to_le_bytes());
        into.extend_from_slice(&self.rows.to_le_bytes());
        into.extend_from_slice(&self.blocks.to_le_bytes());
        into.extend_from_slice(&self.rows_crc.to_le_bytes());
        into.extend_from_slice(&self.newest.to_le_bytes());
        into.extend_from_slice(&[0; 8]);
        let crc = crc32c::crc32c(&into[start + CRC_FROM..]);
        into[start + 8..start + CRC_FROM].copy_from_slice(&crc.to_le_bytes());
        debug_assert_eq!(into.len() - start, Self::BYTES);
    }

    /// Reads a trailer; `None` if the bytes are none, or of another version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (magic, crc) = (reader.array()?, reader.u32()?);
        if magic != MAGIC || crc != crc32c::crc32c(bytes.get(CRC_FROM..)?) || reader.u16()? != VERSION {
            return None;
        }
        reader.take(2)?;
        Some(Self {
            store: reader.u128()?,
            segment: reader.u64()?,
            last_frame: FrameNumber(reader.u64()?),
            last_crc: reader.u32()?,
            rows: reader.u32()?,
            blocks: reader.u32()?,
            rows_crc: reader.u32()?,
            newest: reader.i64()?,
        })
    }

    /// Bytes of the whole footer.
    pub fn footer_len(&self) -> u64 {
        footer_len(self.rows.into(), self.blocks.into())
    }
}

/// Bytes of a footer with so many rows and entries.
pub fn footer_len(rows: u64, blocks: u64) -> u64 {
    Trailer::BYTES as u64 + rows * Row::BYTES as u64 + blocks * Entry::BYTES as u64
}

impl Row {
    /// Bytes of a row.
    pub const BYTES: usize = 56;

    /// Appends the row.
    pub fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.source.topic.0.to_le_bytes());
        into.extend_from_slice(&self.source.partition.0.to_le_bytes());
        into.extend_from_slice(&self.blocks.to_le_bytes());
        into.extend_from_slice(&self.first_entry.to_le_bytes());
        into.extend_from_slice(&self.entries_crc.to_le_bytes());
        into.extend_from_slice(&self.first.0.to_le_bytes());
        into.extend_from_slice(&self.end.0.to_le_bytes());
        into.extend_from_slice(&self.newest.to_le_bytes());
        into.extend_from_slice(&self.bytes.to_le_bytes());
    }

    /// Reads a row.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self {
            source: TopicPartition { topic: TopicId(reader.u64()?), partition: Partition(reader.u32()?) },
            blocks: reader.u32()?,
            first_entry: reader.u32()?,
            entries_crc: reader.u32()?,
            first: Offset(reader.u64()?),
            end: Offset(reader.u64()?),
            newest: reader.i64()?,
            bytes: reader.u64()?,
        })
    }
}

impl Entry {
    /// Bytes of an entry.
    pub const BYTES: usize = 32;

    /// Appends the entry.
    pub fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.first.0.to_le_bytes());
        into.extend_from_slice(&self.append_time.to_le_bytes());
        into.extend_from_slice(&self.byte.to_le_bytes());
        into.extend_from_slice(&self.byte_len.to_le_bytes());
        into.extend_from_slice(&self.count.to_le_bytes());
        let flags = u32::from(self.has_cause) * FLAG_CAUSE
            + u32::from(self.is_packed) * FLAG_PACKED
            + u32::from(self.is_compressed) * FLAG_COMPRESSED;
        into.extend_from_slice(&flags.to_le_bytes());
    }

    /// Reads an entry; `None` if its offsets are impossible.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (first, append_time) = (reader.u64()?, reader.i64()?);
        let (byte, byte_len, count, flags) = (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
        first.checked_add(count.into())?;
        let (has_cause, is_packed) = (flags & FLAG_CAUSE != 0, flags & FLAG_PACKED != 0);
        let is_compressed = flags & FLAG_COMPRESSED != 0;
        Some(Self {
            first: Offset(first),
            append_time,
            byte,
            byte_len,
            count,
            has_cause,
            is_packed,
            is_compressed,
        })
    }

    /// The offset after the last event.
    pub fn end(&self) -> Offset {
        self.first.plus(self.count.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_trailer_comes_back_and_every_flipped_bit_is_found() {
        let trailer = Trailer {
            store: 1,
            segment: 2,
            last_frame: FrameNumber(3),
            last_crc: 4,
            rows: 5,
            blocks: 6,
            rows_crc: 7,
            newest: -8,
        };
        let mut bytes = Vec::new();
        trailer.encode(&mut bytes);
        assert_eq!(Trailer::decode(&bytes), Some(trailer));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Trailer::decode(&bytes), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn rows_and_entries_come_back(
            numbers in any::<(u64, u32, u32, u32, u32, i64)>(),
            first in 0..u64::MAX / 2,
            (has_cause, is_packed, is_compressed) in any::<(bool, bool, bool)>(),
        ) {
            let (topic, a, b, c, d, time) = numbers;
            let source = TopicPartition { topic: TopicId(topic), partition: Partition(a) };
            let (first, end) = (Offset(first), Offset(first + 1));
            let bytes = topic;
            let row = Row { source, blocks: b, first_entry: c, entries_crc: d, first, end, newest: time, bytes };
            let entry = Entry {
                first, append_time: time, byte: a, byte_len: b, count: c, has_cause, is_packed, is_compressed,
            };
            let mut bytes = Vec::new();
            row.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), Row::BYTES);
            prop_assert_eq!(Row::decode(&bytes), Some(row));
            bytes.clear();
            entry.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), Entry::BYTES);
            prop_assert_eq!(Entry::decode(&bytes), Some(entry));
        }
    }
}
