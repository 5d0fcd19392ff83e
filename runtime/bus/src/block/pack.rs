//! The packed body of a block of which events are gone: those that are left, each with its offset. Compaction writes
//! it. The bytes are described in `FORMAT.md`.

use std::io::IoSlice;
use std::sync::Arc;

use super::compress::Compressed;
use super::stored::Body;
use super::{Block, BlockHeader, BrokenBlock, Columns, body_slices_of};
use crate::Offset;
use crate::bytes::Reader;
use crate::transaction::Cause;

/// Bytes before the columns: number of events, bytes of the data.
const PREFIX_BYTES: usize = 8;

/// The block with the events that `keeps` wants, each named by its place among those that it has: its new header, and
/// its body, which is compressed if the block's was and it is still worth it.
pub fn pack(block: &Block, mut keeps: impl FnMut(usize) -> bool) -> (BlockHeader, Vec<u8>) {
    let (mut offsets, mut columns, mut causes) = (Vec::new(), Columns::default(), Vec::new());
    for (index, event) in block.columns.iter().enumerate() {
        if keeps(index) {
            offsets.push(block.delta(index));
            columns.push(event);
            causes.extend(block.cause.as_ref().map(|cause| cause.events[index]));
        }
    }
    let bounded = |len: usize| u32::try_from(len).expect("blocks are bounded far below 4 GiB");
    let mut body = Vec::new();
    body.extend_from_slice(&bounded(columns.len()).to_le_bytes());
    body.extend_from_slice(&bounded(columns.data.len()).to_le_bytes());
    body.extend_from_slice(bytemuck::cast_slice(&offsets));
    for part in body_slices_of(&columns, &causes) {
        body.extend_from_slice(&part);
    }
    let header = of_body(block.header, &body);
    let compressed = block.header.is_compressed.then(|| Compressed::of(&[IoSlice::new(&body)])).flatten();
    match compressed {
        Some(compressed) => (header.compressed(&compressed), compressed.into_bytes()),
        None => (header, body),
    }
}

/// The header and the body of a block of which nothing is left: it keeps the offsets from being a hole.
pub fn pack_nothing(header: BlockHeader) -> (BlockHeader, Vec<u8>) {
    let body = vec![0; PREFIX_BYTES];
    (BlockHeader { cause: None, ..of_body(header, &body) }, body)
}

fn of_body(header: BlockHeader, body: &[u8]) -> BlockHeader {
    let data_bytes = u32::try_from(body.len()).expect("blocks are bounded far below 4 GiB");
    let body_crc = crc32c::crc32c(body);
    BlockHeader { data_bytes, is_packed: true, is_compressed: false, body_crc, ..header }
}

/// The block with this packed body, whose bytes are known to be those that were written.
pub(super) fn unpack(header: BlockHeader, body: &[u8]) -> Result<Block, BrokenBlock> {
    let short = BrokenBlock::Packed("too few bytes");
    let mut reader = Reader::new(body);
    let (Some(left), Some(data_bytes)) = (reader.u32(), reader.u32()) else { return Err(short) };
    if left > header.count {
        return Err(BrokenBlock::Packed("more events than offsets"));
    }
    let causes = header.cause.map_or(0, |_| left);
    let columns = u64::from(left) * (Columns::BYTES_PER_EVENT + 4) as u64 + u64::from(causes) * 4;
    if columns + u64::from(data_bytes) != reader.rest().len() as u64 {
        return Err(BrokenBlock::Packed("columns that do not fill it"));
    }
    let mut offsets = vec![0_u32; left as usize];
    fill(&mut reader, bytemuck::cast_slice_mut(&mut offsets)).ok_or(short)?;
    let is_ascending = offsets.windows(2).all(|pair| pair[0] < pair[1]);
    if !is_ascending || offsets.last().is_some_and(|&last| last >= header.count) {
        return Err(BrokenBlock::Packed("offsets out of order"));
    }
    let mut body = Body::new(left, data_bytes, causes);
    for part in &mut body.slices() {
        fill(&mut reader, part).ok_or(short)?;
    }
    let (columns, events) = body.into_columns();
    columns.check()?;
    let cause = header
        .cause
        .map(|of| Arc::new(Cause { handler: of.handler, source: of.source, first: of.first, events }));
    Ok(Block { header, columns: Arc::new(columns), cause, offsets: Some(offsets.into()) })
}

fn fill(from: &mut Reader<'_>, part: &mut [u8]) -> Option<()> {
    part.copy_from_slice(from.take(part.len())?);
    Some(())
}

impl Block {
    /// The offset of event `index` of those that are left, minus the header's first.
    fn delta(&self, index: usize) -> u32 {
        let consecutive = || u32::try_from(index).expect("blocks are bounded far below 2^32 events");
        self.offsets.as_ref().map_or_else(consecutive, |offsets| offsets[index])
    }

    /// The offset of event `index` of those that are left.
    pub fn offset(&self, index: usize) -> Offset {
        self.header.first.plus(self.delta(index).into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::block::HEADER_BYTES;
    use crate::{Event, HandlerId, Partition, TopicId, TopicPartition};

    const TARGET: TopicPartition = TopicPartition { topic: TopicId(1), partition: Partition(2) };

    /// A block as it is read, of `values`.
    fn block(values: &[Option<Vec<u8>>], has_cause: bool) -> Block {
        let mut columns = Columns::default();
        for (time, value) in (0..).zip(values) {
            let key = value.as_ref().map(|value| &value[..value.len() / 2]);
            columns.push(Event { time, key, headers: &[], value: value.as_deref() });
        }
        let events: Vec<u32> = (5..).take(values.len()).collect();
        let cause = Cause { handler: HandlerId(3), source: TARGET, first: Offset(6), events };
        let cause = has_cause.then(|| Arc::new(cause));
        let body_crc = crate::block::body_crc(&columns, cause.as_ref().map(|cause| &*cause.events));
        let columns = Arc::new(columns);
        let new = crate::transaction::NewBlock { target: TARGET, columns, cause: cause.clone(), body_crc };
        let header = BlockHeader::of(&new, Offset(70), -5);
        Block { header, columns: new.columns, cause, offsets: None }
    }

    fn bytes_of((header, body): (BlockHeader, Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(header.byte_len(), (HEADER_BYTES + body.len()) as u64);
        [bytes, body].concat()
    }

    fn values() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..30));
        proptest::collection::vec(value, 1..20)
    }

    /// Each event that is left with its offset and its cause.
    fn left(block: &Block) -> Vec<(Offset, Event<'_>, Option<u32>)> {
        let cause = |index: usize| block.cause.as_ref().map(|cause| cause.events[index]);
        let events = block.columns.iter().enumerate();
        events.map(|(index, event)| (block.offset(index), event, cause(index))).collect()
    }

    proptest! {
        #[test]
        fn what_is_kept_keeps_its_offset_and_cause_however_often_it_is_packed(
            values in values(),
            has_cause in any::<bool>(),
            masks in any::<[u32; 2]>(),
        ) {
            let whole = block(&values, has_cause);
            let once = Block::decode(&bytes_of(pack(&whole, |index| masks[0] >> index & 1 == 1))).unwrap();
            let twice = Block::decode(&bytes_of(pack(&once, |index| masks[1] >> index & 1 == 1))).unwrap();
            let mut expected = left(&whole);
            expected.retain(|(offset, ..)| masks[0] >> (offset.0 - 70) & 1 == 1);
            prop_assert_eq!(left(&once), expected.clone());
            let mut nth = 0..;
            expected.retain(|_| masks[1] >> nth.next().unwrap_or(0) & 1 == 1);
            prop_assert_eq!(left(&twice), expected);
            prop_assert_eq!(twice.header.end(), whole.header.end());
        }

        #[test]
        fn a_flipped_bit_is_found(
            values in values(),
            mask in any::<u32>(),
            bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = bytes_of(pack(&block(&values, true), |index| mask >> index & 1 == 1));
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Block::decode(&bytes).is_err());
        }

        #[test]
        fn a_body_with_a_good_checksum_is_still_checked(
            body in proptest::collection::vec(any::<u8>(), 0..60),
            count in 1..4_u32,
        ) {
            let mut header = of_body(block(&[None], false).header, &body);
            header.count = count;
            let _ = unpack(header, &body);
        }
    }

    #[test]
    fn nothing_is_left_of_a_block_but_its_offsets() {
        let whole = block(&[None, None, None], true);
        let nothing = Block::decode(&bytes_of(pack_nothing(whole.header))).unwrap();
        assert!(nothing.columns.is_empty() && nothing.header.cause.is_none());
        assert_eq!(nothing.header.end(), whole.header.end());
    }

    #[test]
    fn a_body_that_contradicts_its_header_is_refused() {
        let whole = block(&[None, None, None], false);
        let (header, body) = pack(&whole, |index| index > 0);
        for (count, at, byte, what) in [
            (1, 0, 2, "more events than offsets"),
            (3, 0, 1, "columns that do not fill it"),
            (3, 4, 1, "columns that do not fill it"),
            (2, 0, 2, "offsets out of order"),
            (3, 8, 2, "offsets out of order"),
        ] {
            let mut body = body.clone();
            body[at] = byte;
            let header = BlockHeader { count, ..of_body(header, &body) };
            assert_eq!(unpack(header, &body), Err(BrokenBlock::Packed(what)), "{count} {at}");
        }
        assert_eq!(
            unpack(of_body(header, &body[..7]), &body[..7]),
            Err(BrokenBlock::Packed("too few bytes"))
        );
    }
}
