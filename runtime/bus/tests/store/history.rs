//! A random history of a store: what it is asked to do, step by step, the same for the same seed.

use tidemill_bus::log::{AdminError, Log, Outcome};
use tidemill_bus::store::{Readers, Store, Sync};
use tidemill_bus::testing::Random;
use tidemill_bus::transaction::{
    IdempotencyKey, NewBlock, ProducerSequence, Progress, ProgressUpdate, StateWrites,
};
use tidemill_bus::{
    Columns, Compression, Event, Offset, Partition, Policy, TopicId, TopicPartition, TopicSettings,
    Transaction,
};

use crate::harness::{World, block, commit_group, driver};
use crate::model::{KEYED, Model, is_committed, key_of};

/// The last one is compacted; blocks of the second one, and now and then of the last, are compressed.
const TOPICS: [&str; 4] = ["in", "mid", "out", KEYED];
const HANDLERS: [&str; 2] = ["one", "two"];

/// How a history ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended {
    /// What may be found: what was acknowledged last, that with the group that was under way when the power was
    /// cut, and, if commits are not synced at once, what was acknowledged at any time since the last sync.
    pub(crate) may_be_found: Vec<Model>,
    /// Tables older than this flush are of no use: what came before it was released.
    pub(crate) oldest_flush: Option<usize>,
}

/// Runs `steps` steps on `store`, or as many as the disk lets; panics when an answer is not the model's.
pub(crate) fn run(world: &World, store: &Store, seed: u64, steps: usize, before: Model) -> Ended {
    let mut run = Run {
        world,
        store,
        random: Random::new(seed),
        acked: vec![before.clone()],
        maybe: before,
        oldest_flush: None,
        written: 0,
    };
    for _ in 0..steps {
        run.step();
        if world.disk.crashed() {
            break;
        }
        run.acknowledge();
    }
    let mut may_be_found = run.acked;
    may_be_found.push(run.maybe);
    Ended { may_be_found, oldest_flush: run.oldest_flush }
}

struct Run<'a> {
    world: &'a World,
    store: &'a Store,
    random: Random,
    /// What was acknowledged, from the last sync on.
    acked: Vec<Model>,
    maybe: Model,
    oldest_flush: Option<usize>,
    /// Makes every value another one.
    written: u64,
}

impl Run<'_> {
    fn step(&mut self) {
        let handler = HANDLERS[self.pick(2)];
        match self.pick(24) {
            0..8 => self.publish(),
            8..15 => self.drive(),
            15 => {
                let name = TOPICS[self.pick(4)];
                let partitions = self.maybe.topics.get(name).map_or(2, |(_, values)| values.len());
                let partitions = u32::try_from(partitions).unwrap();
                self.maybe.create_topic(name, partitions);
                let policy = if name == KEYED { Policy::Compact } else { Policy::Delete };
                let compression = if name == "mid" || (name == KEYED && self.random.one_in(2)) {
                    Compression::Lz4
                } else {
                    Compression::None
                };
                let settings = TopicSettings { policy, compression };
                self.admin(self.store.create_topic_with(name, Some(partitions), settings).map(|_| ()));
            }
            16 => {
                let name = TOPICS[self.pick(4)];
                if self.maybe.topics.contains_key(name) {
                    self.maybe.raise_partitions(name, 3);
                    let raised = self.store.raise_partitions(name, 3, Readers::Bound(Vec::new()));
                    self.admin(raised.map(|_| ()));
                }
            }
            17 if self.random.one_in(3) => {
                let name = TOPICS[self.pick(4)];
                if self.maybe.topics.contains_key(name) {
                    self.maybe.delete_topic(name);
                    self.admin(self.store.delete_topic(name));
                }
            }
            18 => {
                self.maybe.register(handler);
                self.admin(self.store.handler_id(handler).map(|_| ()));
            }
            19 => self.change_group(handler),
            20..22 => {
                // It fails when the power is cut; nothing is acknowledged by it, but all before it is synced.
                if self.store.checkpoint().is_ok() {
                    self.acked.drain(..self.acked.len() - 1);
                }
            }
            22..24 => {
                let flushes = self.world.tables.flushes().len();
                // What fails may have been done all the same.
                let (released, settled) =
                    (self.store.retain().unwrap_or(1), self.store.settle().unwrap_or(1));
                if released + settled > 0 {
                    self.oldest_flush = flushes.checked_sub(1);
                }
            }
            _ => self.world.clock.pass(1_000),
        }
    }

    fn pick(&mut self, count: u64) -> usize {
        usize::try_from(self.random.below(count)).unwrap()
    }

    fn admin(&self, result: Result<(), AdminError>) {
        if let Err(error) = result {
            assert!(self.world.disk.crashed(), "{error}");
        }
    }

    fn change_group(&mut self, name: &str) {
        if !self.maybe.handlers.contains_key(name) {
            return;
        }
        match self.pick(4) {
            0 => {
                self.maybe.delete_group(name);
                self.admin(self.store.delete_group(name));
            }
            1 => {
                self.maybe.delete_group(name);
                self.maybe.register(name);
                self.admin(self.store.reset_group(name).map(|_| ()));
            }
            _ => {
                let Some(source) = self.source() else { return };
                let handler = self.maybe.handlers[name];
                let key = (driver(handler, source.partition.0), source.topic);
                // Back to the beginning of what is kept, or to where nothing is held back. Of a compacted topic some
                // of what lies behind the beginning may be gone.
                let range = self.store.range(source);
                let Ok(range) = range else { return };
                let goes_back = self.random.one_in(2) && !self.is_keyed(source);
                let next = if goes_back { range.start } else { range.end };
                self.maybe.progress.insert(key, Progress { next, ..Progress::default() });
                self.admin(self.store.seek(name, source, next));
            }
        }
    }

    fn is_keyed(&self, source: TopicPartition) -> bool {
        self.maybe.topics.get(KEYED).is_some_and(|(id, _)| *id == source.topic)
    }

    /// A partition of a living topic.
    fn source(&mut self) -> Option<TopicPartition> {
        let topics = self.maybe.topics.values().map(|(id, values)| (*id, values.len() as u64));
        let topics: Vec<(TopicId, u64)> = topics.collect();
        let (topic, partitions) = *topics.get(self.pick(topics.len().max(1) as u64))?;
        Some(TopicPartition { topic, partition: Partition(u32::try_from(self.pick(partitions)).unwrap()) })
    }

    /// One to four publishers, in one group.
    fn publish(&mut self) {
        let mut transactions = Vec::new();
        for _ in 0..=self.pick(4) {
            let Some(target) = self.source() else { return };
            let blocks = (0..=self.pick(2)).map(|_| self.block(target)).collect();
            let key = format!("key {}", self.random.draw());
            let once = self.random.one_in(3).then_some(IdempotencyKey { key, body: [7; 32] });
            let producer = (once.is_none() && self.random.one_in(3)).then(|| self.number(&transactions));
            transactions.push(Transaction { blocks, once, producer, ..Transaction::default() });
        }
        self.group(transactions);
    }

    /// The next number of a producer, after those that are in `before`; now and then of a new epoch.
    fn number(&mut self, before: &[Transaction]) -> ProducerSequence {
        let producer = ["pen", "quill"][self.pick(2)].to_owned();
        let in_group = before.iter().rev().filter_map(|transaction| transaction.producer.as_ref());
        let last = in_group.clone().find(|publish| publish.producer == producer).cloned();
        let last = last.or_else(|| self.maybe.producers.get(&producer).map(|(publish, _)| publish.clone()));
        match last {
            Some(last) if self.random.one_in(8) => {
                ProducerSequence { producer, epoch: last.epoch + 1, sequence: 0 }
            }
            Some(last) => ProducerSequence { sequence: last.sequence + 1, ..last },
            None => ProducerSequence { producer, epoch: 0, sequence: 0 },
        }
    }

    fn block(&mut self, target: TopicPartition) -> NewBlock {
        let mut values = Vec::new();
        for _ in 0..=self.pick(4) {
            self.written += 1;
            let mut value = self.written.to_le_bytes().to_vec();
            value.resize(8 + self.pick(3_000), b'.');
            values.push(value);
        }
        let mut columns = Columns::default();
        let is_keyed = self.is_keyed(target);
        for value in &values {
            let key = is_keyed.then(|| key_of(value));
            columns.push(Event {
                time: 1,
                key: key.as_ref().map(<[u8; 1]>::as_slice),
                headers: &[],
                value: Some(value),
            });
        }
        block(target, columns)
    }

    /// One to three transactions of drivers, in one group; now and then one that reads from a dead topic.
    fn drive(&mut self) {
        let handlers: Vec<_> = self.maybe.handlers.values().copied().collect();
        if handlers.is_empty() {
            return;
        }
        let mut transactions = Vec::new();
        for _ in 0..=self.pick(3) {
            let (Some(source), Some(target)) = (self.source(), self.source()) else { return };
            let driver = driver(handlers[self.pick(handlers.len() as u64)], source.partition.0);
            let dead = self.random.one_in(12);
            let topic = if dead { TopicId(999) } else { source.topic };
            let end = self.maybe.partition_mut(source).unwrap().len() as u64;
            let progress = Progress { next: Offset(end), attempts: 0, not_before: 0 };
            let mut state = StateWrites::default();
            for _ in 0..self.pick(4) {
                let key = [u8::try_from(self.pick(6)).unwrap()];
                self.written += 1;
                let value = self.written.to_le_bytes();
                state.push(&key, (!self.random.one_in(4)).then_some(&value));
            }
            transactions.push(Transaction {
                driver: Some(driver),
                epoch: self.store.epoch(driver),
                blocks: (0..self.pick(3)).map(|_| self.block(target)).collect(),
                progress: Some(ProgressUpdate { topic, progress }),
                state,
                once: None,
                producer: None,
            });
        }
        self.group(transactions);
    }

    /// Commits a group, and compares the answers with the model's.
    fn group(&mut self, transactions: Vec<Transaction>) {
        let mut fenced = Vec::new();
        let mut expected = Vec::new();
        for transaction in &transactions {
            let is_fenced = transaction.driver.is_some_and(|driver| fenced.contains(&driver));
            let commits = !is_fenced && self.maybe.commit(transaction);
            fenced.extend(transaction.driver.filter(|_| !commits));
            expected.push(commits);
        }
        let outcomes = commit_group(self.store, transactions);
        if !self.world.disk.crashed() {
            let found: Vec<bool> = outcomes.iter().map(is_committed).collect();
            assert_eq!(found, expected, "{outcomes:?}");
            return;
        }
        // A committed answer after the power cut is an acknowledgement like any other.
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Committed(_))) {
            self.acknowledge();
        }
    }

    fn acknowledge(&mut self) {
        if self.world.options.sync == Sync::Always {
            self.acked.clear();
        }
        self.acked.push(self.maybe.clone());
    }
}
