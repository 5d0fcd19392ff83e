//! Which ids live: what tells a row of a deleted handler or topic from a row that counts. Deleting one is
//! a single delta; its rows are never read again, and go when they are next flushed or compacted.

use std::collections::HashSet;
use std::time::Duration;

use super::key::{Owner, TableId, topic_of};
use super::rows::{OnceRow, ProducerRow};
use crate::limits::{IDEMPOTENCY_AGE_MAX, PRODUCER_AGE_MAX};
use crate::{HandlerId, TopicId};

/// The ids that lived at some frame, and the time then.
#[derive(Clone, Debug, Default)]
pub struct Living {
    pub(crate) topics: HashSet<TopicId>,
    pub(crate) handlers: HashSet<HandlerId>,
    /// Ids from here on were not given out yet at that frame: nothing is known of them.
    pub(crate) next_topic: u64,
    pub(crate) next_handler: u64,
    pub(crate) now_ms: i64,
}

impl Living {
    /// Whether the row can go. A row that cannot be understood stays.
    pub(crate) fn is_dead(&self, key: &[u8], value: Option<&[u8]>) -> bool {
        let Some((owner, rest)) = Owner::split(key) else { return false };
        match owner.table {
            TableId::State | TableId::Broken => self.is_dead_handler(owner.driver.handler),
            TableId::Progress => {
                self.is_dead_handler(owner.driver.handler)
                    || topic_of(rest).is_some_and(|id| self.is_dead_topic(id))
            }
            TableId::Notes => topic_of(rest).is_some_and(|id| self.is_dead_handler(HandlerId(id.0))),
            TableId::Ends => topic_of(rest).is_some_and(|id| self.is_dead_topic(id)),
            TableId::Once => {
                value.and_then(OnceRow::decode).is_some_and(|row| is_expired(row.time_ms, self.now_ms))
            }
            TableId::Producers => {
                let row = value.and_then(ProducerRow::decode);
                row.is_some_and(|row| row.is_expired(self.now_ms))
            }
            TableId::Meta | TableId::Topics | TableId::Handlers | TableId::NextIds => false,
        }
    }

    fn is_dead_handler(&self, id: HandlerId) -> bool {
        id.0 < self.next_handler && !self.handlers.contains(&id)
    }

    fn is_dead_topic(&self, id: TopicId) -> bool {
        id.0 < self.next_topic && !self.topics.contains(&id)
    }
}

/// Whether an idempotency key of `time_ms` is forgotten at `now_ms`.
pub(crate) fn is_expired(time_ms: i64, now_ms: i64) -> bool {
    is_older(time_ms, now_ms, IDEMPOTENCY_AGE_MAX)
}

impl ProducerRow {
    /// Whether the producer is forgotten at `now_ms`.
    pub(crate) fn is_expired(&self, now_ms: i64) -> bool {
        is_older(self.time_ms, now_ms, PRODUCER_AGE_MAX)
    }
}

fn is_older(time_ms: i64, now_ms: i64, age_max: Duration) -> bool {
    now_ms.saturating_sub(time_ms) > i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::rows::EndRow;
    use super::*;
    use crate::{DriverKey, Lane, Offset, Partition};

    #[test]
    fn only_rows_of_ids_known_to_be_dead_can_go() {
        let living = Living {
            topics: HashSet::from([TopicId(2)]),
            handlers: HashSet::from([HandlerId(2)]),
            next_topic: 3,
            next_handler: 3,
            now_ms: 0,
        };
        let dead = |handler, topic: u64, table| {
            let driver = DriverKey { handler: HandlerId(handler), partition: Partition(0), lane: Lane(0) };
            let row = EndRow { end: Offset(0), append_time_ms: 0 }.encode();
            living.is_dead(&Owner { table, driver }.key(&topic.to_be_bytes()), Some(&row))
        };
        assert!(dead(1, 0, TableId::State) && !dead(2, 0, TableId::State) && !dead(3, 0, TableId::State));
        assert!(dead(2, 1, TableId::Progress) && !dead(2, 2, TableId::Progress));
        assert!(dead(0, 1, TableId::Ends) && !dead(0, 3, TableId::Ends));
        assert!(dead(0, 1, TableId::Notes) && !dead(0, 2, TableId::Notes));
        assert!(!dead(0, 1, TableId::Topics));
    }

    #[test]
    fn an_idempotency_key_goes_after_a_day() {
        let key = Owner::store(TableId::Once).key(b"key");
        let row = OnceRow { time_ms: 0, body: [0; 32], runs: vec![] }.encode();
        let at = |now_ms| Living { now_ms, ..Living::default() }.is_dead(&key, Some(&row));
        let day_ms = i64::try_from(IDEMPOTENCY_AGE_MAX.as_millis()).unwrap();
        assert!(!at(day_ms) && at(day_ms + 1));
    }
}
