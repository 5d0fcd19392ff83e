//! The index of the segment that is being written, and the search that all indexes share.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::Seek;
use super::format::{Entry, Row, footer_len};
use crate::TopicPartition;
use crate::block::BlockHeader;

/// Where the blocks of one segment lie, by partition.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: HashMap<TopicPartition, usize, BuildHasherDefault<IdHasher>>,
    runs: Vec<Run>,
    blocks: u64,
}

#[derive(Debug)]
struct Run {
    source: TopicPartition,
    /// Bytes of its blocks.
    bytes: u64,
    entries: Vec<Entry>,
}

/// Mixes the two numbers of a partition (Fibonacci hashing, by Knuth). They are the store's own, so nobody can
/// choose them to collide, and a frame may bring thousands.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(29) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

impl Entry {
    /// The entry of a block at `byte`.
    pub(super) fn of(header: &BlockHeader, byte: u32) -> Self {
        Self {
            first: header.first,
            append_time: header.append_time,
            byte,
            byte_len: u32::try_from(header.byte_len()).expect("blocks are bounded far below 4 GiB"),
            count: header.count,
            has_cause: header.cause.is_some(),
            is_packed: header.is_packed,
            is_compressed: header.is_compressed,
        }
    }

    /// Whether this is where `seek` leads, or lies behind it. Entries of a partition answer no, …, no, yes, …
    fn is_at(&self, seek: Seek) -> bool {
        match seek {
            Seek::Offset(offset) => self.end() > offset,
            Seek::Time(time) => self.append_time >= time,
        }
    }
}

impl Row {
    /// Whether the row holds what `seek` asks for.
    pub(super) fn reaches(&self, seek: Seek) -> bool {
        match seek {
            Seek::Offset(offset) => self.end > offset,
            Seek::Time(time) => self.newest >= time,
        }
    }
}

impl Index {
    /// Notes a block at `byte`; blocks of a partition come in the order of their offsets.
    pub(super) fn insert(&mut self, header: &BlockHeader, byte: u32) {
        let slot = *self.slots.entry(header.target).or_insert_with(|| {
            self.runs.push(Run { source: header.target, bytes: 0, entries: Vec::new() });
            self.runs.len() - 1
        });
        self.blocks += 1;
        self.runs[slot].bytes += header.byte_len();
        self.runs[slot].entries.push(Entry::of(header, byte));
    }

    /// Bytes that the footer will take at most, after `blocks` more.
    pub(super) fn footer_len_with(&self, blocks: u64) -> u64 {
        footer_len(self.runs.len() as u64 + blocks, self.blocks + blocks)
    }

    /// The entries of a partition; empty if it has no block here.
    pub(super) fn entries(&self, source: TopicPartition) -> &[Entry] {
        self.slots.get(&source).map_or(&[], |&slot| &self.runs[slot].entries)
    }

    /// Adds the bytes of each partition's blocks to `bytes`.
    pub(super) fn add_bytes(&self, bytes: &mut HashMap<TopicPartition, u64>) {
        self.runs.iter().for_each(|run| *bytes.entry(run.source).or_default() += run.bytes);
    }

    /// The rows and the entries of the footer, in the order of partitions; the entries' checksums are not
    /// filled in.
    pub(super) fn sorted(&self) -> (Vec<Row>, Vec<Entry>) {
        let mut order: Vec<&Run> = self.runs.iter().collect();
        order.sort_unstable_by_key(|run| run.source);
        let mut entries = Vec::with_capacity(usize::try_from(self.blocks).unwrap_or(0));
        let mut rows = Vec::with_capacity(order.len());
        let bounded = |len: usize| u32::try_from(len).expect("a segment holds far fewer than 2^32 blocks");
        for run in order {
            let (Some(first), Some(last)) = (run.entries.first(), run.entries.last()) else { continue };
            rows.push(Row {
                source: run.source,
                blocks: bounded(run.entries.len()),
                first_entry: bounded(entries.len()),
                entries_crc: 0,
                first: first.first,
                end: last.end(),
                newest: last.append_time,
                bytes: run.bytes,
            });
            entries.extend_from_slice(&run.entries);
        }
        (rows, entries)
    }
}

/// The first of a partition's entries that `seek` asks for; `near` is tried first, and the one after it.
pub(super) fn position(entries: &[Entry], seek: Seek, near: usize) -> Option<(usize, Entry)> {
    let is_first = |index: usize| {
        entries.get(index).is_some_and(|entry| entry.is_at(seek))
            && index.checked_sub(1).is_none_or(|before| !entries[before].is_at(seek))
    };
    let index = match near {
        near if is_first(near) => near,
        near if is_first(near.saturating_add(1)) => near + 1,
        _ => entries.partition_point(|entry| !entry.is_at(seek)),
    };
    entries.get(index).map(|&entry| (index, entry))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Offset, Partition, TopicId};

    fn header(partition: u32, first: u64, count: u32, append_time: i64) -> BlockHeader {
        BlockHeader {
            target: TopicPartition { topic: TopicId(1), partition: Partition(partition) },
            first: Offset(first),
            append_time,
            count,
            data_bytes: 0,
            is_packed: false,
            is_compressed: false,
            cause: None,
            body_crc: 0,
        }
    }

    proptest! {
        #[test]
        fn the_search_agrees_with_a_walk_whatever_the_hint(
            steps in proptest::collection::vec((0..3_u64, 1..4_u32, 0..3_i64), 0..20),
            asked in 0..80_u64,
            near in 0..25_usize,
        ) {
            let mut index = Index::default();
            let (mut next, mut time) = (0, 0);
            for &(gap, count, passed) in &steps {
                time += passed;
                index.insert(&header(0, next + gap, count, time), 0);
                next += gap + u64::from(count);
            }
            let entries = index.entries(header(0, 0, 1, 0).target);
            for seek in [Seek::Offset(Offset(asked)), Seek::Time(asked.cast_signed())] {
                let walked = entries.iter().enumerate().find(|(_, entry)| entry.is_at(seek));
                let found = position(entries, seek, near);
                prop_assert_eq!(found, walked.map(|(index, entry)| (index, *entry)));
            }
        }
    }

    #[test]
    fn rows_are_sorted_and_cover_all_entries() {
        let mut index = Index::default();
        for (partition, first) in [(5, 0), (2, 7), (5, 3), (9, 1)] {
            index.insert(&header(partition, first, 3, 0), 8);
        }
        let (rows, entries) = index.sorted();
        let found: Vec<_> = rows
            .iter()
            .map(|row| (row.source.partition.0, row.first_entry, row.blocks, row.first.0, row.end.0))
            .collect();
        assert_eq!(found, [(2, 0, 1, 7, 10), (5, 1, 2, 0, 6), (9, 3, 1, 1, 4)]);
        assert_eq!(entries.len(), 4);
        assert_eq!(index.footer_len_with(0), footer_len(3, 4));
    }
}
