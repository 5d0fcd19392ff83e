//! Compaction by key: the newest event of each key is always there, what it supersedes goes, and every offset means what
//! it meant.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use tidemill_bus::clock::ManualClock;
use tidemill_bus::limits::{COMPACTION_KEYS_BYTES_MAX, TOMBSTONE_AGE};
use tidemill_bus::log::{Log, ReadLimit};
use tidemill_bus::store::{Hold, Retention, Store, StoreOptions};
use tidemill_bus::{Compression, Offset, Partition, Policy, TopicPartition, TopicSettings, check};

use crate::flips::scratch;
use crate::harness::{
    ALL, Read, World, committed, driver, events, publish, publish_keyed, step, topic, values,
};
use crate::settle::hurt_settled;

const COMPACT: TopicSettings = TopicSettings { policy: Policy::Compact, compression: Compression::None };
const FEW: ReadLimit = ReadLimit { events: 2, bytes: usize::MAX };

fn keyed(store: &Store) -> TopicPartition {
    let topic = store.create_topic_with("keyed", Some(2), COMPACT).unwrap();
    topic.partition(Partition(0))
}

/// Retention would take everything, if the topic were not compacted.
fn world(seed: u64) -> World {
    let mut world = World::new(seed);
    world.options.journal.first_segment_bytes = 64 << 10;
    world.options.retention = Retention { age: None, bytes: Some(0), hold: Hold::Handlers };
    world
}

/// Ends the segment, and brings its frames into the tables.
fn seal(store: &Store) {
    let filler = topic(store, "filler").partition(Partition(0));
    committed(store.commit(publish(filler, &[&vec![0; 40_000]])));
    committed(store.commit(publish(filler, &[&vec![0; 40_000]])));
    store.checkpoint().unwrap();
}

/// Settles until nothing more is rewritten.
fn settle(store: &Store) -> u64 {
    let mut settled = 0;
    loop {
        store.retain().unwrap();
        match store.settle().unwrap() {
            0 => return settled,
            more => settled += more,
        }
    }
}

/// What is on the disk: a store that is open still knows recent events that are gone.
fn reopened(world: &World, store: Store) -> Store {
    drop(store);
    world.open().unwrap()
}

fn keys(events: &[Read]) -> Vec<(u64, u8)> {
    events.iter().map(|(offset, key, _)| (*offset, key.as_ref().map_or(b'-', |key| key[0]))).collect()
}

#[test]
fn of_each_key_the_newest_event_stays_and_events_without_a_key_stay() {
    let world = world(1);
    let store = world.open().unwrap();
    let source = keyed(&store);
    let large = [1; 1_000];
    committed(store.commit(publish_keyed(source, &[(b"a", Some(&large)), (b"b", Some(b"1"))])));
    committed(store.commit(publish(source, &[b"no key"])));
    committed(store.commit(publish_keyed(source, &[(b"a", Some(&large)), (b"a", Some(b"3"))])));
    seal(&store);
    assert!(settle(&store) > 0);
    let expected = [(1, b'b'), (2, b'-'), (4, b'a')];
    let store = reopened(&world, store);
    for limit in [ALL, FEW, ReadLimit { events: 1, bytes: 1 }] {
        assert_eq!(keys(&events(&store, source, limit).unwrap()), expected);
    }
    // Every offset still leads to the next event that there is.
    let range = store.range(source).unwrap();
    assert_eq!((range.start, range.end), (Offset(0), Offset(5)));
    let mut batch = tidemill_bus::Batch::new(source);
    for (from, found) in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4)] {
        batch.reset(source);
        store.read(source, Offset(from), FEW, &mut batch).unwrap();
        assert_eq!(batch.offset(0), Offset(found), "from {from}");
    }
    assert_eq!(committed(store.commit(publish(source, &[b"next"]))).runs[0].offset, Offset(5));
}

#[test]
fn a_tombstone_stays_for_a_day_and_as_long_as_it_hides_an_older_event() {
    let world = world(2);
    let store = world.open().unwrap();
    let source = keyed(&store);
    // The segment is mostly what stays, so it is not rewritten, and keeps its event of the key.
    committed(
        store.commit(publish_keyed(source, &[(b"hidden", Some(b"1")), (b"big", Some(&vec![1; 30_000]))])),
    );
    store.checkpoint().unwrap();
    let other = topic(&store, "other").partition(Partition(0));
    committed(store.commit(publish(other, &[&vec![1; 30_000]])));
    committed(store.commit(publish_keyed(source, &[(b"gone 0", Some(&[2; 1_000]))])));
    let gone: Vec<String> = (0..20).map(|number| format!("gone {number}")).collect();
    let gone: Vec<_> = gone.iter().map(|key| (key.as_bytes(), None)).collect();
    committed(store.commit(publish_keyed(source, &gone)));
    committed(store.commit(publish_keyed(source, &[(b"hidden", None)])));
    seal(&store);
    settle(&store);
    let store = reopened(&world, store);
    let there = |store: &Store| -> String {
        keys(&events(store, source, ALL).unwrap()).into_iter().map(|(_, key)| char::from(key)).collect()
    };
    let for_a_day = format!("hb{}h", "g".repeat(20));
    assert_eq!(there(&store), for_a_day);

    let day = i64::try_from(TOMBSTONE_AGE.as_millis()).unwrap();
    ManualClock::pass(&world.clock, day);
    settle(&store);
    let store = reopened(&world, store);
    assert_eq!(there(&store), for_a_day);
    ManualClock::pass(&world.clock, 1);
    settle(&store);
    let store = reopened(&world, store);
    assert_eq!(there(&store), "hbh");

    // When nothing keeps the older event any more, both go.
    committed(store.commit(publish_keyed(source, &[(b"big", Some(b"small"))])));
    seal(&store);
    settle(&store);
    let store = reopened(&world, store);
    settle(&store);
    let store = reopened(&world, store);
    assert_eq!(there(&store), "b");
}

#[test]
fn what_a_group_has_still_to_read_stays_unless_nothing_is_held() {
    for hold in [Hold::Handlers, Hold::None] {
        let mut world = world(3);
        world.options.retention.hold = hold;
        let store = world.open().unwrap();
        let source = keyed(&store);
        let reader = driver(store.handler_id("reader").unwrap(), 0);
        committed(store.commit(step(&store, reader, source, 1)));
        for bytes in [50_000, 20_000, 20_000, 50_000] {
            committed(store.commit(publish_keyed(source, &[(b"a", Some(&vec![1; bytes]))])));
        }
        seal(&store);
        settle(&store);
        let store = reopened(&world, store);
        let expected = if hold == Hold::Handlers { vec![1, 2, 3] } else { vec![3] };
        let found =
            |store: &Store| events(store, source, ALL).unwrap().iter().map(|it| it.0).collect::<Vec<_>>();
        assert_eq!(found(&store), expected);
        settle(&store);
        committed(store.commit(step(&store, reader, source, 4)));
        settle(&store);
        let store = reopened(&world, store);
        assert_eq!(found(&store), [3]);
    }
}

#[test]
fn segments_of_whom_nothing_is_left_are_released_and_what_is_newest_outlives_all_others() {
    let world = world(4);
    let store = world.open().unwrap();
    let source = keyed(&store);
    committed(store.commit(publish_keyed(source, &[(b"once", Some(b"kept"))])));
    for round in 0..20_u8 {
        committed(store.commit(publish_keyed(source, &[(b"often", Some(&vec![round; 20_000]))])));
    }
    seal(&store);
    settle(&store);
    assert_eq!(store.metrics().segments_released, 0);
    let store = reopened(&world, store);
    let found = events(&store, source, ALL).unwrap();
    // Less than half of the last segment is superseded.
    assert_eq!(keys(&found), [(0, b'o'), (19, b'o'), (20, b'o')]);
    // The oldest is superseded: what was held by it goes as a whole.
    committed(store.commit(publish_keyed(source, &[(b"once", Some(b"again"))])));
    committed(store.commit(publish_keyed(source, &[(b"often", Some(&vec![1; 20_000]))])));
    seal(&store);
    drop(store);
    let store = world.open().unwrap();
    settle(&store);
    assert!(store.metrics().segments_released >= 2, "{:?}", store.metrics());
    let store = reopened(&world, store);
    assert_eq!(keys(&events(&store, source, ALL).unwrap()), [(21, b'o'), (22, b'o')]);
    assert!(store.range(source).unwrap().start > Offset(0));
}

#[test]
fn a_topic_may_be_set_later_and_says_so() {
    let world = world(5);
    let store = world.open().unwrap();
    topic(&store, "keyed");
    let settings = |store: &Store| store.topic_details("keyed").unwrap().unwrap().settings;
    assert_eq!(settings(&store).policy, Policy::Delete);
    store.set_topic("keyed", COMPACT).unwrap();
    store.raise_partitions("keyed", 3, tidemill_bus::store::Readers::Forced).unwrap();
    drop(store);
    let store = world.open().unwrap();
    assert_eq!(settings(&store), COMPACT);
    assert_eq!(store.topic("keyed").unwrap().partitions, 3);
    assert!(store.set_topic("nothing", COMPACT).is_err());
}

#[test]
fn more_keys_than_memory_is_for_are_compacted_piece_by_piece() {
    let mut world = world(6);
    world.options.journal.segment_bytes = 16 << 20;
    let store = world.open().unwrap();
    let source = keyed(&store);
    let long = COMPACTION_KEYS_BYTES_MAX / 20;
    let key = |number: u8| vec![number; long];
    for number in (0..24).chain(0..24) {
        committed(store.commit(publish_keyed(source, &[(&key(number), Some(b"x"))])));
    }
    committed(store.commit(publish_keyed(source, &[(&key(0), Some(b"x"))])));
    let filler = topic(&store, "filler").partition(Partition(0));
    for _ in 0..4 {
        committed(store.commit(publish(filler, &[&vec![0; 4 << 20]])));
    }
    store.checkpoint().unwrap();
    settle(&store);
    let store = reopened(&world, store);
    let found: Vec<u64> = events(&store, source, FEW).unwrap().iter().map(|it| it.0).collect();
    let last: Vec<u64> = (25..49).collect();
    // The first piece of keys supersedes what is before it, the next one too.
    assert!(found.ends_with(&last) && found.len() < 40, "{found:?}");
}

#[test]
fn readers_go_on_while_segments_are_rewritten_under_them() {
    let directory = scratch();
    let options = StoreOptions { retention: world(0).options.retention, ..on_disk(directory.path()) };
    let store = Store::open(options).unwrap();
    let source = keyed(&store);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut newest = 0;
                    while !done.load(Ordering::Relaxed) {
                        // What is read may be released between two steps.
                        let found = match events(&store, source, FEW) {
                            Err(tidemill_bus::log::ReadError::Gone { .. }) => continue,
                            found => found.unwrap(),
                        };
                        let last = found.last().map_or(0, |event| event.0);
                        assert!(last >= newest, "{last} after {newest}");
                        newest = last;
                    }
                })
            })
            .collect();
        for round in 0..60_u8 {
            let keys: Vec<[u8; 1]> = (0..=round % 5).map(|key| [key]).collect();
            let value = [round; 3_000];
            let events: Vec<_> = keys.iter().map(|key| (&key[..], Some(&value[..]))).collect();
            committed(store.commit(publish_keyed(source, &events)));
            store.checkpoint().unwrap();
            store.retain().unwrap();
            store.settle().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert!(store.metrics().segments_settled > 5 && store.metrics().segments_joined > 2);
}

fn on_disk(directory: &Path) -> StoreOptions {
    crate::flips::options(directory, Some(0))
}

/// What a history must leave: each event that may be read, and whether it must be.
#[derive(Default)]
struct Expected {
    events: BTreeMap<u64, (Vec<u8>, Option<Vec<u8>>)>,
    newest: BTreeMap<Vec<u8>, u64>,
}

impl Expected {
    fn publish(&mut self, key: &[u8], value: Option<&[u8]>) {
        let offset = self.events.len() as u64;
        self.events.insert(offset, (key.to_vec(), value.map(Vec::from)));
        self.newest.insert(key.to_vec(), offset);
    }

    fn check(&self, found: &[Read]) {
        assert!(found.is_sorted_by_key(|event| event.0));
        for (offset, key, value) in found {
            assert_eq!(self.events[offset], (key.clone().unwrap(), value.clone()), "offset {offset}");
        }
        for (key, offset) in &self.newest {
            assert!(
                found.iter().any(|event| event.0 == *offset),
                "the newest of {key:?} at {offset} is gone"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_newest_of_each_key_is_there_after_any_history(
        steps in proptest::collection::vec((0..8_u8, 0..12_usize, 0..6_000_usize), 20..80),
    ) {
        let directory = scratch();
        let mut store = Store::open(on_disk(directory.path())).unwrap();
        let source = keyed(&store);
        let other = topic(&store, "other").partition(Partition(1));
        let mut expected = Expected::default();
        for (key, what, bytes) in steps {
            let value = vec![key; bytes];
            match what {
                0 => {
                    store.checkpoint().unwrap();
                    settle(&store);
                }
                1 => {
                    drop(store);
                    store = Store::open(on_disk(directory.path())).unwrap();
                }
                2 => drop(committed(store.commit(publish(other, &[&value])))),
                _ => {
                    let value = (what > 3).then_some(&value[..]);
                    let events = [(&[key][..], value), (&[key / 2 + 10][..], Some(&b"second"[..]))];
                    committed(store.commit(publish_keyed(source, &events)));
                    for (key, value) in events {
                        expected.publish(key, value);
                    }
                }
            }
        }
        store.checkpoint().unwrap();
        settle(&store);
        expected.check(&events(&store, source, FEW).unwrap());
        store.close().unwrap();
        drop(store);
        prop_assert!(check(directory.path()).unwrap().is_sound());
        let store = Store::open(on_disk(directory.path())).unwrap();
        expected.check(&events(&store, source, ALL).unwrap());
        if store.range(other).unwrap().end > Offset(0) {
            let start = store.range(other).unwrap().start;
            values(&store, other, start, ALL);
        }
    }
}

#[test]
fn the_index_of_a_compacted_segment_is_made_again_from_its_blocks() {
    let directory = scratch();
    let store = Store::open(on_disk(directory.path())).unwrap();
    let source = keyed(&store);
    for round in 0..20_u8 {
        let events = [(&[round % 3][..], Some(&[round; 2_000][..])), (&[round][..], Some(b"own"))];
        committed(store.commit(publish_keyed(source, &events)));
    }
    store.checkpoint().unwrap();
    assert!(settle(&store) >= 2);
    store.close().unwrap();
    drop(store);
    let store = Store::open(on_disk(directory.path())).unwrap();
    let expected = events(&store, source, ALL).unwrap();
    assert!(expected.len() < 35);
    drop(store);
    let hurt = hurt_settled(directory.path());
    assert!(hurt >= 1);
    let store = Store::open(on_disk(directory.path())).unwrap();
    assert_eq!(events(&store, source, ALL).unwrap(), expected);
}
