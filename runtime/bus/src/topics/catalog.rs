//! The topics and handlers that live, in memory, for every thread; follows the committed rows. Knows no
//! events.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use super::{Compression, Policy};
use crate::log::Topic;
use crate::tables::{HandlerRow, Living, NextId, TopicRow};
use crate::{HandlerId, TopicId};

/// Ids begin at 1: 0 is nobody.
const FIRST_ID: u64 = 1;

pub(crate) struct Catalog {
    topics: DashMap<TopicId, TopicRow>,
    topic_ids: DashMap<Arc<str>, TopicId>,
    handlers: DashMap<HandlerId, Arc<str>>,
    handler_ids: DashMap<Arc<str>, HandlerId>,
    next_topic: AtomicU64,
    next_handler: AtomicU64,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            topics: DashMap::new(),
            topic_ids: DashMap::new(),
            handlers: DashMap::new(),
            handler_ids: DashMap::new(),
            next_topic: AtomicU64::new(FIRST_ID),
            next_handler: AtomicU64::new(FIRST_ID),
        }
    }
}

impl Catalog {
    pub(crate) fn topic(&self, id: TopicId) -> Option<Topic> {
        let row = self.topics.get(&id)?;
        Some(Topic { id, name: Arc::clone(&row.name), partitions: row.partitions })
    }

    pub(crate) fn topic_named(&self, name: &str) -> Option<Topic> {
        let id = *self.topic_ids.get(name)?;
        self.topic(id)
    }

    /// What is known of a living topic.
    pub(crate) fn topic_row(&self, id: TopicId) -> Option<TopicRow> {
        self.topics.get(&id).map(|row| row.clone())
    }

    /// What becomes of a topic's events in time; `None` of a dead one.
    pub(crate) fn policy(&self, id: TopicId) -> Option<Policy> {
        Some(self.topics.get(&id)?.settings.policy)
    }

    /// How the blocks of a topic are stored; as they are if it is dead.
    pub(crate) fn compression(&self, id: TopicId) -> Compression {
        self.topics.get(&id).map_or(Compression::None, |row| row.settings.compression)
    }

    /// Number of partitions of a living topic.
    pub(crate) fn partitions(&self, id: TopicId) -> Option<u32> {
        Some(self.topics.get(&id)?.partitions)
    }

    /// All living topics, by name.
    pub(crate) fn topics(&self) -> Vec<Topic> {
        let mut topics: Vec<Topic> = self
            .topics
            .iter()
            .map(|row| Topic { id: *row.key(), name: Arc::clone(&row.name), partitions: row.partitions })
            .collect();
        topics.sort_unstable_by(|one, two| one.name.cmp(&two.name));
        topics
    }

    pub(crate) fn handler_named(&self, name: &str) -> Option<HandlerId> {
        Some(*self.handler_ids.get(name)?)
    }

    pub(crate) fn handler_lives(&self, id: HandlerId) -> bool {
        self.handlers.contains_key(&id)
    }

    /// All living handlers, by name.
    pub(crate) fn handlers(&self) -> Vec<(Arc<str>, HandlerId)> {
        let mut handlers: Vec<_> =
            self.handler_ids.iter().map(|entry| (Arc::clone(entry.key()), *entry.value())).collect();
        handlers.sort_unstable();
        handlers
    }

    /// The next id of a kind.
    pub(crate) fn next_id(&self, kind: NextId) -> u64 {
        self.counter(kind).load(Ordering::Acquire)
    }

    pub(crate) fn set_next_id(&self, kind: NextId, next: u64) {
        self.counter(kind).store(next, Ordering::Release);
    }

    fn counter(&self, kind: NextId) -> &AtomicU64 {
        match kind {
            NextId::Topic => &self.next_topic,
            NextId::Handler => &self.next_handler,
        }
    }

    /// Follows the row of a topic.
    pub(crate) fn set_topic(&self, id: TopicId, row: Option<TopicRow>) {
        if let Some(row) = row {
            let name = Arc::clone(&row.name);
            self.topics.insert(id, row);
            self.topic_ids.insert(name, id);
        } else if let Some((_, row)) = self.topics.remove(&id) {
            self.topic_ids.remove_if(&row.name, |_, of| *of == id);
        }
    }

    /// Follows the row of a handler.
    pub(crate) fn set_handler(&self, id: HandlerId, row: Option<HandlerRow>) {
        if let Some(row) = row {
            self.handlers.insert(id, Arc::clone(&row.name));
            self.handler_ids.insert(row.name, id);
        } else if let Some((_, name)) = self.handlers.remove(&id) {
            self.handler_ids.remove_if(&name, |_, of| *of == id);
        }
    }

    /// What lives now, for whoever clears away the dead.
    pub(crate) fn living(&self, now_ms: i64) -> Living {
        Living {
            topics: self.topics.iter().map(|row| *row.key()).collect::<HashSet<_>>(),
            handlers: self.handlers.iter().map(|row| *row.key()).collect::<HashSet<_>>(),
            next_topic: self.next_id(NextId::Topic),
            next_handler: self.next_id(NextId::Handler),
            now_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::TopicSettings;

    fn row(name: &str) -> TopicRow {
        TopicRow { name: name.into(), partitions: 4, created_ms: 0, settings: TopicSettings::default() }
    }

    #[test]
    fn a_name_points_to_its_newest_life() {
        let catalog = Catalog::default();
        catalog.set_topic(TopicId(1), Some(row("a")));
        catalog.set_topic(TopicId(1), None);
        assert_eq!(catalog.topic_named("a"), None);
        catalog.set_topic(TopicId(2), Some(row("a")));
        assert_eq!(catalog.topic_named("a").map(|topic| topic.id), Some(TopicId(2)));
        assert_eq!(catalog.topic(TopicId(1)), None);
    }

    #[test]
    fn deleting_before_creating_again_in_any_order_of_rows_keeps_the_new_life() {
        let catalog = Catalog::default();
        catalog.set_handler(HandlerId(1), Some(HandlerRow { name: "h".into() }));
        catalog.set_handler(HandlerId(2), Some(HandlerRow { name: "h".into() }));
        catalog.set_handler(HandlerId(1), None);
        assert_eq!(catalog.handler_named("h"), Some(HandlerId(2)));
        assert!(!catalog.handler_lives(HandlerId(1)));
    }
}
