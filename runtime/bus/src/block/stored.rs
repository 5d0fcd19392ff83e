//! A block as it lies on disk: 80 bytes of header, then the columns as they lie in memory. The bytes are
//! described in `FORMAT.md`; this file knows no journal and no frame.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use thiserror::Error;

use super::compress::{Compressed, decompress};
use super::pack::unpack;
use super::{Columns, ColumnsError, body_crc};
use crate::bytes::Reader;
use crate::limits::BLOCK_BYTES_MAX;
use crate::transaction::{Cause, NewBlock};
use crate::{HandlerId, Offset, Partition, TopicId, TopicPartition};

/// Bytes of a block's header.
pub const HEADER_BYTES: usize = 80;

const MAGIC: u32 = u32::from_le_bytes(*b"TMBK");
const VERSION: u16 = 1;
const FLAG_CAUSE: u16 = 1;
const FLAG_PACKED: u16 = 2;
const FLAG_COMPRESSED: u16 = 4;
/// Bytes of magic and CRC, which the CRC does not cover.
const CRC_FROM: usize = 8;

/// What stands before the columns of a block on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Whose block.
    pub target: TopicPartition,
    /// The offset of the first event; the others follow without a gap. Of a packed block they may be gone.
    pub first: Offset,
    /// Milliseconds since the Unix epoch.
    pub append_time: i64,
    /// Number of events, at least one, with those that are gone.
    pub count: u32,
    /// Bytes of the columns' data; of the whole body, if it is packed or compressed.
    pub data_bytes: u32,
    /// Whether the body is packed: see the module `pack`.
    pub is_packed: bool,
    /// Whether the body is compressed: see the module `compress`.
    pub is_compressed: bool,
    /// What the events were emitted for; `None` for events from outside.
    pub cause: Option<CauseHeader>,
    /// CRC32C of the body as it is stored; of columns as [`super::body_crc`] counts it.
    pub body_crc: u32,
}

/// What the events of a block have in common in their causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CauseHeader {
    /// The handler that emitted them.
    pub handler: HandlerId,
    /// The partition that it read.
    pub source: TopicPartition,
    /// The offset of the first input event of the call.
    pub first: Offset,
}

/// A block as it was read: verified, its columns checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its header.
    pub header: BlockHeader,
    /// Its events.
    pub columns: Arc<Columns>,
    /// What they were emitted for.
    pub cause: Option<Arc<Cause>>,
    /// For each event its offset minus the header's first, in ascending order; `None` if all are there.
    pub offsets: Option<Arc<[u32]>>,
}

/// Bytes that are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BrokenBlock {
    /// The header is not one, or not of a version that is known.
    #[error("its header has {0}")]
    Header(&'static str),
    /// The header is one, but of another block.
    #[error("it is another block than the index says")]
    Other,
    /// The body is cut off.
    #[error("its body is cut off")]
    Short,
    /// The body is not what was written.
    #[error("its body has another checksum")]
    Body,
    /// The body is what was written, and is no packed one.
    #[error("its packed body has {0}")]
    Packed(&'static str),
    /// The body is what was written, and is no compressed one.
    #[error("its compressed body has {0}")]
    Compressed(&'static str),
    /// The body is what was written, and contradicts itself.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
}

impl BlockHeader {
    /// The header of a new block in its place. The block's sizes must have been bounded.
    pub fn of(block: &NewBlock, first: Offset, append_time: i64) -> Self {
        let bounded = |len: usize| u32::try_from(len).expect("blocks are bounded far below 4 GiB");
        Self {
            target: block.target,
            first,
            append_time,
            count: bounded(block.columns.len()),
            data_bytes: bounded(block.columns.data.len()),
            is_packed: false,
            is_compressed: false,
            cause: block.cause.as_ref().map(|cause| CauseHeader {
                handler: cause.handler,
                source: cause.source,
                first: cause.first,
            }),
            body_crc: block.body_crc,
        }
    }

    /// The header of the same block, whose body is stored so.
    #[must_use]
    pub fn compressed(self, body: &Compressed) -> Self {
        let data_bytes = u32::try_from(body.bytes().len()).expect("blocks are bounded far below 4 GiB");
        Self { data_bytes, is_compressed: true, body_crc: body.crc(), ..self }
    }

    /// Whether the columns are stored as they are.
    pub fn is_plain(&self) -> bool {
        !(self.is_packed || self.is_compressed)
    }

    /// Bytes of an event in the columns, and in the causes if there are any.
    fn bytes_per_event(&self) -> u64 {
        (Columns::BYTES_PER_EVENT + if self.cause.is_some() { 4 } else { 0 }) as u64
    }

    /// The offset after the last event.
    pub fn end(&self) -> Offset {
        self.first.plus(self.count.into())
    }

    /// Bytes of the header and the body, without the padding that follows.
    pub fn byte_len(&self) -> u64 {
        let columns = if self.is_plain() { u64::from(self.count) * self.bytes_per_event() } else { 0 };
        HEADER_BYTES as u64 + columns + u64::from(self.data_bytes)
    }

    /// Appends the header.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let none = CauseHeader {
            handler: HandlerId(0),
            source: TopicPartition { topic: TopicId(0), partition: Partition(0) },
            first: Offset(0),
        };
        let cause = self.cause.unwrap_or(none);
        // Written in place and appended at once: there may be thousands of blocks in a frame.
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        let flags = u16::from(self.cause.is_some()) * FLAG_CAUSE
            + u16::from(self.is_packed) * FLAG_PACKED
            + u16::from(self.is_compressed) * FLAG_COMPRESSED;
        bytes[10..12].copy_from_slice(&flags.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.target.topic.0.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.target.partition.0.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.append_time.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.data_bytes.to_le_bytes());
        bytes[52..56].copy_from_slice(&cause.source.partition.0.to_le_bytes());
        bytes[56..64].copy_from_slice(&cause.handler.0.to_le_bytes());
        bytes[64..72].copy_from_slice(&cause.source.topic.0.to_le_bytes());
        bytes[72..80].copy_from_slice(&cause.first.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[4..CRC_FROM].copy_from_slice(&crc.to_le_bytes());
        into.extend_from_slice(&bytes);
    }

    /// Reads a header from the front of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, BrokenBlock> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or(BrokenBlock::Header("too few bytes"))?;
        let mut reader = Reader::new(bytes);
        let (magic, crc) = (reader.u32(), reader.u32());
        if magic != Some(MAGIC) {
            return Err(BrokenBlock::Header("another magic number"));
        }
        if crc != Some(crc32c::crc32c(&bytes[CRC_FROM..])) {
            return Err(BrokenBlock::Header("another checksum"));
        }
        if reader.u16() != Some(VERSION) {
            return Err(BrokenBlock::Header("an unknown version"));
        }
        let header = Self::decode_fields(&mut reader).ok_or(BrokenBlock::Header("too few bytes"))?;
        if header.count == 0 || header.byte_len() > BLOCK_BYTES_MAX {
            return Err(BrokenBlock::Header("an impossible size"));
        }
        if header.first.0.checked_add(header.count.into()).is_none() {
            return Err(BrokenBlock::Header("an impossible offset"));
        }
        Ok(header)
    }

    fn decode_fields(reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.u16()?;
        let count = reader.u32()?;
        let target = TopicPartition { topic: TopicId(reader.u64()?), partition: Partition(reader.u32()?) };
        let body_crc = reader.u32()?;
        let (first, append_time) = (Offset(reader.u64()?), reader.i64()?);
        let data_bytes = reader.u32()?;
        let source_partition = Partition(reader.u32()?);
        let handler = HandlerId(reader.u64()?);
        let source = TopicPartition { topic: TopicId(reader.u64()?), partition: source_partition };
        let cause = CauseHeader { handler, source, first: Offset(reader.u64()?) };
        Some(Self {
            target,
            first,
            append_time,
            count,
            data_bytes,
            is_packed: flags & FLAG_PACKED != 0,
            is_compressed: flags & FLAG_COMPRESSED != 0,
            cause: (flags & FLAG_CAUSE != 0).then_some(cause),
            body_crc,
        })
    }
}

/// The body of a block as pieces of a vectored write, without copying a column.
pub fn body_slices(block: &NewBlock) -> [IoSlice<'_>; 6] {
    let causes = block.cause.as_ref().map_or(&[][..], |cause| &cause.events);
    body_slices_of(&block.columns, causes)
}

/// The columns of a body in their order on disk, and its causes.
pub(crate) fn body_slices_of<'a>(columns: &'a Columns, causes: &'a [u32]) -> [IoSlice<'a>; 6] {
    [
        IoSlice::new(bytemuck::cast_slice(&columns.times)),
        IoSlice::new(bytemuck::cast_slice(&columns.key_lens)),
        IoSlice::new(bytemuck::cast_slice(&columns.header_lens)),
        IoSlice::new(bytemuck::cast_slice(&columns.value_lens)),
        IoSlice::new(&columns.data),
        IoSlice::new(bytemuck::cast_slice(causes)),
    ]
}

/// The body of a block that is being read: columns of the right sizes, to be filled from the disk.
#[derive(Debug)]
pub struct Body {
    columns: Columns,
    causes: Vec<u32>,
}

impl Body {
    /// A body of zeros, of the sizes that a bounded header tells.
    pub fn new(count: u32, data_bytes: u32, causes: u32) -> Self {
        let count = count as usize;
        let columns = Columns {
            times: vec![0; count],
            key_lens: vec![0; count],
            header_lens: vec![0; count],
            value_lens: vec![0; count],
            data: vec![0; data_bytes as usize],
        };
        Self { columns, causes: vec![0; causes as usize] }
    }

    /// Where the body's bytes go, in their order on disk.
    pub fn slices(&mut self) -> [IoSliceMut<'_>; 6] {
        [
            IoSliceMut::new(bytemuck::cast_slice_mut(&mut self.columns.times)),
            IoSliceMut::new(bytemuck::cast_slice_mut(&mut self.columns.key_lens)),
            IoSliceMut::new(bytemuck::cast_slice_mut(&mut self.columns.header_lens)),
            IoSliceMut::new(bytemuck::cast_slice_mut(&mut self.columns.value_lens)),
            IoSliceMut::new(&mut self.columns.data),
            IoSliceMut::new(bytemuck::cast_slice_mut(&mut self.causes)),
        ]
    }

    /// The columns as they were read, not yet checked, and the causes.
    pub(super) fn into_columns(self) -> (Columns, Vec<u32>) {
        (self.columns, self.causes)
    }

    /// The block, if the body is the one that the header was written for, which is plain.
    pub fn into_block(self, header: BlockHeader) -> Result<Block, BrokenBlock> {
        let causes = header.cause.map(|_| self.causes.as_slice());
        if body_crc(&self.columns, causes) != header.body_crc {
            return Err(BrokenBlock::Body);
        }
        self.into_checked(header)
    }

    /// The block, if the columns agree with each other.
    fn into_checked(self, header: BlockHeader) -> Result<Block, BrokenBlock> {
        self.columns.check()?;
        let cause = header.cause.map(|cause| {
            let CauseHeader { handler, source, first } = cause;
            Arc::new(Cause { handler, source, first, events: self.causes })
        });
        Ok(Block { header, columns: Arc::new(self.columns), cause, offsets: None })
    }
}

impl Block {
    /// Reads a block from the front of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, BrokenBlock> {
        let header = BlockHeader::decode(bytes)?;
        let body_bytes = usize::try_from(header.byte_len()).unwrap_or(usize::MAX) - HEADER_BYTES;
        let body = Reader::new(&bytes[HEADER_BYTES..]).take(body_bytes).ok_or(BrokenBlock::Short)?;
        Self::of_body(header, body)
    }

    /// The block with this body as it is stored, if it is the one that the header was written for.
    pub(crate) fn of_body(header: BlockHeader, body: &[u8]) -> Result<Self, BrokenBlock> {
        if crc32c::crc32c(body) != header.body_crc {
            return Err(BrokenBlock::Body);
        }
        let decompressed;
        let body = if header.is_compressed {
            decompressed = decompress(body)?;
            &decompressed
        } else {
            body
        };
        if header.is_packed {
            return unpack(header, body);
        }
        let columns = u64::from(header.count) * header.bytes_per_event();
        let data_bytes = (body.len() as u64).checked_sub(columns).and_then(|bytes| u32::try_from(bytes).ok());
        let data_bytes = data_bytes.ok_or(BrokenBlock::Short)?;
        let mut rest = Reader::new(body);
        let mut body = Body::new(header.count, data_bytes, header.cause.map_or(0, |_| header.count));
        for part in &mut body.slices() {
            let len = part.len();
            part.copy_from_slice(rest.take(len).ok_or(BrokenBlock::Short)?);
        }
        body.into_checked(header)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Event;

    fn new_block(values: &[Option<Vec<u8>>], causes: bool) -> NewBlock {
        let mut columns = Columns::default();
        for (time, value) in (0..).zip(values) {
            let key = value.as_ref().map(|value| &value[..value.len() / 2]);
            columns.push(Event { time, key, headers: &[], value: value.as_deref() });
        }
        let cause = causes.then(|| {
            Arc::new(Cause {
                handler: HandlerId(3),
                source: TopicPartition { topic: TopicId(4), partition: Partition(5) },
                first: Offset(6),
                events: (0..).take(values.len()).collect(),
            })
        });
        let body_crc = body_crc(&columns, cause.as_ref().map(|cause| cause.events.as_slice()));
        let target = TopicPartition { topic: TopicId(1), partition: Partition(2) };
        NewBlock { target, columns: Arc::new(columns), cause, body_crc }
    }

    fn bytes_of(block: &NewBlock) -> Vec<u8> {
        let mut bytes = Vec::new();
        BlockHeader::of(block, Offset(70), -5).encode(&mut bytes);
        for part in body_slices(block) {
            bytes.extend_from_slice(&part);
        }
        bytes
    }

    fn values() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..30));
        proptest::collection::vec(value, 1..20)
    }

    proptest! {
        #[test]
        fn a_block_comes_back_as_it_was_written(values in values(), causes in any::<bool>()) {
            let written = new_block(&values, causes);
            let bytes = bytes_of(&written);
            let block = Block::decode(&bytes).unwrap();
            prop_assert_eq!(bytes.len() as u64, block.header.byte_len());
            prop_assert_eq!(block.header, BlockHeader::of(&written, Offset(70), -5));
            prop_assert_eq!(&block.columns, &written.columns);
            prop_assert_eq!(&block.cause, &written.cause);
        }

        #[test]
        fn a_compressed_block_comes_back_and_a_flipped_bit_is_found(
            values in proptest::collection::vec(0..9_usize, 60..90),
            causes in any::<bool>(),
            bit in any::<prop::sample::Index>(),
        ) {
            let values: Vec<_> = values.into_iter().map(|len| (len > 0).then(|| vec![b'x'; len])).collect();
            let written = new_block(&values, causes);
            let body = Compressed::of(&body_slices(&written)).unwrap();
            let header = BlockHeader::of(&written, Offset(70), -5).compressed(&body);
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            bytes.extend_from_slice(body.bytes());
            prop_assert_eq!(bytes.len() as u64, header.byte_len());
            let block = Block::decode(&bytes).unwrap();
            prop_assert_eq!(block.header, header);
            prop_assert_eq!((&block.columns, &block.cause), (&written.columns, &written.cause));
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Block::decode(&bytes).is_err());
        }

        #[test]
        fn a_flipped_bit_is_found(values in values(), causes in any::<bool>(), bit in any::<prop::sample::Index>()) {
            let mut bytes = bytes_of(&new_block(&values, causes));
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Block::decode(&bytes).is_err());
        }

        #[test]
        fn a_block_that_is_cut_off_is_found(values in values(), len in any::<prop::sample::Index>()) {
            let bytes = bytes_of(&new_block(&values, true));
            prop_assert!(Block::decode(&bytes[..len.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn a_header_with_a_good_checksum_and_impossible_sizes_is_refused() {
        let mut header = BlockHeader::of(&new_block(&[None], false), Offset(0), 0);
        header.count = u32::MAX;
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(BlockHeader::decode(&bytes), Err(BrokenBlock::Header("an impossible size")));
    }
}
