//! A run of events of one partition as a reader gets it: joined from blocks, cut where the reader wants.

use super::Columns;
use crate::{Offset, TopicPartition};

/// Events of one partition with their places, as a driver reads them and a guest gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The partition that they come from.
    pub source: TopicPartition,
    /// The offset of the first event.
    pub base_offset: Offset,
    /// Each event's offset minus `base_offset`; empty when the offsets are consecutive.
    pub offset_deltas: Vec<u32>,
    /// The append time of the first event, in milliseconds since the Unix epoch.
    pub append_time: i64,
    /// Each event's append time minus `append_time`; empty when all are the same.
    pub append_deltas: Vec<u32>,
    /// The events.
    pub columns: Columns,
}

impl Batch {
    /// An empty batch of `source`.
    pub fn new(source: TopicPartition) -> Self {
        Self {
            source,
            base_offset: Offset(0),
            offset_deltas: Vec::new(),
            append_time: 0,
            append_deltas: Vec::new(),
            columns: Columns::default(),
        }
    }

    /// Empties the batch, keeps its memory, and makes it one of `source`.
    pub fn reset(&mut self, source: TopicPartition) {
        self.source = source;
        self.base_offset = Offset(0);
        self.offset_deltas.clear();
        self.append_time = 0;
        self.append_deltas.clear();
        self.columns.clear();
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The offset of event `index`.
    pub fn offset(&self, index: usize) -> Offset {
        let delta = self.offset_deltas.get(index).map_or(index as u64, |&delta| delta.into());
        self.base_offset.plus(delta)
    }

    /// The append time of event `index`, in milliseconds since the Unix epoch.
    pub fn append_time(&self, index: usize) -> i64 {
        self.append_time + self.append_deltas.get(index).map_or(0, |&delta| i64::from(delta))
    }

    /// Appends a run of events of a block: `events` of `columns`, whose bytes are `data` of its data. The
    /// first of them has the offset `first`, the others follow without a gap, all appended at `append_time`.
    ///
    /// Returns false, and appends nothing, if the run lies too far from the batch's first event for the
    /// deltas (2^32 offsets or 49 days): the batch ends before it.
    pub fn extend_from(
        &mut self,
        columns: &Columns,
        events: std::ops::Range<usize>,
        data: std::ops::Range<usize>,
        place: (Offset, i64),
    ) -> bool {
        let (first, append_time) = place;
        let (before, count) = (self.len(), events.len());
        if before == 0 {
            (self.base_offset, self.append_time) = place;
        }
        let Some(gap) = first.0.checked_sub(self.base_offset.0) else { return false };
        let Some(passed) = append_time.checked_sub(self.append_time) else { return false };
        let (Ok(first_delta), Ok(append_delta)) = (u32::try_from(gap), u32::try_from(passed)) else {
            return false;
        };
        if u32::try_from(gap + count as u64).is_err() {
            return false;
        }
        if gap != before as u64 || !self.offset_deltas.is_empty() {
            fill(&mut self.offset_deltas, before, |index| index);
            self.offset_deltas.extend((first_delta..).take(count));
        }
        if append_delta != 0 || !self.append_deltas.is_empty() {
            fill(&mut self.append_deltas, before, |_| 0);
            self.append_deltas.extend(std::iter::repeat_n(append_delta, count));
        }
        self.columns.extend_from(columns, events, data);
        true
    }

    /// The events `range` as a batch of their own, whose columns are appended to `into` (emptied first).
    pub fn cut_into(&self, range: std::ops::Range<usize>, into: &mut Batch) {
        into.reset(self.source);
        if range.is_empty() {
            return;
        }
        let data_start = self.columns.data_lens(0..range.start);
        let data_end = data_start + self.columns.data_lens(range.clone());
        (into.base_offset, into.append_time) = (self.offset(range.start), self.append_time(range.start));
        if !self.offset_deltas.is_empty() {
            let base = self.offset_deltas[range.start];
            into.offset_deltas.extend(self.offset_deltas[range.clone()].iter().map(|delta| delta - base));
        }
        if !self.append_deltas.is_empty() {
            let base = self.append_deltas[range.start];
            into.append_deltas.extend(self.append_deltas[range.clone()].iter().map(|delta| delta - base));
        }
        into.columns.extend_from(&self.columns, range, data_start..data_end);
    }
}

/// Writes out the deltas that were left away so far, for the first `count` events.
fn fill(deltas: &mut Vec<u32>, count: usize, delta: impl Fn(u32) -> u32) {
    if deltas.is_empty() {
        deltas.extend((0..).take(count).map(delta));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Event, Partition, TopicId};

    const SOURCE: TopicPartition = TopicPartition { topic: TopicId(1), partition: Partition(0) };

    /// Runs of events, each with the gap before it and the time that passed since the last.
    fn joined(runs: &[(u64, u32, usize)]) -> (Batch, Vec<(Offset, i64)>) {
        let mut batch = Batch::new(SOURCE);
        let mut places = Vec::new();
        let (mut next, mut time) = (Offset(100), 1_000);
        for &(gap, passed, count) in runs {
            let mut columns = Columns::default();
            next = next.plus(gap);
            time += i64::from(passed);
            for index in 0..count {
                let offset = next.plus(index as u64);
                columns.push(Event {
                    time: 7,
                    key: None,
                    headers: &[],
                    value: Some(&offset.0.to_le_bytes()),
                });
                places.push((offset, time));
            }
            assert!(batch.extend_from(&columns, 0..count, 0..columns.data.len(), (next, time)));
            next = next.plus(count as u64);
        }
        (batch, places)
    }

    fn places_of(batch: &Batch) -> Vec<(Offset, i64)> {
        (0..batch.len()).map(|index| (batch.offset(index), batch.append_time(index))).collect()
    }

    proptest! {
        #[test]
        fn joined_runs_keep_every_offset_and_append_time(
            runs in proptest::collection::vec((0..3_u64, 0..3_u32, 1..5_usize), 1..6),
        ) {
            let (batch, places) = joined(&runs);
            prop_assert_eq!(places_of(&batch), places);
        }

        #[test]
        fn a_cut_keeps_places_and_values(
            runs in proptest::collection::vec((0..3_u64, 0..3_u32, 1..5_usize), 1..6),
            ends in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let (batch, places) = joined(&runs);
            let (one, two) = (ends.0.index(batch.len() + 1), ends.1.index(batch.len() + 1));
            let range = one.min(two)..one.max(two);
            let mut part = Batch::new(SOURCE);
            batch.cut_into(range.clone(), &mut part);
            prop_assert_eq!(places_of(&part), &places[range]);
            prop_assert_eq!(part.columns.check(), Ok(()));
            for (index, event) in part.columns.iter().enumerate() {
                prop_assert_eq!(event.value, Some(&part.offset(index).0.to_le_bytes()[..]));
            }
        }
    }

    #[test]
    fn consecutive_runs_of_one_time_need_no_deltas() {
        let (batch, _) = joined(&[(0, 0, 3), (0, 0, 2)]);
        assert!(batch.offset_deltas.is_empty() && batch.append_deltas.is_empty());
    }

    #[test]
    fn a_run_beyond_the_reach_of_deltas_is_left_out() {
        let (mut batch, _) = joined(&[(0, 0, 1)]);
        let columns = batch.columns.clone();
        assert!(!batch.extend_from(&columns, 0..1, 0..8, (Offset(100 + (1 << 32)), 1_000)));
        assert_eq!(batch.len(), 1);
    }
}
