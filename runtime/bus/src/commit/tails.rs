//! The readable end of every partition, and the recent blocks before it. Written by the committer, read by
//! workers and servers; knows no file.

use std::collections::VecDeque;
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::Mutex;

use crate::journal::PlacedBlock;
use crate::limits::TAILS_BYTES_MAX;
use crate::tables::EndRow;
use crate::{Columns, Offset, TopicId, TopicPartition};

/// A recent block.
#[derive(Clone)]
pub(crate) struct TailBlock {
    pub(crate) first: Offset,
    pub(crate) append_time: i64,
    pub(crate) columns: Arc<Columns>,
    /// What is left of a block of which compaction took events.
    pub(crate) left: Option<Left>,
}

/// The offsets of a block of which events are gone.
#[derive(Clone)]
pub(crate) struct Left {
    /// Offsets that the block had at first.
    pub(crate) count: u32,
    /// For each event its offset minus the block's first, in ascending order.
    pub(crate) offsets: Arc<[u32]>,
}

impl TailBlock {
    pub(crate) fn end(&self) -> Offset {
        let count = self.left.as_ref().map_or(self.columns.len() as u64, |left| left.count.into());
        self.first.plus(count)
    }
}

#[derive(Default)]
pub(crate) struct Tails {
    partitions: DashMap<TopicPartition, Tail>,
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Tail {
    /// What is before this was released, even if a block of it is still in memory.
    released: Offset,
    /// The offset that the next event gets.
    next: Offset,
    /// The high watermark: everything before it is committed.
    end: Offset,
    append_time_ms: i64,
    /// Recent blocks without a gap, the last ends at `end`.
    blocks: VecDeque<TailBlock>,
    /// Whether the end moved since it was last written to the tables.
    is_dirty: bool,
}

/// Cached blocks in the order in which they came: each entry is the oldest block of its partition then.
#[derive(Default)]
struct Cached {
    order: VecDeque<(TopicPartition, usize)>,
    bytes: usize,
}

impl Tails {
    /// Takes note of an end that was found in the tables or in a frame that is replayed.
    pub(crate) fn recover(&self, source: TopicPartition, row: EndRow, is_dirty: bool) {
        let mut tail = self.partitions.entry(source).or_default();
        tail.end = tail.end.max(row.end);
        tail.next = tail.end;
        tail.append_time_ms = tail.append_time_ms.max(row.append_time_ms);
        tail.is_dirty |= is_dirty;
    }

    /// Gives `count` events their place: the offset of the first.
    pub(crate) fn place(&self, source: TopicPartition, count: usize) -> Offset {
        let mut tail = self.partitions.entry(source).or_default();
        let first = tail.next;
        tail.next = first.plus(count as u64);
        first
    }

    /// Takes back all places given since the last commit.
    pub(crate) fn unplace(&self, source: TopicPartition) {
        if let Some(mut tail) = self.partitions.get_mut(&source) {
            tail.next = tail.end;
        }
    }

    /// Lets a committed block be read.
    pub(crate) fn publish(&self, placed: &PlacedBlock) {
        let source = placed.block.target;
        let columns = Arc::clone(&placed.block.columns);
        let bytes = columns.byte_len();
        let block = TailBlock { first: placed.first, append_time: placed.append_time, columns, left: None };
        {
            let mut tail = self.partitions.entry(source).or_default();
            assert_eq!(tail.end, block.first, "{source} is appended to without a gap");
            tail.end = block.end();
            tail.append_time_ms = tail.append_time_ms.max(block.append_time);
            tail.is_dirty = true;
            tail.blocks.push_back(block);
        }
        self.make_room(source, bytes);
    }

    fn make_room(&self, source: TopicPartition, bytes: usize) {
        let mut cached = self.cached.lock();
        cached.order.push_back((source, bytes));
        cached.bytes += bytes;
        while cached.bytes > TAILS_BYTES_MAX {
            let Some((oldest, bytes)) = cached.order.pop_front() else { break };
            cached.bytes -= bytes;
            if let Some(mut tail) = self.partitions.get_mut(&oldest) {
                tail.blocks.pop_front();
            }
        }
    }

    /// The high watermark; 0 for a partition that never had an event.
    pub(crate) fn end(&self, source: TopicPartition) -> Offset {
        self.partitions.get(&source).map_or(Offset(0), |tail| tail.end)
    }

    /// Takes note that everything before `start` is given up.
    pub(crate) fn release(&self, source: TopicPartition, start: Offset) {
        if let Some(mut tail) = self.partitions.get_mut(&source) {
            tail.released = tail.released.max(start);
        }
    }

    /// The offset before which everything was released, as far as it was since the opening.
    pub(crate) fn released(&self, source: TopicPartition) -> Offset {
        self.partitions.get(&source).map_or(Offset(0), |tail| tail.released)
    }

    /// The high watermark, and the recent blocks from the one that holds `from` on, up to about `bytes`; none
    /// if `from` is not among them.
    pub(crate) fn recent(
        &self,
        source: TopicPartition,
        from: Offset,
        bytes: usize,
        into: &mut Vec<TailBlock>,
    ) -> Offset {
        let Some(tail) = self.partitions.get(&source) else { return Offset(0) };
        if tail.blocks.front().is_some_and(|block| block.first <= from) {
            let start = tail.blocks.partition_point(|block| block.end() <= from);
            let mut taken = 0;
            for block in tail.blocks.range(start..) {
                if taken >= bytes {
                    break;
                }
                taken += block.columns.byte_len();
                into.push(block.clone());
            }
        }
        tail.end
    }

    /// Hands on the ends that moved since the last call.
    pub(crate) fn take_dirty(&self, mut row: impl FnMut(TopicPartition, EndRow)) {
        for mut tail in self.partitions.iter_mut() {
            if std::mem::take(&mut tail.is_dirty) {
                row(*tail.key(), EndRow { end: tail.end, append_time_ms: tail.append_time_ms });
            }
        }
    }

    /// The newest append time of all partitions.
    pub(crate) fn newest_ms(&self) -> Option<i64> {
        self.partitions.iter().map(|tail| tail.append_time_ms).max()
    }

    /// Forgets a topic.
    pub(crate) fn remove(&self, topic: TopicId) {
        self.partitions.retain(|source, _| source.topic != topic);
        let mut cached = self.cached.lock();
        cached.order.retain(|(source, _)| source.topic != topic);
        cached.bytes = cached.order.iter().map(|(_, bytes)| bytes).sum();
    }

    /// Bytes of cached blocks.
    pub(crate) fn cached_bytes(&self) -> usize {
        self.cached.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::NewBlock;
    use crate::{Event, Partition};

    fn append(tails: &Tails, partition: u32, bytes: usize) {
        let target = TopicPartition { topic: TopicId(1), partition: Partition(partition) };
        let mut columns = Columns::default();
        columns.push(Event { time: 0, key: None, headers: &[], value: Some(&vec![0; bytes]) });
        let block = NewBlock { target, columns: Arc::new(columns), cause: None, body_crc: 0 };
        let first = tails.place(target, 1);
        tails.publish(&PlacedBlock { block, first, append_time: 5, compressed: None });
    }

    #[test]
    fn when_full_the_oldest_blocks_go_and_the_ends_stay() {
        let tails = Tails::default();
        let source = |partition| TopicPartition { topic: TopicId(1), partition: Partition(partition) };
        append(&tails, 1, 10);
        for _ in 0..=TAILS_BYTES_MAX >> 20 {
            append(&tails, 0, 1 << 20);
        }
        assert!(tails.cached_bytes() <= TAILS_BYTES_MAX);
        let recent = |partition, from| {
            let mut blocks = Vec::new();
            tails.recent(source(partition), Offset(from), usize::MAX, &mut blocks);
            blocks.len()
        };
        assert_eq!((tails.end(source(1)), recent(1, 0)), (Offset(1), 0));
        assert_eq!((recent(0, 0), recent(0, 100)), (0, (TAILS_BYTES_MAX >> 20) + 1 - 100));
        tails.remove(TopicId(1));
        assert_eq!((tails.cached_bytes(), tails.end(source(1))), (0, Offset(0)));
    }

    #[test]
    fn a_place_taken_back_is_given_again() {
        let tails = Tails::default();
        append(&tails, 0, 1);
        let source = TopicPartition { topic: TopicId(1), partition: Partition(0) };
        assert_eq!((tails.place(source, 3), tails.place(source, 2)), (Offset(1), Offset(4)));
        tails.unplace(source);
        assert_eq!((tails.place(source, 1), tails.end(source)), (Offset(1), Offset(1)));
    }
}
