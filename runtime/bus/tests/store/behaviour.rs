//! What a store promises beyond surviving: answers, fences, time, retention, reading.

use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_bus::log::{Abort, AdminError, Log, ReadError, ReadLimit, Watcher};
use tidemill_bus::notice::Notice;
use tidemill_bus::store::{Hold, Publish, Retention, Store, Sync};
use tidemill_bus::testing::Fault;
use tidemill_bus::transaction::{IdempotencyKey, Progress, ProgressUpdate, StateWrites};
use tidemill_bus::{Batch, Columns, DriverKey, Event, Offset, Partition, TopicPartition, Transaction};

use crate::harness::{
    ALL, NOW, World, aborted, block, columns, commit_group, committed, driver, publish, topic, values,
};

const HOUR: i64 = 3_600_000;

fn once(transaction: Transaction, key: &str, body: u8) -> Transaction {
    Transaction { once: Some(IdempotencyKey { key: key.to_owned(), body: [body; 32] }), ..transaction }
}

/// A transaction that only moves its driver on.
fn step(store: &Store, driver: DriverKey, source: TopicPartition, next: u64) -> Transaction {
    let progress = Progress { next: Offset(next), ..Progress::default() };
    Transaction {
        driver: Some(driver),
        epoch: store.epoch(driver),
        progress: Some(ProgressUpdate { topic: source.topic, progress }),
        ..Transaction::default()
    }
}

fn next_of(store: &Store, driver: DriverKey, source: TopicPartition) -> Option<u64> {
    store.progress(driver, source.topic).unwrap().map(|progress| progress.next.0)
}

#[test]
fn a_publish_sent_again_is_answered_with_its_runs_and_done_once() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let target = topic(&store, "t").partition(Partition(1));
    let first = committed(store.commit(once(publish(target, &[b"a", b"b"]), "key", 1)));
    assert!(!first.repeated);
    let again = || once(publish(target, &[b"a", b"b"]), "key", 1);
    let repeated = committed(store.commit(again()));
    assert_eq!((repeated.repeated, &repeated.runs), (true, &first.runs));
    assert_eq!(
        aborted(store.commit(once(publish(target, &[b"c"]), "key", 2))),
        Abort::KeyReused("key".to_owned())
    );

    // The store remembers, whether the row is in the journal or in the tables.
    drop(store);
    let store = world.open().unwrap();
    assert!(committed(store.commit(again())).repeated);
    store.checkpoint().unwrap();
    assert!(committed(store.commit(again())).repeated);
    assert_eq!(values(&store, target, Offset(0), ALL), [b"a", b"b"]);

    // After a day it is forgotten.
    world.clock.pass(24 * HOUR + 1);
    assert!(!committed(store.commit(again())).repeated);
}

#[test]
fn a_publish_sent_twice_in_one_group_is_done_once() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    let outcomes = commit_group(
        &store,
        vec![
            once(publish(target, &[b"a"]), "key", 1),
            once(publish(target, &[b"a"]), "key", 1),
            once(publish(target, &[b"b"]), "key", 2),
        ],
    );
    let [first, second, third] = <[_; 3]>::try_from(outcomes).unwrap();
    let (first, second) = (committed(first), committed(second));
    assert_eq!((first.repeated, second.repeated, first.runs), (false, true, second.runs));
    assert!(matches!(aborted(third), Abort::KeyReused(_)));
    assert_eq!(values(&store, target, Offset(0), ALL).len(), 1);
}

#[test]
fn an_abort_takes_what_its_driver_had_in_flight_behind_it_and_nothing_else() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let source = topic(&store, "in").partition(Partition(0));
    let gone = topic(&store, "gone").partition(Partition(0));
    store.delete_topic("gone").unwrap();
    let handler = store.handler_id("h").unwrap();
    let (driver_0, driver_1) = (driver(handler, 0), driver(handler, 1));
    let early = step(&store, driver_0, source, 9);
    let outcomes = commit_group(
        &store,
        vec![
            step(&store, driver_0, source, 1),
            step(&store, driver_0, gone, 1),
            step(&store, driver_0, source, 2),
            step(&store, driver_1, source, 3),
        ],
    );
    let [first, second, third, other] = <[_; 4]>::try_from(outcomes).unwrap();
    committed(first);
    assert_eq!(aborted(second), Abort::TopicGone(gone.topic));
    assert_eq!(aborted(third), Abort::Fenced(driver_0));
    committed(other);
    assert_eq!(next_of(&store, driver_0, source), Some(1));

    // What comes late from the epoch before does not end the epoch that the driver has begun.
    let begun = step(&store, driver_0, source, 2);
    assert_eq!(aborted(store.commit(early)), Abort::Fenced(driver_0));
    committed(store.commit(begun));
    assert_eq!(next_of(&store, driver_0, source), Some(2));
}

#[test]
fn a_seek_fences_what_was_read_before_it() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let source = topic(&store, "in").partition(Partition(0));
    committed(store.commit(publish(source, &[b"a", b"b", b"c"])));
    let handler = store.handler_id("h").unwrap();
    let driver = driver(handler, 0);
    committed(store.commit(step(&store, driver, source, 2)));
    assert_eq!(store.group("h").unwrap().lag(), 1);
    let in_flight = step(&store, driver, source, 3);
    store.seek("h", source, Offset(0)).unwrap();
    assert_eq!(aborted(store.commit(in_flight)), Abort::Fenced(driver));
    assert_eq!((next_of(&store, driver, source), store.group("h").unwrap().lag()), (Some(0), 3));
    committed(store.commit(step(&store, driver, source, 1)));
}

#[test]
fn a_reset_handler_begins_anew_under_another_id() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let source = topic(&store, "in").partition(Partition(0));
    let old = store.handler_id("h").unwrap();
    let mut state = StateWrites::default();
    state.push(b"k", Some(b"v"));
    let transaction = Transaction { state, ..step(&store, driver(old, 0), source, 1) };
    committed(store.commit(transaction.clone()));
    store.checkpoint().unwrap();
    let new = store.reset_group("h").unwrap();
    assert!(new > old);
    assert!(store.progress(driver(old, 0), source.topic).is_err());
    assert_eq!(next_of(&store, driver(new, 0), source), None);
    assert_eq!(store.state_scan(driver(new, 0), b"", None, 9).unwrap(), []);
    assert!(matches!(aborted(store.commit(transaction)), Abort::Fenced(_)));

    // The rows of the dead go from the tables.
    store.checkpoint().unwrap();
    store.delete_group("h").unwrap();
    assert_eq!(store.delete_group("h"), Err(AdminError::UnknownGroup("h".to_owned())));
    drop(store);
    let store = world.open().unwrap();
    assert_eq!((store.groups(), store.handler_id("h").unwrap() > new), (vec![], true));
}

#[test]
fn a_topic_deleted_and_created_again_is_another_one_to_a_handler_that_lags() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let old = topic(&store, "in").partition(Partition(0));
    committed(store.commit(publish(old, &[b"a", b"b"])));
    let driver = driver(store.handler_id("h").unwrap(), 0);
    committed(store.commit(step(&store, driver, old, 1)));
    store.delete_topic("in").unwrap();
    let new = topic(&store, "in").partition(Partition(0));
    committed(store.commit(publish(new, &[b"c"])));

    assert_eq!(store.read(old, Offset(1), ALL, &mut Batch::new(old)), Err(ReadError::Unknown(old)));
    assert_eq!(aborted(store.commit(step(&store, driver, old, 2))), Abort::TopicGone(old.topic));
    assert_eq!(aborted(store.commit(publish(old, &[b"x"]))), Abort::TopicGone(old.topic));
    assert_eq!(next_of(&store, driver, new), None);
    store.checkpoint().unwrap();
    drop(store);
    let store = world.open().unwrap();
    assert_eq!(values(&store, new, Offset(0), ALL), [b"c"]);
    assert_eq!((next_of(&store, driver, old), store.groups()[0].partitions.len()), (None, 0));
    assert_eq!(
        store.create_topic("in", Some(5)),
        Err(AdminError::Exists { name: "in".into(), partitions: 2 })
    );
}

#[test]
fn append_times_follow_a_clock_that_steps_back_and_leaps_ahead_as_far_as_they_may() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    let mut expected = Vec::new();
    for (wall, append_time) in
        [(NOW, NOW), (NOW - 5 * HOUR, NOW), (NOW + 5, NOW + 5), (NOW + 900 * HOUR, NOW + 5)]
    {
        world.clock.set_wall(wall);
        committed(store.commit(publish(target, &[b"x"])));
        expected.push(append_time);
    }
    assert!(matches!(store.notices()[..], [Notice::ClockLeapt { .. }]));
    let check = |store: &Store| {
        let mut batch = Batch::new(target);
        store.read(target, Offset(0), ALL, &mut batch).unwrap();
        let times: Vec<i64> = (0..batch.len()).map(|index| batch.append_time(index)).collect();
        assert_eq!(times, expected);
    };
    check(&store);

    // A store that is opened with a clock behind it goes on from where it was.
    drop(store);
    world.clock.set_wall(NOW - 48 * HOUR);
    let store = world.open().unwrap();
    check(&store);
    assert_eq!(store.now_ms(), NOW + 5);
    assert_eq!(store.position_at(target, NOW + 1).unwrap(), Offset(2));
    assert_eq!(store.position_at(target, NOW + 6).unwrap(), Offset(4));
    assert_eq!(store.position_at(target, i64::MIN).unwrap(), Offset(0));
}

#[test]
fn an_event_of_the_year_2100_keeps_its_time_and_moves_no_clock() {
    const YEAR_2100: i64 = 4_102_444_800_000;
    let world = World::new(1);
    let store = world.open().unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    let mut columns = Columns::default();
    columns.push(Event { time: YEAR_2100, key: None, headers: &[], value: Some(b"x") });
    let transaction = Transaction { blocks: vec![block(target, columns)], ..Transaction::default() };
    committed(store.commit(transaction));
    let mut batch = Batch::new(target);
    store.read(target, Offset(0), ALL, &mut batch).unwrap();
    assert_eq!((batch.columns.times[0], batch.append_time(0), store.now_ms()), (YEAR_2100, NOW, NOW));
}

#[test]
fn events_go_where_kafka_would_put_them_and_keep_their_order() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let topic = store.create_topic("t", Some(7)).unwrap();
    let mut events = Columns::default();
    for index in 0..100_u32 {
        let key = (index % 10).to_le_bytes();
        let value = index.to_le_bytes();
        events.push(Event {
            time: 0,
            key: (index % 3 > 0).then_some(&key),
            headers: &[],
            value: Some(&value),
        });
    }
    let request = || Publish { topic: &topic, events: &events, once: None };
    let receipt = committed(store.publish_and_wait(request()).unwrap());
    assert_eq!(receipt.runs.iter().map(|run| run.count).sum::<u32>(), 100);
    assert!(receipt.runs.is_sorted_by_key(|run| (run.partition, run.offset)));
    for run in &receipt.runs {
        let found = values(&store, topic.partition(run.partition), Offset(0), ALL);
        assert!(found.is_sorted_by_key(|value| u32::from_le_bytes(value[..].try_into().unwrap())));
    }
    let keyless = |receipt: tidemill_bus::log::Receipt| receipt.runs[0].partition;
    let mut only = Columns::default();
    only.push(Event { time: 0, key: None, headers: &[], value: None });
    let turns: std::collections::BTreeSet<Partition> = (0..7)
        .map(|_| keyless(committed(store.publish_and_wait(Publish { events: &only, ..request() }).unwrap())))
        .collect();
    assert_eq!(turns.len(), 7);
}

#[test]
fn reading_in_small_steps_gives_the_same_events_from_memory_and_from_the_disk() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    let all: Vec<Vec<u8>> =
        (0..200_u32).map(|index| index.to_le_bytes().repeat(1 + index as usize % 40)).collect();
    for chunk in all.chunks(7) {
        let chunk: Vec<&[u8]> = chunk.iter().map(Vec::as_slice).collect();
        committed(store.commit(publish(target, &chunk)));
    }
    let check = |store: &Store| {
        for (events, bytes) in
            [(usize::MAX, usize::MAX), (1, usize::MAX), (10, usize::MAX), (usize::MAX, 1), (usize::MAX, 500)]
        {
            let limit = ReadLimit { events, bytes };
            assert_eq!(values(store, target, Offset(0), limit), all, "{limit:?}");
            assert_eq!(values(store, target, Offset(13), limit), all[13..], "{limit:?}");
        }
    };
    check(&store);
    assert_eq!(store.metrics().disk_reads, 0);
    drop(store);
    let store = world.open().unwrap();
    check(&store);
    assert!(store.metrics().disk_reads > 0);
}

#[test]
fn retention_waits_for_groups_and_never_frees_what_is_not_in_the_tables() {
    let mut world = World::new(1);
    world.options.retention = Retention { age: None, bytes: Some(0), hold: Hold::Handlers };
    let store = world.open().unwrap();
    let source = topic(&store, "t").partition(Partition(0));
    let driver = driver(store.handler_id("h").unwrap(), 0);
    committed(store.commit(step(&store, driver, source, 0)));
    for _ in 0..40 {
        committed(store.commit(publish(source, &[&[7; 10_000]])));
    }
    store.checkpoint().unwrap();
    assert_eq!(store.retain().unwrap(), 0);
    committed(store.commit(step(&store, driver, source, 20)));
    assert!(store.retain().unwrap() > 0);
    let start = store.range(source).unwrap().start;
    assert!((Offset(1)..=Offset(20)).contains(&start), "{start}");
    let gone = |start| Err(ReadError::Gone { source_partition: source, asked: Offset(0), start });
    assert_eq!(store.read(source, Offset(0), ALL, &mut Batch::new(source)), gone(start));
    drop(store);
    // A segment that was given up and not used again yet may come back.
    let store = world.open().unwrap();
    let start = store.range(source).unwrap().start;
    assert!((Offset(1)..=Offset(20)).contains(&start), "{start}");
    assert_eq!(store.read(source, Offset(0), ALL, &mut Batch::new(source)), gone(start));
    assert_eq!(values(&store, source, start, ALL).len() as u64, 40 - start.0);

    // With nobody to wait for, what a group loses is counted.
    drop(store);
    world.options.retention.hold = Hold::None;
    let store = world.open().unwrap();
    assert!(store.retain().unwrap() > 0);
    let start = store.range(source).unwrap().start;
    assert_eq!(store.metrics().events_lost, start.0 - 20);
    assert!(matches!(store.notices()[0], Notice::Lost { .. }));
}

#[test]
fn old_events_go_by_their_append_time() {
    let mut world = World::new(1);
    let age = std::time::Duration::from_mins(1);
    world.options.retention = Retention { age: Some(age), bytes: None, hold: Hold::Handlers };
    let store = world.open().unwrap();
    let source = topic(&store, "t").partition(Partition(0));
    let fill = || (0..20).for_each(|_| drop(committed(store.commit(publish(source, &[&[7; 10_000]])))));
    fill();
    world.clock.pass(50_000);
    fill();
    store.checkpoint().unwrap();
    assert_eq!(store.retain().unwrap(), 0);
    world.clock.pass(20_000);
    assert!(store.retain().unwrap() > 0);
    let start = store.range(source).unwrap().start;
    assert!((Offset(1)..=Offset(20)).contains(&start), "{start}");
}

#[test]
fn the_end_of_a_partition_outlives_its_last_segment() {
    let mut world = World::new(1);
    world.options.retention = Retention { age: None, bytes: Some(0), hold: Hold::Handlers };
    let store = world.open().unwrap();
    let topic = topic(&store, "t");
    committed(store.commit(publish(topic.partition(Partition(0)), &[b"a", b"b", b"c"])));
    for _ in 0..40 {
        committed(store.commit(publish(topic.partition(Partition(1)), &[&[7; 10_000]])));
    }
    store.checkpoint().unwrap();
    store.retain().unwrap();
    store.close().unwrap();
    drop(store);
    let store = world.open().unwrap();
    let source = topic.partition(Partition(0));
    let range = store.range(source).unwrap();
    assert_eq!((range.start, range.end), (Offset(3), Offset(3)));
    assert_eq!(committed(store.commit(publish(source, &[b"d"]))).runs[0].offset, Offset(3));
}

#[test]
fn after_a_failed_sync_nothing_more_is_taken_and_reading_goes_on() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    committed(store.commit(publish(target, &[b"a"])));
    // The next commit is a write and a sync.
    world.disk.fail_at(world.disk.calls() + 1, Fault::Io);
    assert!(matches!(aborted(store.commit(publish(target, &[b"b"]))), Abort::Poisoned(_)));
    assert!(matches!(aborted(store.commit(publish(target, &[b"c"]))), Abort::Poisoned(_)));
    assert!(matches!(store.create_topic("u", None), Err(AdminError::Aborted(Abort::Poisoned(_)))));
    assert!(matches!(store.notices()[..], [Notice::Poisoned(_)]));
    assert!(store.close().is_err());
    assert_eq!(values(&store, target, Offset(0), ALL), [b"a"]);
    drop(store);
    let store = world.open().unwrap();
    let found = values(&store, target, Offset(0), ALL);
    assert!(found == [b"a"] || found == [b"a", b"b"], "{found:?}");
    committed(store.commit(publish(target, &[b"d"])));
}

#[test]
fn a_full_disk_aborts_by_name_or_poisons_and_loses_nothing_acknowledged() {
    let calls = |until: usize| {
        let world = World::new(1);
        let store = world.open().unwrap();
        let target = topic(&store, "t").partition(Partition(0));
        (0..until).for_each(|_| drop(committed(store.commit(publish(target, &[&[7; 9_000]])))));
        world.disk.calls()
    };
    let mut refused = 0;
    for call in calls(0)..calls(20) {
        let world = World::new(1);
        let store = world.open().unwrap();
        let target = topic(&store, "t").partition(Partition(0));
        world.disk.fail_at(call, Fault::Full);
        let mut acked = 0;
        for _ in 0..20 {
            match store.commit(publish(target, &[&[7; 9_000]])) {
                tidemill_bus::log::Outcome::Committed(receipt) => {
                    assert_eq!(receipt.runs[0].offset, Offset(acked));
                    acked += 1;
                }
                tidemill_bus::log::Outcome::Aborted(Abort::Full(_)) => refused += 1,
                tidemill_bus::log::Outcome::Aborted(abort) => {
                    assert!(matches!(abort, Abort::Poisoned(_)), "{abort}");
                }
            }
        }
        assert_eq!(values(&store, target, Offset(0), ALL).len() as u64, acked, "call {call}");
        drop(store);
        let found = values(&world.open().unwrap(), target, Offset(0), ALL).len() as u64;
        assert!(found == acked || found == acked + 1, "call {call}: {found} of {acked}");
    }
    assert!(refused > 0);
}

#[test]
fn with_a_duration_a_power_cut_takes_the_end_only_and_a_checkpoint_syncs_first() {
    for seed in 0..30 {
        let mut world = World::new(seed);
        world.options.sync = Sync::Every(std::time::Duration::from_hours(1));
        let store = world.open().unwrap();
        let target = topic(&store, "t").partition(Partition(0));
        let put = |from: u64, to: u64| {
            (from..to).for_each(|n| drop(committed(store.commit(publish(target, &[&n.to_le_bytes()])))));
        };
        put(0, 5);
        store.sync().unwrap();
        put(5, 10);
        let cut = world.after_crash(seed, None);
        let found = values(&cut.open().unwrap(), target, Offset(0), ALL);
        assert!(found.len() >= 5, "seed {seed}");
        assert!((0..).zip(&found).all(|(n, value)| value[..] == u64::to_le_bytes(n)), "seed {seed}");
        store.checkpoint().unwrap();
        let cut = world.after_crash(seed, Some(world.tables.flushes().len() - 1));
        assert_eq!(values(&cut.open().unwrap(), target, Offset(0), ALL).len(), 10, "seed {seed}");
    }
}

#[test]
fn a_failed_checkpoint_is_made_up_for() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    world.tables.fail_next_flush();
    assert!(store.checkpoint().is_err());
    committed(store.commit(publish(target, &[b"a"])));
    store.checkpoint().unwrap();
    store.checkpoint().unwrap();
    assert_eq!(store.metrics().persisted_frame, store.metrics().applied_frame);
    store.close().unwrap();
    drop(store);
    let store = world.open().unwrap();
    // The closing frame alone is after the tables.
    assert_eq!((store.recovery().frames_replayed, store.recovery().clean), (1, true));
    assert_eq!(values(&store, target, Offset(0), ALL), [b"a"]);
}

struct Moved(Mutex<Vec<Vec<TopicPartition>>>);

impl Watcher for Moved {
    fn moved(&self, moved: &[TopicPartition]) {
        self.0.lock().push(moved.to_vec());
    }
}

#[test]
fn watchers_hear_once_per_commit_which_partitions_moved() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let topic = topic(&store, "t");
    let (zero, one) = (topic.partition(Partition(0)), topic.partition(Partition(1)));
    let moved = Arc::new(Moved(Mutex::default()));
    store.watch(Arc::clone(&moved) as _);
    commit_group(&store, vec![publish(one, &[b"a"]), publish(zero, &[b"b"]), publish(one, &[b"c"])]);
    committed(store.commit(Transaction { blocks: vec![block(one, columns(&[]))], ..Transaction::default() }));
    assert_eq!(*moved.0.lock(), [vec![zero, one]]);
}

#[test]
fn a_closed_store_refuses_and_can_be_read() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    committed(store.commit(publish(target, &[b"a"])));
    store.close().unwrap();
    assert_eq!(aborted(store.commit(publish(target, &[b"b"]))), Abort::Closing);
    assert_eq!(store.create_topic("u", None), Err(AdminError::Aborted(Abort::Closing)));
    assert_eq!(values(&store, target, Offset(0), ALL), [b"a"]);
}

#[test]
fn a_broken_change_stops_its_handler_until_it_is_reset_and_nobody_else() {
    const MARK: &[u8] = b"this value will be broken";
    let world = World::new(1);
    let store = world.open().unwrap();
    let source = topic(&store, "t").partition(Partition(0));
    let (hurt, sound) = (store.handler_id("hurt").unwrap(), store.handler_id("sound").unwrap());
    for (handler, value) in [(hurt, MARK), (sound, b"sound")] {
        let mut state = StateWrites::default();
        state.push(b"k", Some(value));
        committed(store.commit(Transaction { state, ..step(&store, driver(handler, 0), source, 1) }));
    }
    committed(store.commit(publish(source, &[b"a"])));
    drop(store);
    // The disk as it is, but for one bit in a frame that a later one says was synced.
    let broken = World { disk: world.disk.copy(2), ..world };
    let (name, mut bytes) = (1..9)
        .map(|number| format!("{number:020}.segment"))
        .find_map(|name| Some((name.clone(), broken.disk.bytes(&name)?)))
        .unwrap();
    let at = bytes.windows(MARK.len()).position(|bytes| bytes == MARK).unwrap();
    bytes[at] ^= 1;
    broken.disk.put(&name, &bytes);

    let check = |store: &Store| {
        let error = store.progress(driver(hurt, 0), source.topic).unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
        assert!(store.state_scan(driver(hurt, 0), b"", None, 9).is_err());
        assert!(store.group("hurt").unwrap().broken.is_some());
        let transaction = step(store, driver(hurt, 0), source, 2);
        assert_eq!(aborted(store.commit(transaction)), Abort::Fenced(driver(hurt, 0)));
        assert_eq!(next_of(store, driver(sound, 0), source), Some(1));
        assert_eq!(values(store, source, Offset(0), ALL), [b"a"]);
    };
    let store = broken.open().unwrap();
    check(&store);
    // The tables remember when the frame is behind them.
    store.close().unwrap();
    drop(store);
    let store = broken.open().unwrap();
    assert_eq!(store.recovery().frames_replayed, 1);
    check(&store);
    let new = store.reset_group("hurt").unwrap();
    committed(store.commit(step(&store, driver(new, 0), source, 1)));
    assert_eq!(store.group("hurt").unwrap().broken, None);
}
