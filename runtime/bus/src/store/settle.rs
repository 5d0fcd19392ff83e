//! Settling: sealed segments are rewritten without the partitions whose events may go, so that one partition that is
//! held does not hold the others. Decides what may go; the journal rewrites.

use std::collections::HashSet;

use parking_lot::Mutex;

use super::compact::Compaction;
use super::{Shared, Store};
use crate::block::Block;
use crate::commit::{Committer, Stopped};
use crate::journal::{Choice, Fate, PartitionEnd, SegmentSummary, SettleError};
use crate::{Event, HandlerId, Offset, Policy, TopicPartition};

/// Why settling ended early. What was settled before is.
#[derive(Debug, thiserror::Error)]
pub enum StoreSettleError {
    /// A segment could not be rewritten; it stays as it was.
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
    positions: std::collections::HashMap<TopicPartition, Vec<(HandlerId, Offset)>>,
    /// Partitions of whom an older segment still has events that may go: theirs are not taken out of a newer one, so
    /// that what is kept has no hole.
    stay: HashSet<TopicPartition>,
    compaction: Compaction,
}

/// What becomes of a segment.
struct Plan<'a> {
    /// Partitions that go as a whole.
    goes: HashSet<TopicPartition>,
    compaction: &'a Compaction,
}

impl Choice for Plan<'_> {
    fn fate(&self, source: TopicPartition) -> Fate {
        if self.goes.contains(&source) {
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
    /// Rewrites the segments of which half or more may go; returns how many.
    pub(super) fn settle(&self, committer: &Mutex<Committer>) -> Result<u64, StoreSettleError> {
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
        let mut left = self.reader.segment_bytes();
        let mut settled = 0;
        for segment in segments {
            let is_over = self.options.retention.bytes.is_some_and(|bytes_max| left > bytes_max);
            left = left.saturating_sub(segment.bytes);
            settled += u64::from(self.settle_one(committer, &segment, &mut may, is_over)?);
        }
        self.looked(may.compaction);
        Ok(settled)
    }

    fn may(&self, segments: &[SegmentSummary]) -> Result<May, StoreSettleError> {
        let now_ms = self.clock.now_ms(&self.notices);
        let age = self.options.retention.age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let cutoff_ms = age.map(|age_ms| now_ms.saturating_sub(age_ms));
        let compaction = self.look_at_keys(segments, now_ms).map_err(SettleError::from)?;
        Ok(May { cutoff_ms, positions: self.view.groups.positions(), stay: HashSet::new(), compaction })
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

    fn settle_one(
        &self,
        committer: &Mutex<Committer>,
        segment: &SegmentSummary,
        may: &mut May,
        is_over: bool,
    ) -> Result<bool, StoreSettleError> {
        let mut can_go: Vec<&PartitionEnd> =
            segment.partitions.iter().filter(|part| self.may_go(part, may, is_over)).collect();
        let mut compacted = Vec::new();
        for part in &segment.partitions {
            if !may.compaction.compacts(part.source) {
                continue;
            }
            let gone = self.gone(segment.number, part.source, &mut may.compaction);
            let gone = gone.map_err(SettleError::from)?;
            if gone.left == 0 {
                can_go.push(part);
            }
            compacted.push((part, gone));
        }
        let goes: Vec<&PartitionEnd> =
            can_go.iter().copied().filter(|part| !may.stay.contains(&part.source)).collect();
        let some = compacted.iter().filter(|(part, _)| !goes.contains(part));
        let bytes =
            goes.iter().map(|part| part.bytes).sum::<u64>() + some.map(|(_, gone)| gone.bytes).sum::<u64>();
        // What a compacted partition keeps here must not have a hole before it.
        may.stay.extend(compacted.iter().filter(|(_, gone)| gone.left > 0).map(|(part, _)| part.source));
        if bytes == 0 || bytes * 2 < segment.partitions.iter().map(|part| part.bytes).sum::<u64>() {
            may.stay.extend(can_go.iter().map(|part| part.source));
            for (part, gone) in compacted {
                may.compaction.stays(part.source, gone);
            }
            return Ok(false);
        }
        let ends: Vec<_> = goes.iter().map(|part| (part.source, part.end)).collect();
        let goes = goes.iter().map(|part| part.source).collect();
        let plan = Plan { goes, compaction: &may.compaction };
        let Some(copy) = self.reader.settle(segment.number, &plan)? else {
            // It was released.
            return Ok(false);
        };
        let is_settled = committer.lock().put(copy, &ends)?;
        for (part, gone) in &compacted {
            may.compaction.went(part.source, gone);
        }
        self.meter.segments_settled.add(is_settled.into());
        Ok(is_settled)
    }
}

impl Store {
    /// Rewrites sealed segments of which half or more may go, without what may; returns how many. Waits for the disk.
    pub fn settle(&self) -> Result<u64, StoreSettleError> {
        self.inner.shared.settle(&self.inner.committer)
    }
}
