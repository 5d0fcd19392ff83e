//! Retention: which segments may go. Whole ones only, the oldest first, none that is not in the tables, and
//! none that a group has still to read, unless told otherwise.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::{Hold, Shared, Store};
use crate::commit::Committer;
use crate::journal::{ReleaseError, SegmentSummary};
use crate::notice::Notice;
use crate::{HandlerId, Offset, Policy, TopicPartition};

type Positions = HashMap<TopicPartition, Vec<(HandlerId, Offset)>>;

impl Shared {
    /// Gives up the segments that may go; returns their number.
    pub(super) fn retain(&self, committer: &Mutex<Committer>) -> Result<u64, ReleaseError> {
        if self.holds_all() {
            return Ok(0);
        }
        let now_ms = self.clock.now_ms(&self.notices);
        let mut committer = committer.lock();
        let mut positions = None;
        let released = committer.release(&mut |segment, bytes| {
            let positions = positions.get_or_insert_with(|| self.view.groups.positions());
            self.may_drop(segment, (bytes, now_ms), positions)
        })?;
        self.meter.segments_released.add(released);
        Ok(released)
    }

    /// Whether nothing may go, for nobody knows what a group has still to read.
    pub(super) fn holds_all(&self) -> bool {
        self.options.retention.hold == Hold::Handlers && !self.view.unreadable.is_empty()
    }

    /// Whether a segment may go while the journal has `bytes`.
    fn may_drop(&self, segment: &SegmentSummary, (bytes, now_ms): (u64, i64), positions: &Positions) -> bool {
        let lives = |source: TopicPartition| self.view.catalog.partitions(source.topic).is_some();
        let living = || segment.partitions.iter().filter(|end| lives(end.source));
        // What is the newest of its key stays; settling takes the rest.
        if living().any(|end| self.view.catalog.policy(end.source.topic) == Some(Policy::Compact)) {
            return false;
        }
        let retention = &self.options.retention;
        let is_old = retention.age.zip(segment.newest).is_some_and(|(age, newest)| {
            now_ms.saturating_sub(newest) > i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
        });
        let is_over = retention.bytes.is_some_and(|bytes_max| bytes > bytes_max);
        if !(is_old || is_over || living().next().is_none()) {
            return false;
        }
        let waiting = living().flat_map(|end| {
            let handlers = positions.get(&end.source).map_or(&[][..], Vec::as_slice);
            handlers
                .iter()
                .filter(|(_, next)| *next < end.end)
                .map(|(handler, next)| (*handler, end.end.0 - end.first.0.max(next.0)))
        });
        match retention.hold {
            Hold::Handlers => waiting.into_iter().next().is_none(),
            Hold::None => {
                for (handler, events) in waiting {
                    self.meter.events_lost.add(events);
                    self.notices.push(Notice::Lost { handler, events });
                }
                true
            }
        }
    }
}

impl Store {
    /// Gives up the segments that retention lets go; returns their number.
    pub fn retain(&self) -> Result<u64, ReleaseError> {
        self.inner.shared.retain(&self.inner.committer)
    }
}
