//! Topics and the store's own report, as a server shows them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use super::{Background, Metrics, Store};
use crate::commit::{AdminDone, AdminOp};
use crate::journal::Recovery;
use crate::log::{Abort, AdminError, Log, PartitionRange, ReadError, Topic};
use crate::notice::Notice;
use crate::tables::TopicRow;
use crate::topics::TopicSettings;
use crate::{Partition, TopicId};

/// A topic and what can be read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDetails {
    /// The topic.
    pub topic: Topic,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// What it is set to.
    pub settings: TopicSettings,
    /// The readable range of each partition.
    pub ranges: Vec<PartitionRange>,
    /// Bytes that the blocks of each partition take in the journal, also those that cannot be read any more and
    /// whose segment is still kept.
    pub bytes: Vec<u64>,
}

/// What keeps the number of partitions of a topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readers {
    /// The names of handlers with state or `key` ordering that read the topic: keys would move to partitions
    /// whose state does not know them. With any of them the change is refused.
    Bound(Vec<String>),
    /// Nobody is asked: the operator wants it all the same.
    Forced,
}

impl Store {
    /// Creates a topic with these settings, or returns the one that lives under that name, as it is set. Waits for the
    /// disk.
    pub fn create_topic_with(
        &self,
        name: &str,
        partitions: Option<u32>,
        settings: TopicSettings,
    ) -> Result<Topic, AdminError> {
        match self.change(AdminOp::CreateTopic { name: name.to_owned(), partitions, settings })? {
            AdminDone::Topic(topic) => Ok(topic),
            _ => unreachable!("a creation gives a topic"),
        }
    }

    /// What a living topic is set to.
    pub fn topic_settings(&self, id: TopicId) -> Option<TopicSettings> {
        Some(self.inner.shared.view.catalog.topic_row(id)?.settings)
    }

    /// Sets a topic, for what is done from now on. Waits for the disk.
    pub fn set_topic(&self, name: &str, settings: TopicSettings) -> Result<(), AdminError> {
        self.change(AdminOp::SetTopic { name: name.to_owned(), settings }).map(|_| ())
    }

    /// Deletes a topic: its events cannot be read any more, and its name is free. Waits for the disk.
    pub fn delete_topic(&self, name: &str) -> Result<(), AdminError> {
        self.change(AdminOp::DeleteTopic { name: name.to_owned() }).map(|_| ())
    }

    /// Raises the number of partitions of a topic to `partitions`, for what is published from now on; events that
    /// are there stay where they are. Asking for the number that it has changes nothing, a lower one is refused.
    /// Waits for the disk.
    pub fn raise_partitions(
        &self,
        name: &str,
        partitions: u32,
        readers: Readers,
    ) -> Result<Topic, AdminError> {
        match self.change(AdminOp::RaisePartitions { name: name.to_owned(), partitions, readers })? {
            AdminDone::Topic(topic) => Ok(topic),
            _ => unreachable!("a change of a topic gives a topic"),
        }
    }

    /// Bytes that the blocks of each topic take in the journal, for lists: one look at every segment's index.
    pub fn topic_bytes(&self) -> HashMap<TopicId, u64> {
        let mut topics = HashMap::new();
        for (source, bytes) in self.inner.shared.reader.bytes() {
            *topics.entry(source.topic).or_default() += bytes;
        }
        topics
    }

    /// A topic and what can be read of it; `None` if no topic of that name lives.
    pub fn topic_details(&self, name: &str) -> Result<Option<TopicDetails>, ReadError> {
        let Some(topic) = self.topic(name) else { return Ok(None) };
        let Some(row) = self.inner.shared.view.catalog.topic_row(topic.id) else { return Ok(None) };
        let TopicRow { created_ms, settings, .. } = row;
        let ranges = (0..topic.partitions).map(|partition| self.range(topic.partition(Partition(partition))));
        let ranges = ranges.collect::<Result<_, _>>()?;
        let taken = self.inner.shared.reader.bytes();
        let of = |partition| taken.get(&topic.partition(Partition(partition))).copied().unwrap_or(0);
        let bytes = (0..topic.partitions).map(of).collect();
        Ok(Some(TopicDetails { topic, created_ms, settings, ranges, bytes }))
    }

    /// What opening found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    /// What the operator should know and was not told yet; each notice is given once.
    pub fn notices(&self) -> Vec<Notice> {
        self.inner.shared.notices.take()
    }

    /// A snapshot of the counters.
    pub fn metrics(&self) -> Metrics {
        let shared = &self.inner.shared;
        let (queued, queued_bytes) = shared.queue.backlog();
        Metrics {
            applied_frame: shared.view.tables.applied(),
            persisted_frame: shared.view.tables.persisted(),
            overlay_bytes: shared.view.tables.overlay_bytes() as u64,
            tail_bytes: shared.view.tails.cached_bytes() as u64,
            queued: queued as u64,
            queued_bytes: queued_bytes as u64,
            ..shared.meter.snapshot()
        }
    }

    /// Hands a change to the committer and waits for it.
    pub(super) fn change(&self, op: AdminOp) -> Result<AdminDone, AdminError> {
        let (reply, result) = sync_channel(1);
        let closed = || AdminError::Aborted(Abort::Closing);
        if !self.inner.shared.queue.submit_admin(op, reply) {
            return Err(closed());
        }
        if self.inner.shared.options.background == Background::Manual {
            self.run();
        }
        result.recv().map_err(|_| closed())?
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<Arc<str>> = self.topics().into_iter().map(|topic| topic.name).collect();
        f.debug_struct("Store").field("topics", &names).finish_non_exhaustive()
    }
}
