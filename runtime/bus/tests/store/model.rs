//! What a store must hold: the model that follows the same transactions.

use std::collections::BTreeMap;

use tidemill_bus::log::{Log, Outcome, PartitionRange};
use tidemill_bus::store::Store;
use tidemill_bus::transaction::{IdempotencyKey, ProducerSequence, Progress, Run};
use tidemill_bus::{DriverKey, HandlerId, Offset, Partition, TopicId, TopicPartition, Transaction};

use crate::harness::{ALL, events, values};

/// The topic that is compacted.
pub(crate) const KEYED: &str = "keyed";

/// The key that an event with this value has there.
pub(crate) fn key_of(value: &[u8]) -> [u8; 1] {
    [value[0] % 3]
}

/// The values of a partition's events.
type Values = Vec<Vec<u8>>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) topics: BTreeMap<String, (TopicId, Vec<Values>)>,
    pub(crate) handlers: BTreeMap<String, HandlerId>,
    pub(crate) progress: BTreeMap<(DriverKey, TopicId), Progress>,
    pub(crate) state: BTreeMap<(DriverKey, Vec<u8>), Vec<u8>>,
    /// Publishes that are remembered, and where their first events went.
    pub(crate) once: BTreeMap<IdempotencyKey, Run>,
    /// The last publish of each producer, and where its first events went.
    pub(crate) producers: BTreeMap<String, (ProducerSequence, Run)>,
    pub(crate) topics_made: u64,
    pub(crate) handlers_made: u64,
}

impl Model {
    pub(crate) fn create_topic(&mut self, name: &str, partitions: u32) {
        if !self.topics.contains_key(name) {
            self.topics_made += 1;
            let partitions = vec![Vec::new(); partitions as usize];
            self.topics.insert(name.to_owned(), (TopicId(self.topics_made), partitions));
        }
    }

    pub(crate) fn raise_partitions(&mut self, name: &str, partitions: usize) {
        let (_, values) = self.topics.get_mut(name).unwrap();
        values.resize(partitions.max(values.len()), Vec::new());
    }

    pub(crate) fn delete_topic(&mut self, name: &str) {
        if let Some((id, _)) = self.topics.remove(name) {
            self.progress.retain(|(_, topic), _| *topic != id);
        }
    }

    pub(crate) fn register(&mut self, name: &str) -> HandlerId {
        if let Some(id) = self.handlers.get(name) {
            return *id;
        }
        self.handlers_made += 1;
        self.handlers.insert(name.to_owned(), HandlerId(self.handlers_made));
        HandlerId(self.handlers_made)
    }

    pub(crate) fn delete_group(&mut self, name: &str) {
        if let Some(id) = self.handlers.remove(name) {
            self.progress.retain(|(driver, _), _| driver.handler != id);
            self.state.retain(|(driver, _), _| driver.handler != id);
        }
    }

    pub(crate) fn partition_mut(&mut self, target: TopicPartition) -> Option<&mut Vec<Vec<u8>>> {
        let (_, partitions) = self.topics.values_mut().find(|(id, _)| *id == target.topic)?;
        partitions.get_mut(target.partition.0 as usize)
    }

    fn lives(&self, id: TopicId) -> bool {
        self.topics.values().any(|(topic, _)| *topic == id)
    }

    /// Follows a transaction whose epoch is right; false if it must be aborted.
    pub(crate) fn commit(&mut self, transaction: &Transaction) -> bool {
        let named = transaction.blocks.iter().map(|block| block.target.topic);
        let dead_handler = transaction
            .driver
            .is_some_and(|driver| !self.handlers.values().any(|handler| *handler == driver.handler));
        if dead_handler
            || named.chain(transaction.progress.map(|update| update.topic)).any(|id| !self.lives(id))
        {
            return false;
        }
        if let (Some(once), Some(block)) = (&transaction.once, transaction.blocks.first()) {
            let offset = Offset(self.partition_mut(block.target).unwrap().len() as u64);
            let count = u32::try_from(block.columns.len()).unwrap();
            self.once.insert(once.clone(), Run { partition: block.target.partition, offset, count });
        }
        if let (Some(publish), Some(block)) = (&transaction.producer, transaction.blocks.first()) {
            let offset = Offset(self.partition_mut(block.target).unwrap().len() as u64);
            let count = u32::try_from(block.columns.len()).unwrap();
            let run = Run { partition: block.target.partition, offset, count };
            self.producers.insert(publish.producer.clone(), (publish.clone(), run));
        }
        for block in &transaction.blocks {
            let values = block.columns.iter().map(|event| event.value.unwrap().to_vec());
            let values: Vec<_> = values.collect();
            self.partition_mut(block.target).unwrap().extend(values);
        }
        if let Some(driver) = transaction.driver {
            if let Some(update) = &transaction.progress {
                self.progress.insert((driver, update.topic), update.progress);
            }
            for (key, value) in transaction.state.iter() {
                match value {
                    Some(value) => self.state.insert((driver, key.to_vec()), value.to_vec()),
                    None => self.state.remove(&(driver, key.to_vec())),
                };
            }
        }
        true
    }

    /// The lowest position of any group on a partition.
    fn held_from(&self, source: TopicPartition) -> Offset {
        let here = self
            .progress
            .iter()
            .filter(|((driver, topic), _)| *topic == source.topic && driver.partition == source.partition);
        here.map(|(_, progress)| progress.next).min().unwrap_or(Offset(u64::MAX))
    }

    /// Compares all that can be read of the store with the model; says what differs.
    pub(crate) fn compare(&self, store: &Store) -> Result<(), String> {
        let topics = store.topics();
        let topics: Vec<_> = topics
            .iter()
            .map(|topic| (topic.name.to_string(), topic.id, topic.partitions as usize))
            .collect();
        let expected = self.topics.iter().map(|(name, (id, values))| (name.clone(), *id, values.len()));
        let expected: Vec<_> = expected.collect();
        same("topics", &topics, &expected)?;
        for (name, (id, partitions)) in &self.topics {
            for (partition, expected) in (0..).map(Partition).zip(partitions) {
                let source = TopicPartition { topic: *id, partition };
                self.compare_partition(store, name, source, expected)?;
            }
        }
        self.compare_groups(store)?;
        for (once, first) in &self.once {
            let again = Transaction { once: Some(once.clone()), ..Transaction::default() };
            is_repeated(store.commit(again), first).map_err(|error| format!("{once:?} {error}"))?;
        }
        for (publish, first) in self.producers.values() {
            let again = Transaction { producer: Some(publish.clone()), ..Transaction::default() };
            is_repeated(store.commit(again), first).map_err(|error| format!("{publish:?} {error}"))?;
        }
        Ok(())
    }

    fn compare_partition(
        &self,
        store: &Store,
        name: &str,
        source: TopicPartition,
        expected: &[Vec<u8>],
    ) -> Result<(), String> {
        let PartitionRange { start, end } = store.range(source).map_err(|error| error.to_string())?;
        same(&format!("end of {name} {source}"), &end, &Offset(expected.len() as u64))?;
        if start > self.held_from(source) {
            return Err(format!("{name} {source} begins at {start}, a group is before it"));
        }
        if name == KEYED {
            return compare_keyed(store, source, (expected, self.held_from(source)));
        }
        let kept = usize::try_from(start.0).unwrap();
        let found = values(store, source, start, ALL);
        same(&format!("events of {name} {source}"), &found.as_slice(), &&expected[kept..])
    }

    fn compare_groups(&self, store: &Store) -> Result<(), String> {
        let groups = store.groups();
        let handlers: Vec<_> = groups.iter().map(|group| (group.name.to_string(), group.handler)).collect();
        let expected: Vec<_> = self.handlers.iter().map(|(name, id)| (name.clone(), *id)).collect();
        same("handlers", &handlers, &expected)?;
        let mut progress = BTreeMap::new();
        for group in &groups {
            for at in &group.partitions {
                progress.insert((at.driver, at.source.topic), at.progress);
            }
        }
        same("progress", &progress, &self.progress)?;
        let mut state = BTreeMap::new();
        for group in &groups {
            for partition in 0..3 {
                let driver = crate::harness::driver(group.handler, partition);
                let rows =
                    store.state_scan(driver, b"", None, usize::MAX).map_err(|error| error.to_string())?;
                state.extend(rows.into_iter().map(|(key, value)| ((driver, key), value)));
            }
        }
        same("state", &state, &self.state)
    }
}

/// What is there of a compacted partition is what was written; the newest of each key is, and what a group has still to
/// read.
fn compare_keyed(
    store: &Store,
    source: TopicPartition,
    (expected, held_from): (&[Vec<u8>], Offset),
) -> Result<(), String> {
    let found = events(store, source, ALL).map_err(|error| error.to_string())?;
    for (offset, _, value) in &found {
        same(
            &format!("{source} offset {offset}"),
            &value.as_ref(),
            &expected.get(usize::try_from(*offset).unwrap()),
        )?;
    }
    let newest: BTreeMap<_, _> =
        (0_u64..).zip(expected).map(|(offset, value)| (key_of(value), offset)).collect();
    let must = newest.into_values().chain(held_from.0..expected.len() as u64);
    match must.into_iter().find(|must| !found.iter().any(|(offset, ..)| offset == must)) {
        Some(offset) => Err(format!("{source} offset {offset} must be there")),
        None => Ok(()),
    }
}

/// Whether a publish that was sent again is answered with where its events went.
fn is_repeated(outcome: Outcome, first: &Run) -> Result<(), String> {
    let Outcome::Committed(receipt) = outcome else {
        return Err(format!("cannot be sent again: {outcome:?}"));
    };
    let begins = receipt.runs.first().is_some_and(|run| {
        (run.partition, run.offset) == (first.partition, first.offset) && run.count >= first.count
    });
    if receipt.repeated && begins { Ok(()) } else { Err("was forgotten".to_owned()) }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: found {found:.200?}, expected {expected:.200?}"))
    }
}

/// Whether an outcome is that of a commit.
pub(crate) fn is_committed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Committed(_))
}
