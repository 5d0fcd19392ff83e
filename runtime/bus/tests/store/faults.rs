//! Disks that fail, bytes that break, and what is read all the same.

use tidemill_bus::log::{Abort, AdminError, Log, Outcome, ReadError, ReadLimit};
use tidemill_bus::notice::Notice;
use tidemill_bus::store::{Store, Sync};
use tidemill_bus::testing::Fault;
use tidemill_bus::transaction::StateWrites;
use tidemill_bus::{Batch, DriverKey, Offset, Partition, TopicPartition, Transaction};

use crate::harness::{ALL, World, aborted, committed, driver, next_of, publish, step, topic, values};

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
                Outcome::Committed(receipt) => {
                    assert_eq!(receipt.runs[0].offset, Offset(acked));
                    acked += 1;
                }
                Outcome::Aborted(Abort::Full(_)) => refused += 1,
                Outcome::Aborted(abort) => {
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

const MARK: &[u8] = b"this value will be broken";

/// A handler of whom the second of three changes in partition 0 is broken, and others beside it.
struct Hurt {
    world: World,
    source: TopicPartition,
    stopped: DriverKey,
    beside: DriverKey,
    sound: DriverKey,
}

fn hurt() -> Hurt {
    let world = World::new(1);
    let store = world.open().unwrap();
    let source = topic(&store, "t").partition(Partition(0));
    let (hurt, sound) = (store.handler_id("hurt").unwrap(), store.handler_id("sound").unwrap());
    let drivers = [driver(hurt, 0), driver(hurt, 1), driver(sound, 0)];
    for (driver, next, value) in [
        (drivers[0], 1, &b"first"[..]),
        (drivers[0], 2, MARK),
        (drivers[0], 3, b"third"),
        (drivers[1], 4, b"beside"),
        (drivers[2], 5, b"sound"),
    ] {
        let mut state = StateWrites::default();
        state.push(b"k", Some(value));
        committed(store.commit(Transaction { state, ..step(&store, driver, source, next) }));
    }
    committed(store.commit(publish(source, &[b"a"])));
    drop(store);
    let [stopped, beside, sound] = drivers;
    Hurt { world: with_one_bit_flipped(world, MARK), source, stopped, beside, sound }
}

impl Hurt {
    fn value(store: &Store, driver: DriverKey) -> Vec<u8> {
        store.state_scan(driver, b"", None, 9).unwrap().remove(0).1
    }

    fn check(&self, store: &Store) {
        let Self { source, stopped: hurt, beside, sound, .. } = *self;
        let error = store.progress(hurt, source.topic).unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
        assert!(store.state_scan(hurt, b"", None, 9).is_err());
        let broken = store.group("hurt").unwrap().broken;
        assert_eq!(broken.iter().map(|(driver, _)| *driver).collect::<Vec<_>>(), [hurt]);
        assert_eq!(aborted(store.commit(step(store, hurt, source, 2))), Abort::Fenced(hurt));
        assert_eq!(store.seek("hurt", source, Offset(0)), Err(AdminError::Stopped(hurt)));
        for (driver, next, value) in [(beside, 4, b"beside".to_vec()), (sound, 5, b"sound".to_vec())] {
            assert_eq!((next_of(store, driver, source), Self::value(store, driver)), (Some(next), value));
            committed(store.commit(step(store, driver, source, next)));
        }
        assert_eq!(values(store, source, Offset(0), ALL), [b"a"]);
    }
}

#[test]
fn a_broken_change_stops_its_driver_until_the_group_is_reset_and_nobody_else() {
    let broken = hurt();
    let store = broken.world.open().unwrap();
    broken.check(&store);
    // The tables remember when the frame is behind them.
    store.close().unwrap();
    drop(store);
    let store = broken.world.open().unwrap();
    assert_eq!(store.recovery().frames_replayed, 1);
    broken.check(&store);
    let new = store.reset_group("hurt").unwrap();
    committed(store.commit(step(&store, driver(new, 0), broken.source, 1)));
    assert_eq!(store.group("hurt").unwrap().broken, []);
}

#[test]
fn a_restored_driver_goes_on_from_what_it_was_before_the_broken_change() {
    for checkpoints in [false, true] {
        let broken = hurt();
        let store = broken.world.open().unwrap();
        let Hurt { source, stopped: hurt, .. } = broken;
        let checkpoint = || {
            if checkpoints {
                store.checkpoint().unwrap();
            }
        };
        checkpoint();
        let restored = store.restore_group("hurt").unwrap();
        assert_eq!(restored.iter().map(|(driver, _)| *driver).collect::<Vec<_>>(), [hurt]);
        assert_eq!((next_of(&store, hurt, source), Hurt::value(&store, hurt)), (Some(1), b"first".to_vec()));
        checkpoint();
        committed(store.commit(step(&store, hurt, source, 2)));
        drop(store);
        let store = broken.world.open().unwrap();
        assert_eq!((next_of(&store, hurt, source), Hurt::value(&store, hurt)), (Some(2), b"first".to_vec()));
        assert_eq!((store.group("hurt").unwrap().broken, store.restore_group("hurt")), (vec![], Ok(vec![])));
        committed(store.commit(step(&store, hurt, source, 3)));
    }
}

/// The world on a disk of its own, all synced, but for one bit of `mark`.
fn with_one_bit_flipped(world: World, mark: &[u8]) -> World {
    let disk = world.disk.copy(2);
    let (name, mut bytes) = (1..9)
        .map(|number| format!("{number:020}.segment"))
        .find_map(|name| Some((name.clone(), disk.bytes(&name)?)))
        .unwrap();
    let at = bytes.windows(mark.len()).position(|bytes| bytes == mark).unwrap();
    bytes[at] ^= 1;
    disk.put(&name, &bytes);
    World { disk, ..world }
}

#[test]
fn a_broken_block_ends_reading_there_and_nowhere_else() {
    const MARK: &[u8] = b"this event will be broken";
    let world = World::new(1);
    let store = world.open().unwrap();
    let topic = topic(&store, "t");
    let (hurt, sound) = (topic.partition(Partition(0)), topic.partition(Partition(1)));
    for values in [&[&b"a"[..], b"b"][..], &[MARK, b"c"], &[b"d"]] {
        committed(store.commit(publish(hurt, values)));
        committed(store.commit(publish(sound, &[b"x"])));
    }
    store.close().unwrap();
    drop(store);
    let store = with_one_bit_flipped(world, MARK).open().unwrap();
    let mut batch = Batch::new(hurt);
    let limit = ReadLimit { events: 2, bytes: usize::MAX };
    assert_eq!(store.read(hurt, Offset(0), limit, &mut batch).unwrap().next, Offset(2));
    for from in [Offset(2), Offset(3)] {
        match store.read(hurt, from, ALL, &mut Batch::new(hurt)).unwrap_err() {
            ReadError::Broken { source_partition, offset, .. } => {
                assert_eq!((source_partition, offset), (hurt, Offset(2)));
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(values(&store, hurt, Offset(4), ALL), [b"d"]);
    assert_eq!(values(&store, sound, Offset(0), ALL).len(), 3);
    committed(store.commit(publish(hurt, &[b"e"])));
}
