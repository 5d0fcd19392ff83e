//! A disk that fills: who stops, in which order, what is said, and how it goes on.

use tidemill_bus::limits::{ROOM_HANDLERS_STOP, ROOM_HOLDERS_STOP, ROOM_PUBLISHERS_STOP};
use tidemill_bus::log::{Abort, Log, Outcome};
use tidemill_bus::notice::Notice;
use tidemill_bus::store::{Hold, Mark, Retention, Store};
use tidemill_bus::{DriverKey, Offset, Partition, TopicPartition, Transaction};

use crate::harness::{ALL, World, aborted, committed, driver, publish, step, topic, values};

const SEGMENT: u64 = 64 << 10;

fn world(segments: u64) -> World {
    let mut world = World::new(1);
    world.options.retention = Retention { age: None, bytes: Some(0), hold: Hold::Handlers };
    world.options.journal.first_segment_bytes = SEGMENT;
    world.disk.set_capacity(segments * SEGMENT + 4096);
    world
}

/// Commits until the disk is too full for it; the words of the refusal.
fn fill(store: &Store, transaction: impl Fn() -> Transaction) -> String {
    for _ in 0..1_000 {
        match store.commit(transaction()) {
            Outcome::Committed(_) => {}
            Outcome::Aborted(Abort::Full(words)) => return words.to_string(),
            Outcome::Aborted(other) => panic!("{other}"),
        }
    }
    panic!("the disk does not fill");
}

struct Case {
    input: TopicPartition,
    output: TopicPartition,
    slow: DriverKey,
    quick: DriverKey,
}

/// A handler that has read nothing, and one that has read all there is.
fn case(store: &Store) -> Case {
    let (input, output) =
        (topic(store, "in").partition(Partition(0)), topic(store, "out").partition(Partition(1)));
    let [slow, quick] = ["slow", "quick"].map(|name| driver(store.handler_id(name).unwrap(), 0));
    committed(store.commit(step(store, slow, input, 0)));
    committed(store.commit(step(store, quick, input, 1_000)));
    Case { input, output, slow, quick }
}

#[test]
fn a_disk_that_fills_stops_one_after_the_other_and_recovers() {
    let world = world(14);
    let store = world.open().unwrap();
    let Case { input, output, slow, quick } = case(&store);
    assert_eq!(store.disk_room().unwrap().mark, Mark::Free);
    let emit = |by: DriverKey, next| {
        let blocks = publish(output, &[&[7; 9_000]]).blocks;
        Transaction { blocks, ..step(&store, by, input, next) }
    };
    let words = fill(&store, || publish(input, &[&[7; 9_000]]));
    let room = store.disk_room().unwrap();
    assert_eq!((room.segments, room.mark), (ROOM_PUBLISHERS_STOP, Mark::NoPublishers));
    assert!(words.contains("publishers wait"), "{words}");

    let words = fill(&store, || emit(quick, 1_000));
    let room = store.disk_room().unwrap();
    assert_eq!((room.segments, room.mark), (ROOM_HANDLERS_STOP, Mark::HoldersOnly));
    assert!(words.contains("slow holds"), "{words}");
    assert_eq!(room.holders.iter().map(|holder| &*holder.name).collect::<Vec<_>>(), ["slow"]);
    assert!(room.holders[0].bytes >= 5 * SEGMENT, "{room:?}");

    let words = fill(&store, || emit(slow, 1));
    let room = store.disk_room().unwrap();
    assert_eq!((room.segments, room.mark), (ROOM_HOLDERS_STOP, Mark::Full));
    assert!(words.contains("slow holds") && words.contains("seek or delete"), "{words}");
    assert!(matches!(aborted(store.commit(publish(input, &[b"x"]))), Abort::Full(_)));
    // What there is can be read, and nothing is released while it is held.
    store.checkpoint().unwrap();
    assert_eq!(store.retain().unwrap(), 0);
    let end = store.range(input).unwrap().end;
    assert_eq!(values(&store, input, Offset(0), ALL).len() as u64, end.0);

    // The operator's way out.
    store.seek("slow", input, end).unwrap();
    store.checkpoint().unwrap();
    assert!(store.retain().unwrap() > 0);
    assert_eq!(store.disk_room().unwrap().mark, Mark::Free);
    committed(store.commit(publish(input, &[b"x"])));
    committed(store.commit(emit(quick, 1_000)));
    let said: Vec<_> =
        store.notices().into_iter().filter(|notice| matches!(notice, Notice::Disk(_))).collect();
    assert_eq!(said.len(), 4, "{said:?}");
}

#[test]
fn a_power_cut_while_the_disk_is_full_loses_nothing_and_the_next_opening_goes_on() {
    let run = |world: &World| {
        let Ok(store) = world.open() else { return 0 };
        let Ok(topic) = store.create_topic("in", Some(2)) else { return 0 };
        let target = topic.partition(Partition(0));
        let mut acked = 0;
        for _ in 0..60 {
            acked +=
                u64::from(matches!(store.commit(publish(target, &[&[7; 9_000]])), Outcome::Committed(_)));
        }
        acked
    };
    let calls = {
        let world = world(8);
        assert!((10..60).contains(&run(&world)));
        world.disk.calls()
    };
    for call in (0..calls).step_by(3) {
        let first = world(8);
        first.disk.crash_at(call);
        let acked = run(&first);
        let second = first.after_crash(call, None);
        second.disk.set_capacity(20 * SEGMENT);
        let store = second.open().unwrap();
        let target = topic(&store, "in").partition(Partition(0));
        let found = store.range(target).unwrap().end.0;
        assert!(found == acked || found == acked + 1, "call {call}: {found} of {acked}");
        committed(store.commit(publish(target, &[b"x"])));
    }
}
