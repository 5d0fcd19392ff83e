//! The store as a [`Log`]: what the flow asks, answered from memory or handed to the committer.

use std::sync::Arc;

use super::Store;
use crate::commit::{AdminDone, AdminOp};
use crate::log::{
    Abort, AdminError, Answer, Log, PartitionRange, ReadEnd, ReadError, ReadLimit, Row, StateError, Topic,
    Watcher,
};
use crate::tables::{Owner, TableId};
use crate::topics::TopicSettings;
use crate::transaction::Progress;
use crate::{Batch, DriverKey, HandlerId, Offset, TopicId, TopicPartition, Transaction};

impl Log for Store {
    fn topic(&self, name: &str) -> Option<Topic> {
        self.inner.shared.view.catalog.topic_named(name)
    }

    fn topic_by_id(&self, id: TopicId) -> Option<Topic> {
        self.inner.shared.view.catalog.topic(id)
    }

    fn topics(&self) -> Vec<Topic> {
        self.inner.shared.view.catalog.topics()
    }

    fn create_topic(&self, name: &str, partitions: Option<u32>) -> Result<Topic, AdminError> {
        self.create_topic_with(name, partitions, TopicSettings::default())
    }

    fn handler_id(&self, name: &str) -> Result<HandlerId, AdminError> {
        if let Some(id) = self.inner.shared.view.catalog.handler_named(name) {
            return Ok(id);
        }
        match self.change(AdminOp::RegisterHandler { name: name.to_owned() })? {
            AdminDone::Handler(id) => Ok(id),
            _ => unreachable!("a registration gives a handler"),
        }
    }

    fn note(&self, handler: HandlerId) -> Result<Option<Vec<u8>>, AdminError> {
        let view = &self.inner.shared.view;
        if !view.catalog.handler_lives(handler) {
            return Ok(None);
        }
        let note = view.tables.get(Owner::store(TableId::Notes), &handler.0.to_be_bytes());
        note.map_err(|error| Abort::Tables(error.to_string().into()).into())
    }

    fn set_note(&self, handler: HandlerId, note: &[u8]) -> Result<(), AdminError> {
        self.change(AdminOp::SetNote { handler, note: note.to_vec() }).map(|_| ())
    }

    fn read(
        &self,
        source: TopicPartition,
        from: Offset,
        limit: ReadLimit,
        batch: &mut Batch,
    ) -> Result<ReadEnd, ReadError> {
        self.inner.shared.read(source, from, limit, batch)
    }

    fn range(&self, source: TopicPartition) -> Result<PartitionRange, ReadError> {
        self.inner.shared.range(source)
    }

    fn position_at(&self, source: TopicPartition, time_ms: i64) -> Result<Offset, ReadError> {
        self.inner.shared.position_at(source, time_ms)
    }

    fn progress(&self, driver: DriverKey, topic: TopicId) -> Result<Option<Progress>, StateError> {
        self.check_state(driver)?;
        Ok(self.inner.shared.view.groups.progress(driver, topic))
    }

    fn epoch(&self, driver: DriverKey) -> u64 {
        self.inner.shared.view.groups.epoch(driver)
    }

    fn state_get(
        &self,
        driver: DriverKey,
        keys: &mut dyn Iterator<Item = &[u8]>,
        values: &mut Vec<Option<Vec<u8>>>,
    ) -> Result<(), StateError> {
        self.check_state(driver)?;
        let owner = Owner { table: TableId::State, driver };
        for key in keys {
            let value = self.inner.shared.view.tables.get(owner, key);
            values.push(value.map_err(|error| StateError { driver, what: error.to_string().into() })?);
        }
        Ok(())
    }

    fn state_scan(
        &self,
        driver: DriverKey,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StateError> {
        self.check_state(driver)?;
        let owner = Owner { table: TableId::State, driver };
        let rows = self.inner.shared.view.tables.scan(owner, prefix, after, limit);
        rows.map_err(|error| StateError { driver, what: error.to_string().into() })
    }

    fn submit(&self, transaction: Transaction, answer: Answer) {
        let shared = &self.inner.shared;
        shared.queue.submit(shared.view.hand_in(transaction), answer);
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.inner.shared.watchers.write().push(watcher);
    }

    fn now_ms(&self) -> i64 {
        self.inner.shared.clock.now_ms(&self.inner.shared.notices)
    }
}

impl Store {
    /// State is read only of drivers whose handler lives and of whom no change was lost.
    fn check_state(&self, driver: DriverKey) -> Result<(), StateError> {
        let view = &self.inner.shared.view;
        let error = |what: String| Err(StateError { driver, what: what.into() });
        if let Some(what) = view.unreadable.get(&driver.handler) {
            return error(format!("{}: reset the group", *what));
        }
        if let Some(frame) = view.stopped_at(driver) {
            return error(format!("a change in frame {frame} is broken: restore or reset the group"));
        }
        if !view.catalog.handler_lives(driver.handler) {
            return error("its group was reset or deleted".to_owned());
        }
        Ok(())
    }
}
