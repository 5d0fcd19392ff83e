//! Settling: sealed segments are rewritten without the partitions whose events may go, so that one partition that is
//! held does not hold the others, and what is left of neighbours is joined. Decides what may go; the journal rewrites.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use parking_lot::Mutex;

use super::compact::{Compaction, Gone};
use super::join::runs;
use super::{Shared, Store};
use crate::block::Block;
use crate::commit::{Committer, Mark, Stopped};
use crate::journal::{Choice, Fate, PartitionEnd, SegmentNumbers, SegmentSummary, SettleError};
use crate::limits::SEGMENT_BYTES_MAX;
use crate::{Event, HandlerId, Offset, Policy, TopicPartition};

/// Why settling ended early. What was settled before is.
#[derive(Debug, thiserror::Error)]
pub enum StoreSettleError {
    /// Segments could not be rewritten; they stay as they were.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// The store stopped.
    #[error("the store stopped: {0}")]
    Stopped(std::sync::Arc<str>),
}

impl From<Stopped> for StoreSettleError {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped.0)
    }
}

/// What may go, as of one look at the store.
struct May {
    /// The oldest append time that stays; `None` if age lets nothing go.
    cutoff_ms: Option<i64>,
    positions: HashMap<TopicPartition, Vec<(HandlerId, Offset)>>,
    /// Partitions of whom an older segment still has events that may go: theirs are not taken out of a newer one, so
    /// that what is kept has no hole.
    stay: HashSet<TopicPartition>,
    /// Bytes that may go of each partition in the segments that were not looked at yet: they wait for what stands before.
    waiting: HashMap<TopicPartition, u64>,
    compaction: Compaction,
}

/// What becomes of segments that are rewritten together.
#[derive(Default)]
struct Fates<'a> {
    /// Partitions that go as a whole from the segment whose first number this is.
    goes: HashSet<(u64, TopicPartition)>,
    ends: Vec<(TopicPartition, Offset)>,
    /// What goes of compacted ones.
    compacted: Vec<(&'a PartitionEnd, Gone)>,
    /// Partitions that may go, if the segments are rewritten.
    can_go: Vec<TopicPartition>,
    /// Bytes that go.
    bytes: u64,
}

struct Plan<'a> {
    goes: HashSet<(u64, TopicPartition)>,
    compaction: &'a Compaction,
}

/// What a look at all segments came to.
#[derive(Default)]
pub(super) struct Looked {
    /// Copies that took the place of their sources.
    pub(super) settled: u64,
    /// Whether it ended early, and there may be more to do.
    pub(super) has_more: bool,
}

impl Choice for Plan<'_> {
    fn fate(&self, segment: SegmentNumbers, source: TopicPartition) -> Fate {
        if self.goes.contains(&(segment.first, source)) {
            Fate::Go
        } else if self.compaction.compacts(source) {
            Fate::Compact
        } else {
            Fate::Stay
        }
    }

    fn keeps(&self, block: &Block, index: usize, event: &Event<'_>) -> bool {
        self.compaction.keeps(block, index, event)
    }
}

impl Shared {
    /// Rewrites the segments of which half or more may go, and joins small neighbours.
    pub(super) fn settle(&self, committer: &Mutex<Committer>) -> Result<Looked, StoreSettleError> {
        let persisted = self.view.tables.persisted();
        let mut segments = Vec::new();
        self.reader.each_sealed(&mut |segment| {
            let is_in_tables = segment.last_frame.0 <= persisted;
            if is_in_tables {
                segments.push(segment.clone());
            }
            is_in_tables
        });
        let mut may = self.may(&segments)?;
        self.let_wait(&segments, &mut may);
        let mut left = self.reader.segment_bytes();
        let (mut looked, mut copied) = (Looked::default(), 0);
        for together in self.together(committer, &segments) {
            let together = &segments[together];
            let mut fates = Fates::default();
            for segment in together {
                let is_over = self.is_over(left);
                left = left.saturating_sub(segment.bytes);
                self.add_fates((segment, is_over), &mut may, &mut fates)?;
            }
            if self.settle_together(committer, together, (fates, &mut may))? {
                looked.settled += 1;
                copied += together.iter().map(|segment| segment.bytes).sum::<u64>();
            }
            looked.has_more = copied >= self.options.checkpoints.settle_bytes;
            if looked.has_more {
                break;
            }
        }
        self.looked(may.compaction);
        Ok(looked)
    }

    /// All segments, each alone or with the neighbours that it is worth being joined with, in their order.
    fn together(&self, committer: &Mutex<Committer>, segments: &[SegmentSummary]) -> Vec<Range<usize>> {
        let bytes_max = self.options.journal.segment_bytes.min(SEGMENT_BYTES_MAX);
        // A copy lies beside its sources for a moment, and must not stop anybody.
        let has_room =
            committer.lock().room().is_ok_and(|room| Mark::at(room.saturating_sub(1)) == Mark::Free);
        let size = |segment: &SegmentSummary| {
            let is_small = has_room && segment.bytes < bytes_max;
            (is_small && self.reader.is_settled(segment.numbers.first)).then_some(segment.bytes)
        };
        let joined = runs(&segments.iter().map(size).collect::<Vec<_>>(), bytes_max);
        let (mut all, mut next) = (Vec::new(), 0);
        for run in joined {
            all.extend((next..run.start).map(|alone| alone..alone + 1));
            next = run.end;
            all.push(run);
        }
        all.extend((next..segments.len()).map(|alone| alone..alone + 1));
        all
    }

    fn may(&self, segments: &[SegmentSummary]) -> Result<May, StoreSettleError> {
        let now_ms = self.clock.now_ms(&self.notices);
        let age = self.options.retention.age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let cutoff_ms = age.map(|age_ms| now_ms.saturating_sub(age_ms));
        let compaction = self.look_at_keys(segments, now_ms).map_err(SettleError::from)?;
        Ok(May {
            cutoff_ms,
            positions: self.view.groups.positions(),
            stay: HashSet::new(),
            waiting: HashMap::new(),
            compaction,
        })
    }

    /// Whether so many bytes are more than are to be kept.
    fn is_over(&self, bytes: u64) -> bool {
        self.options.retention.bytes.is_some_and(|bytes_max| bytes > bytes_max)
    }

    /// Counts what may go, wherever it is.
    fn let_wait(&self, segments: &[SegmentSummary], may: &mut May) {
        let mut left = self.reader.segment_bytes();
        let mut waiting: HashMap<TopicPartition, u64> = HashMap::new();
        for segment in segments {
            let is_over = self.is_over(left);
            left = left.saturating_sub(segment.bytes);
            for part in segment.partitions.iter().filter(|part| self.may_go(part, may, is_over)) {
                *waiting.entry(part.source).or_default() += part.bytes;
            }
        }
        may.waiting = waiting;
    }

    /// Whether a partition's events in a segment may go: its topic is dead, or they are old or too many, and read.
    fn may_go(&self, part: &PartitionEnd, may: &May, is_over: bool) -> bool {
        match self.view.catalog.policy(part.source.topic) {
            None => return true,
            Some(Policy::Compact) => return false,
            Some(Policy::Delete) => {}
        }
        let is_old = may.cutoff_ms.is_some_and(|cutoff_ms| part.newest < cutoff_ms);
        let handlers = may.positions.get(&part.source).map_or(&[][..], Vec::as_slice);
        (is_old || is_over) && handlers.iter().all(|&(_, next)| next >= part.end)
    }

    /// Adds what may go of a segment, if it is rewritten together with those before it in `fates`.
    fn add_fates<'a>(
        &self,
        (segment, is_over): (&'a SegmentSummary, bool),
        may: &mut May,
        fates: &mut Fates<'a>,
    ) -> Result<(), StoreSettleError> {
        let mut can_go: Vec<&PartitionEnd> =
            segment.partitions.iter().filter(|part| self.may_go(part, may, is_over)).collect();
        for part in &can_go {
            if let Some(waiting) = may.waiting.get_mut(&part.source) {
                *waiting = waiting.saturating_sub(part.bytes);
            }
        }
        let mut compacted = Vec::new();
        for part in &segment.partitions {
            if !may.compaction.compacts(part.source) {
                continue;
            }
            let gone = self.gone(segment.numbers.first, part.source, &mut may.compaction);
            let gone = gone.map_err(SettleError::from)?;
            if gone.left == 0 {
                can_go.push(part);
            }
            compacted.push((part, gone));
        }
        fates.can_go.extend(can_go.iter().map(|part| part.source));
        can_go.retain(|part| !may.stay.contains(&part.source));
        for part in &can_go {
            fates.goes.insert((segment.numbers.first, part.source));
            fates.ends.push((part.source, part.end));
            fates.bytes += part.bytes;
        }
        for (part, gone) in compacted {
            if !fates.goes.contains(&(segment.numbers.first, part.source)) {
                fates.bytes += gone.bytes;
            }
            // What a compacted partition keeps here must not have a hole before it.
            if gone.left > 0 {
                may.stay.insert(part.source);
            }
            fates.compacted.push((part, gone));
        }
        Ok(())
    }

    /// Rewrites segments if as much as half of what they hold goes, from them or from newer segments that wait for it,
    /// or if they are to be joined.
    fn settle_together(
        &self,
        committer: &Mutex<Committer>,
        segments: &[SegmentSummary],
        (fates, may): (Fates<'_>, &mut May),
    ) -> Result<bool, StoreSettleError> {
        let Fates { goes, ends, compacted, can_go, bytes } = fates;
        let held: u64 = segments.iter().flat_map(|segment| &segment.partitions).map(|part| part.bytes).sum();
        let sources: HashSet<TopicPartition> = goes.iter().map(|&(_, source)| source).collect();
        let behind: u64 = sources.iter().filter_map(|source| may.waiting.get(source)).sum();
        let is_worth_it = segments.len() > 1 || (bytes > 0 && (bytes + behind) * 2 >= held);
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Ok(false) };
        if !is_worth_it {
            may.stay.extend(can_go);
            for (part, gone) in compacted {
                may.compaction.stays(part.source, gone);
            }
            return Ok(false);
        }
        let plan = Plan { goes, compaction: &may.compaction };
        let numbers = first.numbers.first..=last.numbers.last;
        let Some(copy) = self.reader.settle(numbers, &plan)? else {
            // They were released.
            return Ok(false);
        };
        let is_settled = committer.lock().put(copy, &ends)?;
        for (part, gone) in &compacted {
            may.compaction.went(part.source, gone);
        }
        self.meter.segments_settled.add(is_settled.into());
        let joined = if is_settled { segments.len() as u64 - 1 } else { 0 };
        self.meter.segments_joined.add(joined);
        Ok(is_settled)
    }
}

impl Store {
    /// Rewrites sealed segments of which half or more may go, without what may, and joins small neighbours of those that
    /// were; returns how many copies it made, of a bounded number of bytes. Waits for the disk.
    pub fn settle(&self) -> Result<u64, StoreSettleError> {
        self.inner.shared.settle(&self.inner.committer).map(|looked| looked.settled)
    }
}
