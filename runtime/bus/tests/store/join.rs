//! Joining: what is left of neighbouring segments becomes one file, in which every event has the place, the time and
//! the answer that it had; whatever a crash leaves of the files before is removed.

use std::fs;
use std::path::{Path, PathBuf};

use tidemill_bus::clock::ManualClock;
use tidemill_bus::journal::Control;
use tidemill_bus::limits::SETTLE_BYTES_MAX;
use tidemill_bus::log::{Log, ReadError};
use tidemill_bus::store::{Checkpoints, Store, StoreOptions};
use tidemill_bus::testing::Random;
use tidemill_bus::transaction::{IdempotencyKey, ProducerSequence};
use tidemill_bus::{Batch, Offset, Partition, TopicPartition, Transaction, check};

use crate::flips::{Facts, facts, files, scratch};
use crate::harness::{ALL, World, committed, driver, publish, step, topic, values};
use crate::settle::{hurt_settled, taken};

fn options(directory: &Path) -> StoreOptions {
    let mut options = crate::flips::options(directory, Some(0));
    (options.journal.segment_bytes, options.journal.first_segment_bytes) = (64 << 10, 64 << 10);
    options
}

fn again(number: u8) -> [Transaction; 2] {
    let once = IdempotencyKey { key: format!("key {number}"), body: [number; 32] };
    let producer = ProducerSequence { producer: "pen".to_owned(), epoch: 1, sequence: number.into() };
    [
        Transaction { once: Some(once), ..Transaction::default() },
        Transaction { producer: Some(producer), ..Transaction::default() },
    ]
}

/// Fills a store with many events in partition 1 and a few in partition 0, which a group holds from the first on, and
/// settles it until one more look would join; `tick` passes the time. Of the few two of three were published with a key
/// or a number.
fn fill(store: &Store, tick: impl Fn()) -> (TopicPartition, TopicPartition) {
    let topic = topic(store, "t");
    let [few, many] = [0, 1].map(|partition| topic.partition(Partition(partition)));
    let slow = driver(store.handler_id("slow").unwrap(), 0);
    committed(store.commit(step(store, slow, few, 0)));
    for round in 0..40_u8 {
        let [once, producer] = again(round / 3);
        let blocks = publish(few, &[&[round; 100]]).blocks;
        committed(store.commit(match round % 3 {
            0 => Transaction { blocks, ..once },
            1 => Transaction { blocks, ..producer },
            _ => Transaction { blocks, ..Transaction::default() },
        }));
        committed(store.commit(publish(many, &[&[round; 3_000], &[round; 3_000]])));
        tick();
    }
    store.checkpoint().unwrap();
    store.retain().unwrap();
    assert!(store.settle().unwrap() >= 5);
    assert_eq!(store.metrics().segments_joined, 0);
    (few, many)
}

fn filled(directory: &Path) -> (Store, TopicPartition, TopicPartition) {
    let store = Store::open(options(directory)).unwrap();
    let (few, many) = fill(&store, || ());
    (store, few, many)
}

fn join(store: &Store) {
    while store.settle().unwrap() > 0 {}
    assert!(store.metrics().segments_joined >= 4, "{:?}", store.metrics());
}

/// Each event of a partition with its append time, read at once, and where each append time leads.
fn times(store: &Store, source: TopicPartition) -> Vec<(Offset, i64, Offset)> {
    let mut batch = Batch::new(source);
    store.read(source, store.range(source).unwrap().start, ALL, &mut batch).unwrap();
    let event = |index| {
        let time = batch.append_time(index);
        (batch.offset(index), time, store.position_at(source, time).unwrap())
    };
    (0..batch.len()).map(event).collect()
}

/// The names of the segments, without their zeros.
fn names(directory: &Path) -> Vec<String> {
    let name = |(path, _): (PathBuf, Vec<u8>)| {
        let name = path.file_name().unwrap().to_str().unwrap().strip_suffix(".segment")?.to_owned();
        let numbers: Vec<u64> = name.split('-').map(|number| number.parse().unwrap()).collect();
        Some(numbers.iter().map(u64::to_string).collect::<Vec<_>>().join("-"))
    };
    files(directory, &directory.join("journal")).into_iter().filter_map(name).collect()
}

#[test]
fn what_is_left_of_neighbours_becomes_one_file_and_every_event_keeps_its_place_and_time() {
    let world = World { options: options(Path::new("unused")), ..World::new(1) };
    let store = world.open().unwrap();
    let (few, many) = fill(&store, || ManualClock::pass(&world.clock, 7));
    drop(store);
    let store = world.open().unwrap();
    let before = (facts(&store), times(&store, few), times(&store, many));
    assert_eq!(before.1.len(), 40);
    join(&store);
    drop(store);
    for _ in 0..2 {
        let store = world.open().unwrap();
        assert_eq!((facts(&store), times(&store, few), times(&store, many)), before);
        for number in 0..13 {
            for (place, publish) in (0..).zip(again(number)) {
                let receipt = committed(store.commit(publish));
                assert!(receipt.repeated);
                assert_eq!(receipt.runs[0].offset, Offset(u64::from(number) * 3 + place));
            }
        }
    }
}

#[test]
fn the_files_are_few_and_have_the_numbers_of_the_first_and_the_last() {
    let directory = scratch();
    let (store, few, _) = filled(directory.path());
    let (before, bytes) = (names(directory.path()), taken(directory.path()));
    join(&store);
    let after = names(directory.path());
    assert!(after.len() <= 3 && before.len() >= 7, "{before:?} {after:?}");
    assert!(after[0].contains('-') && taken(directory.path()) < bytes);
    store.close().unwrap();
    drop(store);
    assert!(check(directory.path()).unwrap().is_sound());
    // When the group has read them, the file goes as a whole.
    let store = Store::open(options(directory.path())).unwrap();
    let slow = driver(store.group("slow").unwrap().handler, 0);
    committed(store.commit(step(&store, slow, few, 40)));
    store.checkpoint().unwrap();
    assert!(store.retain().unwrap() > 0);
    assert!(store.range(few).unwrap().start > Offset(20));
}

#[test]
fn what_may_go_goes_with_the_join_though_it_is_less_than_half() {
    let directory = scratch();
    let (store, few, _) = filled(directory.path());
    let slow = driver(store.group("slow").unwrap().handler, 0);
    // Some of the segments, not all of what is joined.
    committed(store.commit(step(&store, slow, few, 9)));
    store.checkpoint().unwrap();
    join(&store);
    let start = store.range(few).unwrap().start;
    assert!(start > Offset(0) && start <= Offset(9), "{start}");
    assert_eq!(values(&store, few, start, ALL).len() as u64, 40 - start.0);
}

/// A store whose segments were joined, with the files of before still there, as a crash may leave them.
fn both(directory: &Path) -> (Facts, Vec<String>) {
    let (store, ..) = filled(directory);
    let old = files(directory, &directory.join("journal"));
    join(&store);
    store.close().unwrap();
    let before = facts(&store);
    drop(store);
    for (path, bytes) in old {
        let path = directory.join(path);
        if !path.exists() {
            fs::write(path, bytes).unwrap();
        }
    }
    (before, names(directory))
}

#[test]
fn files_whose_segments_are_in_another_one_are_removed_by_the_next_opening() {
    let directory = scratch();
    let (before, names_before) = both(directory.path());
    let joined: Vec<_> = names_before.iter().filter(|name| name.contains('-')).cloned().collect();
    assert!(check(directory.path()).unwrap().is_sound());
    let store = Store::open(options(directory.path())).unwrap();
    assert_eq!(facts(&store), before);
    let after = names(directory.path());
    assert!(after.len() + 4 <= names_before.len() && joined.iter().all(|name| after.contains(name)));
    drop(store);
    assert!(check(directory.path()).unwrap().is_sound());
}

#[test]
fn they_stay_if_the_file_in_their_place_is_none() {
    let directory = scratch();
    let (_, names_before) = both(directory.path());
    let joined = files(directory.path(), &directory.path().join("journal"));
    let (path, mut bytes) =
        joined.into_iter().find(|(path, _)| path.to_str().unwrap().contains('-')).unwrap();
    for at in [20, 2_048 + 20] {
        bytes[at] ^= 1;
    }
    fs::write(directory.path().join(path), bytes).unwrap();
    let error = Store::open(options(directory.path())).unwrap_err().to_string();
    assert!(error.contains("header"), "{error}");
    assert_eq!(names(directory.path()), names_before);
}

#[test]
fn a_joined_file_that_is_missing_is_missed() {
    let directory = scratch();
    let (store, ..) = filled(directory.path());
    join(&store);
    store.close().unwrap();
    drop(store);
    let journal = files(directory.path(), &directory.path().join("journal"));
    let (path, bytes) = journal.iter().find(|(path, _)| path.to_str().unwrap().contains('-')).unwrap();
    // Under a name that claims less, or more.
    let name = path.file_name().unwrap().to_str().unwrap();
    let last: u64 = name[21..41].parse().unwrap();
    fs::remove_file(directory.path().join(path)).unwrap();
    for last in [last - 1, last + 1] {
        let other = directory.path().join("journal").join(format!("{}-{last:020}.segment", &name[..20]));
        fs::write(&other, bytes).unwrap();
        Store::open(options(directory.path())).unwrap_err();
        fs::remove_file(other).unwrap();
    }
}

#[test]
fn a_broken_block_stays_broken_alone_and_the_index_is_made_again() {
    let directory = scratch();
    let (store, few, many) = filled(directory.path());
    let left = values(&store, many, store.range(many).unwrap().start, ALL);
    drop(store);
    // One byte of one value, in a settled segment.
    let journal = files(directory.path(), &directory.path().join("journal"));
    let settled = |bytes: &[u8]| bytes.starts_with(b"TMSEGMT\0") && bytes[14] == 2;
    let place = |bytes: &[u8]| bytes.windows(100).position(|window| window == [9; 100]);
    let (path, mut bytes, at) = journal
        .into_iter()
        .filter(|(_, bytes)| settled(bytes))
        .find_map(|(path, bytes)| place(&bytes).map(|at| (path, bytes, at)))
        .unwrap();
    bytes[at + 50] ^= 1;
    fs::write(directory.path().join(path), bytes).unwrap();
    let store = Store::open(options(directory.path())).unwrap();
    join(&store);
    store.close().unwrap();
    drop(store);
    hurt_settled(directory.path());
    let store = Store::open(options(directory.path())).unwrap();
    for offset in (0..40).map(Offset) {
        let mut batch = Batch::new(few);
        let one = tidemill_bus::log::ReadLimit { events: 1, bytes: 1 };
        let read = store.read(few, offset, one, &mut batch);
        match read {
            Err(ReadError::Broken { offset: broken, .. }) => {
                assert_eq!((offset, broken), (Offset(9), Offset(9)));
            }
            read => {
                read.unwrap();
                assert_eq!(
                    batch.columns.iter().next().unwrap().value.unwrap()[0],
                    u8::try_from(offset.0).unwrap()
                );
                assert_ne!(offset, Offset(9));
            }
        }
    }
    assert_eq!(values(&store, many, store.range(many).unwrap().start, ALL), left);
}

#[test]
fn a_look_ends_when_enough_is_copied_and_the_next_goes_on() {
    assert_eq!(Checkpoints::default().settle_bytes, SETTLE_BYTES_MAX);
    let directory = scratch();
    drop(filled(directory.path()));
    let mut options = options(directory.path());
    options.journal.segment_bytes = 24 << 10;
    options.checkpoints.settle_bytes = 1;
    let store = Store::open(options).unwrap();
    let mut looks = 0;
    while store.settle().unwrap() > 0 {
        looks += 1;
        assert_eq!(store.metrics().segments_settled, looks);
    }
    assert!(looks >= 2);
}

/// Cuts the power at every call of a join; says what is wrong with what is found.
fn cut(control: Control) -> Result<u64, String> {
    let mut options = options(Path::new("unused"));
    options.journal.control = control;
    let whole = World { options: options.clone(), ..World::new(1) };
    let store = whole.open().unwrap();
    let (few, _) = fill(&store, || ());
    let flush = whole.tables.flushes().len() - 1;
    let before = facts(&store);
    drop(store);
    let mut cuts = 0;
    for seed in 0..6 {
        for call in 0.. {
            let world = World { disk: whole.disk.copy(seed), options: options.clone(), ..World::new(seed) };
            let world = World { tables: whole.tables.crashed_at(Some(flush)), ..world };
            let store = world.open().unwrap();
            world.disk.crash_at(world.disk.calls() + call);
            while store.settle().is_ok_and(|settled| settled > 0) {}
            let is_over = !world.disk.crashed();
            drop(store);
            // It may be cut again, while the files are put in order.
            let again = world.after_crash(Random::new(seed ^ call << 8).draw(), Some(flush));
            again.disk.crash_at(call % 9);
            drop(again.open());
            for world in [world, again] {
                let world = world.after_crash(call, Some(flush));
                let store = world.open().map_err(|error| format!("seed {seed}, call {call}: {error}"))?;
                if facts(&store) != before {
                    return Err(format!("seed {seed}, call {call}: {:?}", store.range(few)));
                }
                cuts += 1;
            }
            if is_over {
                break;
            }
        }
    }
    Ok(cuts)
}

#[test]
fn nothing_is_lost_and_nothing_comes_back_wherever_the_power_is_cut() {
    let cuts = cut(Control::Sound).unwrap();
    println!("{cuts} cuts");
    assert!(cuts > 500, "{cuts}");
}

#[test]
fn a_removal_before_the_new_name_is_synced_is_found() {
    println!("{}", cut(Control::RemoveBeforeName).unwrap_err());
}
