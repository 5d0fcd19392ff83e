//! Settling: a held partition keeps its events and nothing else, read and checked as before, over openings.

use std::path::Path;

use tidemill_bus::limits::SETTLE_INTERVAL;
use tidemill_bus::log::{Log, ReadError};
use tidemill_bus::store::{Background, Checkpoints, Hold, Retention, Store, StoreOptions};
use tidemill_bus::{Batch, Offset, Partition, TopicPartition, check};

use crate::flips::{files, scratch};
use crate::harness::{ALL, committed, driver, publish, step, topic, values};

/// Some rounds in each segment.
fn options(directory: &Path, retention: Option<u64>) -> StoreOptions {
    let mut options = crate::flips::options(directory, retention);
    (options.journal.segment_bytes, options.journal.first_segment_bytes) = (64 << 10, 64 << 10);
    options
}

/// A store with many events in partition 1 and a few in partition 0, which a group holds from the first on.
fn held(directory: &Path) -> (Store, TopicPartition, TopicPartition) {
    let store = Store::open(options(directory, Some(0))).unwrap();
    let topic = topic(&store, "t");
    let [few, many] = [0, 1].map(|partition| topic.partition(Partition(partition)));
    let slow = driver(store.handler_id("slow").unwrap(), 0);
    committed(store.commit(step(&store, slow, few, 0)));
    for round in 0..30_u8 {
        committed(store.commit(publish(few, &[&[round; 100]])));
        committed(store.commit(publish(many, &[&[round; 3_000], &[round; 3_000]])));
    }
    store.checkpoint().unwrap();
    (store, few, many)
}

/// Bytes of all files of the journal.
pub(crate) fn taken(directory: &Path) -> usize {
    files(directory, &directory.join("journal")).iter().map(|(_, bytes)| bytes.len()).sum()
}

fn check_held(store: &Store, few: TopicPartition, many: TopicPartition) {
    let found = values(store, few, Offset(0), ALL);
    assert!((0..30).zip(&found).all(|(round, value)| value == &[round; 100]) && found.len() == 30);
    let range = store.range(many).unwrap();
    assert!(range.start >= Offset(40) && range.end == Offset(60), "{range:?}");
    let asked = Offset(3);
    let gone = ReadError::Gone { source_partition: many, asked, start: range.start };
    assert_eq!(store.read(many, asked, ALL, &mut Batch::new(many)), Err(gone));
    let left = values(store, many, range.start, ALL);
    assert_eq!(left.len() as u64, range.end.0 - range.start.0);
}

#[test]
fn what_a_group_holds_stays_and_what_it_does_not_goes() {
    let directory = scratch();
    let (store, few, many) = held(directory.path());
    // Whole segments do not go, but for the first, which has no events.
    assert!(store.retain().unwrap() <= 1);
    let before = taken(directory.path());
    let last = store.range(many).unwrap().end;
    let settled = store.settle().unwrap();
    assert!(settled >= 5, "{settled}");
    // What is left of neighbours is joined.
    assert!(store.settle().unwrap() > 0 && store.metrics().segments_joined > 0);
    while store.settle().unwrap() > 0 {}
    assert!(taken(directory.path()) < before / 2 + (64 << 10), "{before}");
    check_held(&store, few, many);
    drop(store);
    assert!(check(directory.path()).unwrap().is_sound());
    let store = Store::open(options(directory.path(), Some(0))).unwrap();
    check_held(&store, few, many);
    assert_eq!(committed(store.commit(publish(many, &[b"next"]))).runs[0].offset, last);

    // When the group has read them, they go as whole segments.
    let slow = driver(store.group("slow").unwrap().handler, 0);
    committed(store.commit(step(&store, slow, few, 30)));
    store.checkpoint().unwrap();
    assert!(store.retain().unwrap() > 0 && store.range(few).unwrap().start > Offset(15));
}

#[test]
fn what_may_go_does_not_wait_behind_a_segment_of_which_little_may() {
    let directory = scratch();
    let store = Store::open(options(directory.path(), Some(0))).unwrap();
    let topic = topic(&store, "t");
    let [held, many] = [0, 1].map(|partition| topic.partition(Partition(partition)));
    let slow = driver(store.handler_id("slow").unwrap(), 0);
    committed(store.commit(step(&store, slow, held, 0)));
    // A third of the oldest segments may go, and all of the others.
    for round in 0..20_u8 {
        committed(store.commit(publish(held, &[&[round; 6_000]])));
        committed(store.commit(publish(many, &[&[round; 3_000]])));
    }
    for round in 20..120_u8 {
        committed(store.commit(publish(many, &[&[round; 3_000]])));
    }
    store.checkpoint().unwrap();
    let before = taken(directory.path());
    while store.settle().unwrap() > 0 {}
    assert!(taken(directory.path()) < before / 2, "{} of {before}", taken(directory.path()));
    assert!(store.range(many).unwrap().start >= Offset(80));
    assert_eq!(values(&store, held, Offset(0), ALL).len(), 20);
}

/// Breaks the trailer of every settled segment, and returns how many there are.
pub(crate) fn hurt_settled(directory: &Path) -> usize {
    let mut hurt = 0;
    for (path, mut bytes) in files(directory, &directory.join("journal")) {
        // Kind 2, as FORMAT.md has it: the trailer's checksum breaks.
        if path.extension().is_some() && bytes[14] == 2 {
            let at = bytes.len() - 20;
            bytes[at] ^= 1;
            std::fs::write(directory.join(path), bytes).unwrap();
            hurt += 1;
        }
    }
    hurt
}

#[test]
fn the_index_of_a_settled_segment_is_made_again_from_its_blocks() {
    let directory = scratch();
    let (store, few, many) = held(directory.path());
    store.settle().unwrap();
    store.close().unwrap();
    drop(store);
    let hurt = hurt_settled(directory.path());
    assert!(hurt >= 5);
    let report = check(directory.path()).unwrap();
    assert_eq!(report.faults.len(), hurt);
    let store = Store::open(options(directory.path(), Some(0))).unwrap();
    check_held(&store, few, many);
}

#[test]
fn a_deleted_topic_goes_from_between_those_that_live() {
    let directory = scratch();
    let store = Store::open(options(directory.path(), None)).unwrap();
    let [dead, lives] = ["dead", "lives"].map(|name| topic(&store, name).partition(Partition(0)));
    for round in 0..20_u8 {
        committed(store.commit(publish(dead, &[&[round; 6_000]])));
        committed(store.commit(publish(lives, &[&[round; 100]])));
    }
    store.checkpoint().unwrap();
    assert_eq!(store.settle().unwrap(), 0);
    store.delete_topic("dead").unwrap();
    store.checkpoint().unwrap();
    assert!(store.settle().unwrap() >= 2);
    assert_eq!(values(&store, lives, Offset(0), ALL).len(), 20);
    assert!(store.topic_bytes().get(&dead.topic).is_none_or(|bytes| *bytes < 60_000));
}

#[test]
fn it_is_done_in_the_background() {
    assert_eq!(Checkpoints::default().settle_interval, SETTLE_INTERVAL);
    let directory = scratch();
    let (store, few, many) = held(directory.path());
    let before = taken(directory.path());
    drop(store);
    let mut options = options(directory.path(), None);
    let moment = std::time::Duration::from_millis(1);
    options.background = Background::Threads;
    options.retention = Retention { age: None, bytes: Some(0), hold: Hold::Handlers };
    options.checkpoints = Checkpoints { interval: moment, settle_interval: moment, ..Checkpoints::default() };
    let store = Store::open(options).unwrap();
    while taken(directory.path()) > before / 2 + (64 << 10) {
        std::thread::yield_now();
    }
    check_held(&store, few, many);
}
