//! What a transaction is answered: once, fenced, to the life that it named.

use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_bus::log::{Abort, AdminError, Log, ReadError, Watcher};
use tidemill_bus::transaction::{IdempotencyKey, StateWrites};
use tidemill_bus::{Batch, Offset, Partition, TopicPartition, Transaction};

use crate::harness::{
    ALL, World, aborted, block, columns, commit_group, committed, driver, next_of, publish, step, topic,
    values,
};

const HOUR: i64 = 3_600_000;

fn once(transaction: Transaction, key: &str, body: u8) -> Transaction {
    Transaction { once: Some(IdempotencyKey { key: key.to_owned(), body: [body; 32] }), ..transaction }
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
fn what_is_noted_of_a_handler_outlives_the_store_and_goes_with_its_group() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let handler = store.handler_id("h").unwrap();
    assert_eq!(store.note(handler), Ok(None));
    store.set_note(handler, b"first").unwrap();
    store.set_note(handler, b"second").unwrap();
    drop(store);
    let store = world.open().unwrap();
    assert_eq!(store.note(handler), Ok(Some(b"second".to_vec())));
    store.checkpoint().unwrap();
    assert_eq!(store.note(handler), Ok(Some(b"second".to_vec())));
    let next = store.reset_group("h").unwrap();
    assert_eq!((store.note(handler), store.note(next)), (Ok(None), Ok(None)));
    assert_eq!(store.set_note(handler, b"third"), Err(AdminError::UnknownGroup("of handler 1".to_owned())));
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
