//! Append times and retention: what the clock may do, and what may go.

use tidemill_bus::log::{Log, ReadError};
use tidemill_bus::notice::Notice;
use tidemill_bus::store::{Hold, Retention, Store, Sync};
use tidemill_bus::{Batch, Columns, Event, Offset, Partition, Transaction};

use crate::harness::{ALL, NOW, World, block, committed, driver, publish, step, topic, values};

const HOUR: i64 = 3_600_000;

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
fn progress_that_is_not_synced_frees_nothing_that_a_power_cut_would_ask_for_again() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.options.retention = Retention { age: None, bytes: Some(0), hold: Hold::Handlers };
        world.options.sync = Sync::Every(std::time::Duration::from_hours(1));
        let store = world.open().unwrap();
        let source = topic(&store, "t").partition(Partition(0));
        let driver = driver(store.handler_id("h").unwrap(), 0);
        committed(store.commit(step(&store, driver, source, 0)));
        (0..20).for_each(|_| drop(committed(store.commit(publish(source, &[&[7; 10_000]])))));
        store.checkpoint().unwrap();
        committed(store.commit(step(&store, driver, source, 20)));
        assert!(store.retain().unwrap() > 0);
        let cut = world.after_crash(seed, Some(world.tables.flushes().len() - 1));
        let store = cut.open().unwrap();
        let next = store.progress(driver, source.topic).unwrap().unwrap().next;
        assert!(store.range(source).unwrap().start <= next, "seed {seed}");
    }
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
