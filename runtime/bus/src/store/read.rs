//! Reading: from the recent blocks in memory, else from the journal, never past the high watermark. Nothing
//! broken is skipped or served.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::Mutex;

use super::Shared;
use crate::commit::{Left, TailBlock};
use crate::journal::{BlockError, FindError, ReadHint, Seek};
use crate::limits::READ_CACHE_BYTES_MAX;
use crate::log::{PartitionRange, ReadEnd, ReadError, ReadLimit};
use crate::{Batch, Columns, Offset, TopicPartition};

/// Blocks that were read from the disk lately, and where each partition's last search ended.
#[derive(Default)]
pub(crate) struct ReadCache {
    blocks: Mutex<Blocks>,
    hints: DashMap<TopicPartition, ReadHint>,
}

#[derive(Default)]
struct Blocks {
    /// Each partition's blocks, in the order in which they were read.
    recent: HashMap<TopicPartition, VecDeque<TailBlock>>,
    /// Whose block was read when: each entry stands for the oldest one of its partition then.
    order: VecDeque<TopicPartition>,
    bytes: usize,
}

impl ReadCache {
    fn get(&self, source: TopicPartition, from: Offset) -> Option<TailBlock> {
        let blocks = self.blocks.lock();
        let holds = |block: &&TailBlock| block.first <= from && from < block.end();
        blocks.recent.get(&source)?.iter().rev().find(holds).cloned()
    }

    fn put(&self, source: TopicPartition, block: TailBlock) {
        let mut blocks = self.blocks.lock();
        blocks.bytes += block.columns.byte_len();
        blocks.order.push_back(source);
        blocks.recent.entry(source).or_default().push_back(block);
        while blocks.bytes > READ_CACHE_BYTES_MAX && blocks.order.len() > 1 {
            blocks.forget_oldest();
        }
    }
}

impl Blocks {
    fn forget_oldest(&mut self) {
        let Some(source) = self.order.pop_front() else { return };
        let Entry::Occupied(mut of) = self.recent.entry(source) else { return };
        if let Some(oldest) = of.get_mut().pop_front() {
            self.bytes -= oldest.columns.byte_len();
        }
        if of.get().is_empty() {
            of.remove();
        }
    }
}

impl Shared {
    pub(super) fn read(
        &self,
        source: TopicPartition,
        from: Offset,
        limit: ReadLimit,
        batch: &mut Batch,
    ) -> Result<ReadEnd, ReadError> {
        self.check_partition(source)?;
        let start = self.view.tails.released(source);
        if from < start {
            return Err(ReadError::Gone { source_partition: source, asked: from, start });
        }
        let mut next = from;
        let mut recent = Vec::new();
        loop {
            recent.clear();
            let room = limit.bytes.saturating_sub(batch.columns.byte_len());
            let end = self.view.tails.recent(source, next, room.max(1), &mut recent);
            if next >= end || is_full(batch, limit) {
                return Ok(ReadEnd { next, end });
            }
            if recent.is_empty() {
                match self.stored(source, next, end) {
                    Ok(block) => recent.push(block),
                    // What is before it is served; who goes on from there is told.
                    Err(_) if !batch.is_empty() => return Ok(ReadEnd { next, end }),
                    Err(error) => return Err(error),
                }
            }
            for block in &recent {
                match append(batch, block, next, limit) {
                    Some(after) if after == block.end() => next = after,
                    Some(after) => return Ok(ReadEnd { next: after, end }),
                    None => return Ok(ReadEnd { next, end }),
                }
            }
        }
    }

    /// The block that holds `from`, which is below the high watermark `end`, from the disk.
    fn stored(&self, source: TopicPartition, from: Offset, end: Offset) -> Result<TailBlock, ReadError> {
        if let Some(block) = self.read_cache.get(source, from) {
            return Ok(block);
        }
        let mut hint = self.read_cache.hints.get(&source).map(|hint| *hint).unwrap_or_default();
        let found = self.reader.find(source, Seek::Offset(from), &mut hint);
        self.read_cache.hints.insert(source, hint);
        let found = found.map_err(|error| failed_to_find(source, from, &error))?;
        let start = found.as_ref().map_or(end, |place| place.first);
        let Some(place) = found.filter(|place| place.first <= from) else {
            return Err(self.missing(source, from, start));
        };
        let block = self.reader.read(&place).map_err(|error| failed_to_read(source, place.first, &error))?;
        self.meter.disk_reads.add(1);
        let (first, append_time) = (block.header.first, block.header.append_time);
        let left = block.offsets.map(|offsets| Left { count: block.header.count, offsets });
        let block = TailBlock { first, append_time, columns: block.columns, left };
        self.read_cache.put(source, block.clone());
        Ok(block)
    }

    /// Why there is no block at `from`, and the next one begins at `start`. Blocks leave no gap: what is missing
    /// before the first block kept was released, what is missing later was in a frame that cannot be read.
    fn missing(&self, source: TopicPartition, from: Offset, start: Offset) -> ReadError {
        let oldest = self.reader.find(source, Seek::Offset(Offset(0)), &mut ReadHint::default());
        match oldest {
            Ok(Some(oldest)) if oldest.first <= from => {
                let what = format!("the header of its frame is broken; the next offset is {start}").into();
                ReadError::Broken { source_partition: source, offset: from, what }
            }
            Ok(_) => ReadError::Gone { source_partition: source, asked: from, start },
            Err(error) => failed_to_find(source, from, &error),
        }
    }

    pub(super) fn range(&self, source: TopicPartition) -> Result<PartitionRange, ReadError> {
        self.check_partition(source)?;
        let end = self.view.tails.end(source);
        let oldest = self
            .reader
            .find(source, Seek::Offset(Offset(0)), &mut ReadHint::default())
            .map_err(|error| failed_to_find(source, Offset(0), &error))?;
        let start = oldest.map_or(end, |place| place.first).min(end);
        Ok(PartitionRange { start, end })
    }

    pub(super) fn position_at(&self, source: TopicPartition, time_ms: i64) -> Result<Offset, ReadError> {
        self.check_partition(source)?;
        let end = self.view.tails.end(source);
        let found = self
            .reader
            .find(source, Seek::Time(time_ms), &mut ReadHint::default())
            .map_err(|error| failed_to_find(source, Offset(0), &error))?;
        Ok(found.map_or(end, |place| place.first).min(end))
    }

    fn check_partition(&self, source: TopicPartition) -> Result<(), ReadError> {
        match self.view.catalog.partitions(source.topic) {
            Some(partitions) if source.partition.0 < partitions => Ok(()),
            _ => Err(ReadError::Unknown(source)),
        }
    }
}

fn is_full(batch: &Batch, limit: ReadLimit) -> bool {
    let columns = &batch.columns;
    !batch.is_empty() && (batch.len() >= limit.events || columns.byte_len() >= limit.bytes)
}

/// Appends the events of `block` from `from` on, as far as the limit allows; returns the position after the
/// last one, or `None` if the batch cannot take any.
fn append(batch: &mut Batch, block: &TailBlock, from: Offset, limit: ReadLimit) -> Option<Offset> {
    if let Some(left) = &block.left {
        return append_left(batch, block, (left, from), limit);
    }
    let skipped = usize::try_from(from.0 - block.first.0).ok()?;
    let (events, data) = cut(&block.columns, skipped, batch, limit);
    if events.is_empty() {
        return None;
    }
    let count = events.len() as u64;
    batch.extend_from(&block.columns, events, data, (from, block.append_time)).then(|| from.plus(count))
}

/// As [`append`], of a block of which events are gone: run by run of consecutive offsets.
fn append_left(
    batch: &mut Batch,
    block: &TailBlock,
    (left, from): (&Left, Offset),
    limit: ReadLimit,
) -> Option<Offset> {
    let offset = |index: usize| block.first.plus(left.offsets[index].into());
    let start = left.offsets.partition_point(|&delta| block.first.plus(delta.into()) < from);
    let (events, data) = cut(&block.columns, start, batch, limit);
    let (mut next, mut data_at) = (events.start, data.start);
    let runs = left.offsets[events.clone()].chunk_by(|one, two| one + 1 == *two);
    for run in runs.map(<[u32]>::len) {
        let data_end = data_at + block.columns.data_lens(next..next + run);
        let place = (offset(next), block.append_time);
        if !batch.extend_from(&block.columns, next..next + run, data_at..data_end, place) {
            break;
        }
        (next, data_at) = (next + run, data_end);
    }
    match left.offsets.len() {
        len if next == len => Some(block.end()),
        _ if next == start => None,
        _ => Some(offset(next)),
    }
}

/// Which events, and which bytes of data, fit into what is left of the limit; at least one event if the batch
/// is empty.
fn cut(columns: &Columns, start: usize, batch: &Batch, limit: ReadLimit) -> (Range<usize>, Range<usize>) {
    let mut room = limit.bytes.saturating_sub(batch.columns.byte_len());
    let events_max = limit.events.saturating_sub(batch.len());
    if start == 0 && columns.byte_len() <= room && columns.len() <= events_max {
        return (0..columns.len(), 0..columns.data.len());
    }
    let data_start = columns.data_lens(0..start);
    let (mut end, mut data_end) = (start, data_start);
    while end < columns.len() {
        let bytes = columns.data_len(end);
        let fits = end - start < events_max && bytes + Columns::BYTES_PER_EVENT <= room;
        let is_first = batch.is_empty() && end == start;
        if !(fits || is_first) {
            break;
        }
        room = room.saturating_sub(bytes + Columns::BYTES_PER_EVENT);
        end += 1;
        data_end += bytes;
    }
    (start..end, data_start..data_end)
}

fn failed_to_find(source: TopicPartition, from: Offset, error: &FindError) -> ReadError {
    let what: Arc<str> = error.to_string().into();
    match error {
        FindError::Broken { .. } => ReadError::Broken { source_partition: source, offset: from, what },
        FindError::Io { .. } => ReadError::Disk { source_partition: source, what },
    }
}

fn failed_to_read(source: TopicPartition, first: Offset, error: &BlockError) -> ReadError {
    let what: Arc<str> = error.to_string().into();
    match error {
        BlockError::Broken { .. } => ReadError::Broken { source_partition: source, offset: first, what },
        BlockError::Io { .. } => ReadError::Disk { source_partition: source, what },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Partition, TopicId};

    #[test]
    fn when_full_the_blocks_read_first_go() {
        let source = TopicPartition { topic: TopicId(1), partition: Partition(0) };
        let cache = ReadCache::default();
        let mut columns = Columns::default();
        columns.push(Event { time: 0, key: None, headers: &[], value: Some(&vec![0; 1 << 20]) });
        let columns = Arc::new(columns);
        let fits = READ_CACHE_BYTES_MAX / columns.byte_len();
        for offset in 0..=fits as u64 {
            let columns = Arc::clone(&columns);
            cache.put(source, TailBlock { first: Offset(offset), append_time: 0, columns, left: None });
        }
        assert!(cache.get(source, Offset(0)).is_none() && cache.get(source, Offset(1)).is_some());
        assert!(cache.blocks.lock().bytes <= READ_CACHE_BYTES_MAX);
    }
}
