//! Panics in what the committer calls, and in the committer itself; and who reads the tree for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tidemill_bus::clock::{Clock, ManualClock};
use tidemill_bus::log::{Abort, Answer, Answered, Log, Outcome, Row, Watcher};
use tidemill_bus::notice::Notice;
use tidemill_bus::store::{Background, Parts, Store};
use tidemill_bus::tables::{Entry, Living, ModelTables, Tree, TreeError};
use tidemill_bus::transaction::IdempotencyKey;
use tidemill_bus::{Offset, Partition, TopicPartition, Transaction};

use crate::harness::{ALL, NOW, World, aborted, committed, publish, topic, values};

const COMMITTER: &str = "tidemill-commit";

fn is_committer() -> bool {
    std::thread::current().name() == Some(COMMITTER)
}

struct Panics;

impl Watcher for Panics {
    fn moved(&self, _: &[TopicPartition]) {
        panic!("this watcher panics");
    }
}

impl Answered for Panics {
    fn answered(&self, _: u64, _: Outcome) {
        panic!("this receiver panics");
    }
}

#[test]
fn a_panic_in_a_watcher_or_a_receiver_is_said_and_the_committer_goes_on() {
    for background in [Background::Manual, Background::Threads] {
        let mut world = World::new(1);
        world.options.background = background;
        let store = world.open().unwrap();
        let target = topic(&store, "t").partition(Partition(0));
        store.watch(Arc::new(Panics));
        store.submit(publish(target, &[b"a"]), Answer { to: Arc::new(Panics), token: 0 });
        committed(store.commit(publish(target, &[b"b"])));
        assert_eq!(values(&store, target, Offset(0), ALL), [b"a", b"b"]);
        let said: Vec<String> = store.notices().iter().map(ToString::to_string).collect();
        for who in ["a watcher panicked", "the receiver of an answer panicked"] {
            assert!(said.iter().any(|said| said.contains(who)), "{said:?}");
        }
        store.close().unwrap();
    }
}

/// A clock that panics when the committer asks it.
struct PanicClock(ManualClock, AtomicBool);

impl Clock for PanicClock {
    fn wall_ms(&self) -> i64 {
        assert!(!(is_committer() && self.1.load(Ordering::Acquire)), "this clock panics");
        self.0.wall_ms()
    }

    fn monotonic_ms(&self) -> i64 {
        self.0.monotonic_ms()
    }
}

#[test]
fn a_panic_of_the_committer_stops_the_store_and_whoever_waits_is_told() {
    let mut world = World::new(1);
    world.options.background = Background::Threads;
    let clock = Arc::new(PanicClock(ManualClock::at(NOW), AtomicBool::new(false)));
    let parts = Parts {
        disk: Arc::new(world.disk.clone()),
        tree: Box::new(world.tables.clone()),
        clock: Arc::clone(&clock) as _,
    };
    let store = Store::open_on(parts, world.options.clone()).unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    committed(store.commit(publish(target, &[b"a"])));
    clock.1.store(true, Ordering::Release);
    for _ in 0..3 {
        assert!(matches!(aborted(store.commit(publish(target, &[b"b"]))), Abort::Poisoned(_)));
    }
    assert!(store.create_topic("u", None).is_err());
    assert!(matches!(&store.notices()[..], [Notice::Poisoned(what)] if what.contains("this clock panics")));
    assert_eq!(values(&store, target, Offset(0), ALL), [b"a"]);
    assert!(store.close().is_err());
    drop(store);
    assert_eq!(values(&world.open().unwrap(), target, Offset(0), ALL), [b"a"]);
}

/// Tables that count what the committer reads of them.
struct Counted(ModelTables, Arc<AtomicUsize>);

impl Tree for Counted {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TreeError> {
        self.1.fetch_add(usize::from(is_committer()), Ordering::AcqRel);
        self.0.get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, TreeError> {
        self.1.fetch_add(usize::from(is_committer()), Ordering::AcqRel);
        self.0.scan(prefix, after, limit)
    }

    fn persist(&self, frame: u64, entries: &mut dyn Iterator<Item = Entry>) -> Result<(), TreeError> {
        self.0.persist(frame, entries)
    }

    fn persisted(&self) -> u64 {
        self.0.persisted()
    }

    fn retain(&self, living: Living) {
        self.0.retain(living);
    }

    fn compact(&self) -> Result<(), TreeError> {
        self.0.compact()
    }
}

#[test]
fn an_idempotency_key_is_never_looked_up_in_the_tree_by_the_committer() {
    let mut world = World::new(1);
    world.options.background = Background::Threads;
    let reads = Arc::new(AtomicUsize::new(0));
    let parts = Parts {
        disk: Arc::new(world.disk.clone()),
        tree: Box::new(Counted(world.tables.clone(), Arc::clone(&reads))),
        clock: Arc::clone(&world.clock) as _,
    };
    let store = Store::open_on(parts, world.options.clone()).unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    let send = |key: u32| {
        let once = IdempotencyKey { key: key.to_string(), body: [1; 32] };
        committed(store.commit(Transaction { once: Some(once), ..publish(target, &[b"a"]) })).repeated
    };
    for key in 0..30 {
        assert!(!send(key));
        if key % 7 == 0 {
            store.checkpoint().unwrap();
        }
    }
    assert!((0..30).all(send));
    store.checkpoint().unwrap();
    assert!((0..30).all(send));
    assert_eq!(reads.load(Ordering::Acquire), 0);
}
