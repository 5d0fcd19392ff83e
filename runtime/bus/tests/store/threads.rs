//! Many publishers, drivers and readers at once, on a real disk with the store's own threads.

use std::sync::atomic::{AtomicBool, Ordering};

use tidemill_bus::journal::JournalOptions;
use tidemill_bus::log::{Log, ReadLimit};
use tidemill_bus::store::{Store, StoreOptions};
use tidemill_bus::transaction::{Progress, ProgressUpdate, StateWrites};
use tidemill_bus::{
    Batch, Columns, Event, HandlerId, Offset, Partition, TopicPartition, Transaction, partition,
};

use crate::harness::{ALL, block, columns, committed, driver, topic, values};

const PUBLISHERS: u32 = 4;
const REQUESTS: u32 = 150;
const EVENTS: u32 = 20;

/// Publishes numbered events, keyed by the publisher: each publisher's stay in order in one partition.
fn publish(store: &Store, publisher: u32) {
    let topic = store.topic("in").unwrap();
    let key = publisher.to_le_bytes();
    let target = topic.partition(partition::of_key(&key, topic.partitions));
    for request in 0..REQUESTS {
        let mut events = Columns::default();
        for event in 0..EVENTS {
            let value = [publisher, request * EVENTS + event].map(u32::to_le_bytes).concat();
            events.push(Event { time: 0, key: Some(&key), headers: &[], value: Some(&value) });
        }
        committed(
            store.commit(Transaction { blocks: vec![block(target, events)], ..Transaction::default() }),
        );
    }
}

/// Copies a partition of `in` to `out` and counts in its state, until it has read `total` events.
fn copy(store: &Store, handler: HandlerId, source: TopicPartition, done: &AtomicBool) {
    let driver = driver(handler, source.partition.0);
    let target = store.topic("out").unwrap().partition(source.partition);
    let (mut batch, mut next) = (Batch::new(source), Offset(0));
    loop {
        let last_round = done.load(Ordering::Acquire);
        batch.reset(source);
        let limit = ReadLimit { events: 37, bytes: 4096 };
        next = store.read(source, next, limit, &mut batch).unwrap().next;
        if batch.is_empty() {
            if last_round {
                return;
            }
            std::thread::yield_now();
            continue;
        }
        let found: Vec<&[u8]> = batch.columns.iter().map(|event| event.value.unwrap()).collect();
        let mut state = StateWrites::default();
        state.push(b"count", Some(&next.0.to_le_bytes()));
        committed(store.commit(Transaction {
            driver: Some(driver),
            epoch: store.epoch(driver),
            blocks: vec![block(target, columns(&found))],
            progress: Some(ProgressUpdate {
                topic: source.topic,
                progress: Progress { next, ..Progress::default() },
            }),
            state,
            once: None,
            producer: None,
        }));
    }
}

#[test]
fn what_many_threads_publish_and_copy_arrives_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        journal: JournalOptions {
            segment_bytes: 1 << 20,
            first_segment_bytes: 1 << 20,
            ..JournalOptions::default()
        },
        ..StoreOptions::new(directory.path())
    };
    let store = Store::open(options.clone()).unwrap();
    let (input, output) = (topic(&store, "in"), topic(&store, "out"));
    let handler = store.handler_id("copy").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                scope.spawn({
                    let store = &store;
                    move || publish(store, publisher)
                })
            })
            .collect();
        for partition in 0..2 {
            let (store, done, source) = (&store, &done, input.partition(Partition(partition)));
            scope.spawn(move || copy(store, handler, source, done));
        }
        for publisher in publishers {
            publisher.join().unwrap();
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(store.group("copy").unwrap().lag(), 0);
    store.close().unwrap();
    drop(store);

    let store = Store::open(options).unwrap();
    let mut seen = vec![0; PUBLISHERS as usize];
    for partition in [Partition(0), Partition(1)] {
        let found = values(&store, input.partition(partition), Offset(0), ALL);
        assert_eq!(found, values(&store, output.partition(partition), Offset(0), ALL));
        let count = store.state_scan(driver(handler, partition.0), b"", None, 9).unwrap();
        assert!(found.is_empty() || count[0].1 == (found.len() as u64).to_le_bytes());
        for value in found {
            let number = |at: usize| u32::from_le_bytes(value[at..at + 4].try_into().unwrap());
            let next = &mut seen[number(0) as usize];
            assert_eq!(number(4), *next);
            *next += 1;
        }
    }
    assert_eq!(seen, [REQUESTS * EVENTS; PUBLISHERS as usize]);
}
