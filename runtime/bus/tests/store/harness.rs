//! A store on a fake disk, with model tables and a clock that stands still, and small things to fill it with.

use std::sync::Arc;

use tidemill_bus::block::body_crc;
use tidemill_bus::clock::ManualClock;
use tidemill_bus::journal::{Housekeeping, JournalOptions};
use tidemill_bus::log::{Abort, Answer, Answered, Log, Outcome, ReadError, ReadLimit, Receipt, Topic};
use tidemill_bus::store::{Background, OpenError, Parts, Store, StoreOptions};
use tidemill_bus::tables::ModelTables;
use tidemill_bus::testing::FakeDisk;
use tidemill_bus::transaction::{NewBlock, Progress, ProgressUpdate};
use tidemill_bus::{
    Batch, Columns, DriverKey, Event, HandlerId, Lane, Offset, Partition, TopicPartition, Transaction,
};

/// 2026-11-21, in milliseconds since the Unix epoch.
pub(crate) const NOW: i64 = 1_795_219_200_000;

/// Everything that outlives a store.
pub(crate) struct World {
    pub(crate) disk: FakeDisk,
    pub(crate) tables: ModelTables,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) options: StoreOptions,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            disk: FakeDisk::new(seed),
            tables: ModelTables::default(),
            clock: Arc::new(ManualClock::at(NOW)),
            options: small(),
        }
    }

    pub(crate) fn open(&self) -> Result<Store, OpenError> {
        let parts = Parts {
            disk: Arc::new(self.disk.clone()),
            tree: Box::new(self.tables.clone()),
            clock: Arc::clone(&self.clock) as _,
        };
        Store::open_on(parts, self.options.clone())
    }

    /// The world after a power cut: what survives of the disk, and tables as the flush `flush` left them.
    pub(crate) fn after_crash(&self, seed: u64, flush: Option<usize>) -> Self {
        Self {
            disk: self.disk.survivors(seed),
            tables: self.tables.crashed_at(flush),
            clock: Arc::clone(&self.clock),
            options: self.options.clone(),
        }
    }
}

/// Small segments, and nothing happens that a test did not ask for.
pub(crate) fn small() -> StoreOptions {
    StoreOptions {
        background: Background::Manual,
        journal: JournalOptions {
            segment_bytes: 64 << 10,
            first_segment_bytes: 32 << 10,
            housekeeping: Housekeeping::Inline,
            ..JournalOptions::default()
        },
        ..StoreOptions::new("unused")
    }
}

pub(crate) fn driver(handler: HandlerId, partition: u32) -> DriverKey {
    DriverKey { handler, partition: Partition(partition), lane: Lane(0) }
}

pub(crate) fn columns(values: &[&[u8]]) -> Columns {
    let mut columns = Columns::default();
    for value in values {
        columns.push(Event { time: 1, key: None, headers: &[], value: Some(value) });
    }
    columns
}

pub(crate) fn block(target: TopicPartition, columns: Columns) -> NewBlock {
    NewBlock { target, body_crc: body_crc(&columns, None), columns: Arc::new(columns), cause: None }
}

/// A publish of events with keys to one partition; those without a value are tombstones.
pub(crate) fn publish_keyed(target: TopicPartition, events: &[(&[u8], Option<&[u8]>)]) -> Transaction {
    let mut columns = Columns::default();
    for &(key, value) in events {
        columns.push(Event { time: 1, key: Some(key), headers: &[], value });
    }
    Transaction { blocks: vec![block(target, columns)], ..Transaction::default() }
}

/// An event as it is read: its offset, its key, its value.
pub(crate) type Read = (u64, Option<Vec<u8>>, Option<Vec<u8>>);

/// The events of a partition from its oldest on, read in steps of at most `limit`; there may be gaps.
pub(crate) fn events(
    store: &Store,
    source: TopicPartition,
    limit: ReadLimit,
) -> Result<Vec<Read>, ReadError> {
    let mut events = Vec::new();
    let mut next = store.range(source)?.start;
    let mut batch = Batch::new(source);
    loop {
        batch.reset(source);
        let end = store.read(source, next, limit, &mut batch)?;
        for (index, event) in batch.columns.iter().enumerate() {
            assert!(batch.offset(index) >= next && batch.offset(index) < end.next, "{source}");
            events.push((batch.offset(index).0, event.key.map(Vec::from), event.value.map(Vec::from)));
        }
        if end.next == end.end {
            return Ok(events);
        }
        assert!(end.next > next, "{source} does not go on from {next}");
        next = end.next;
    }
}

/// A publish of `values` to one partition.
pub(crate) fn publish(target: TopicPartition, values: &[&[u8]]) -> Transaction {
    Transaction { blocks: vec![block(target, columns(values))], ..Transaction::default() }
}

pub(crate) fn committed(outcome: Outcome) -> Receipt {
    match outcome {
        Outcome::Committed(receipt) => receipt,
        Outcome::Aborted(abort) => panic!("aborted: {abort}"),
    }
}

pub(crate) fn aborted(outcome: Outcome) -> Abort {
    match outcome {
        Outcome::Committed(receipt) => panic!("committed: {receipt:?}"),
        Outcome::Aborted(abort) => abort,
    }
}

pub(crate) fn topic(store: &Store, name: &str) -> Topic {
    store.create_topic(name, Some(2)).unwrap()
}

/// Collects the answers of a group, by token.
#[derive(Default)]
pub(crate) struct Answers(parking_lot::Mutex<Vec<(u64, Outcome)>>);

impl Answered for Answers {
    fn answered(&self, token: u64, outcome: Outcome) {
        self.0.lock().push((token, outcome));
    }
}

/// Hands the transactions in and commits them as one group; the outcomes in the order of the transactions.
pub(crate) fn commit_group(store: &Store, transactions: Vec<Transaction>) -> Vec<Outcome> {
    let answers = Arc::new(Answers::default());
    for (token, transaction) in (0..).zip(transactions) {
        store.submit(transaction, Answer { to: Arc::clone(&answers) as _, token });
    }
    store.run();
    let mut outcomes = std::mem::take(&mut *answers.0.lock());
    outcomes.sort_by_key(|(token, _)| *token);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

pub(crate) const ALL: ReadLimit = ReadLimit { events: usize::MAX, bytes: usize::MAX };

/// The values of a partition from `from` to its end, read in steps of at most `limit`.
pub(crate) fn values(store: &Store, source: TopicPartition, from: Offset, limit: ReadLimit) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    let mut next = from;
    let mut batch = Batch::new(source);
    loop {
        batch.reset(source);
        let end = store.read(source, next, limit, &mut batch).unwrap();
        for (index, event) in batch.columns.iter().enumerate() {
            assert_eq!(batch.offset(index), from.plus(values.len() as u64), "{source} has a gap");
            values.push(event.value.unwrap().to_vec());
        }
        next = end.next;
        if batch.is_empty() {
            assert_eq!(next, end.end);
            return values;
        }
    }
}

/// A transaction that only moves its driver on.
pub(crate) fn step(store: &Store, driver: DriverKey, source: TopicPartition, next: u64) -> Transaction {
    let progress = Progress { next: Offset(next), ..Progress::default() };
    Transaction {
        driver: Some(driver),
        epoch: store.epoch(driver),
        progress: Some(ProgressUpdate { topic: source.topic, progress }),
        ..Transaction::default()
    }
}

pub(crate) fn next_of(store: &Store, driver: DriverKey, source: TopicPartition) -> Option<u64> {
    store.progress(driver, source.topic).unwrap().map(|progress| progress.next.0)
}
