//! Producers that number their publishes: each is done once and in its order, over restarts and in one group.

use tidemill_bus::limits::{PRODUCER_AGE_MAX, PRODUCER_BYTES_MAX};
use tidemill_bus::log::{Abort, ProducerFault};
use tidemill_bus::notice::Notice;
use tidemill_bus::store::Store;
use tidemill_bus::transaction::ProducerSequence;
use tidemill_bus::{Offset, Partition, TopicPartition, Transaction};

use crate::harness::{ALL, World, aborted, commit_group, committed, publish, topic, values};

fn numbered(target: TopicPartition, epoch: u32, sequence: u64, values: &[&[u8]]) -> Transaction {
    let producer = Some(ProducerSequence { producer: "pen".to_owned(), epoch, sequence });
    Transaction { producer, ..publish(target, values) }
}

fn fault(store: &Store, transaction: Transaction) -> ProducerFault {
    match aborted(store.commit(transaction)) {
        Abort::Producer { producer, fault } => {
            assert_eq!(&*producer, "pen");
            fault
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_a_producer_sends_again_is_done_once_and_in_its_order() {
    let world = World::new(1);
    let mut store = world.open().unwrap();
    let target = topic(&store, "t").partition(Partition(1));
    let mut first = Vec::new();
    for sequence in 0..20 {
        let receipt = committed(store.commit(numbered(target, 1, sequence, &[b"a", b"b"])));
        assert!(!receipt.repeated);
        first.push(receipt.runs);
        match sequence {
            5 => store = reopened(&world, store),
            9 | 13 => store.checkpoint().unwrap(),
            _ => {}
        }
    }
    for checkpoints in 0..4 {
        for sequence in 4..20 {
            let again = committed(store.commit(numbered(target, 1, sequence, &[b"a", b"b"])));
            assert_eq!((again.repeated, &again.runs), (true, &first[usize::try_from(sequence).unwrap()]));
        }
        let forgotten = fault(&store, numbered(target, 1, 3, &[b"a"]));
        assert_eq!(forgotten, ProducerFault::Forgotten { sequence: 3 });
        let gap = fault(&store, numbered(target, 1, 21, &[b"a"]));
        assert_eq!(gap, ProducerFault::Gap { sequence: 21, expected: 20 });
        match checkpoints {
            1 => store = reopened(&world, store),
            _ => store.checkpoint().unwrap(),
        }
    }
    // Another life shuts the old one out.
    committed(store.commit(numbered(target, 2, 0, &[b"c"])));
    let fenced = fault(&store, numbered(target, 1, 20, &[b"a"]));
    assert_eq!(fenced, ProducerFault::Fenced { epoch: 1, newest: 2 });
    assert_eq!(values(&store, target, Offset(0), ALL).len(), 41);
}

fn reopened(world: &World, store: Store) -> Store {
    drop(store);
    world.open().unwrap()
}

#[test]
fn in_one_group_each_number_is_next_to_the_one_before() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    let outcomes = commit_group(
        &store,
        vec![
            numbered(target, 0, 0, &[b"0"]),
            numbered(target, 0, 2, &[b"gap"]),
            numbered(target, 0, 1, &[b"1"]),
            numbered(target, 0, 0, &[b"0"]),
            numbered(target, 1, 0, &[b"new"]),
            numbered(target, 0, 2, &[b"fenced"]),
        ],
    );
    let [zero, gap, one, again, new, fenced] = <[_; 6]>::try_from(outcomes).unwrap();
    let (zero, again) = (committed(zero), committed(again));
    assert_eq!((zero.repeated, again.repeated, zero.runs), (false, true, again.runs));
    assert!(matches!(aborted(gap), Abort::Producer { fault: ProducerFault::Gap { .. }, .. }));
    assert!(matches!(aborted(fenced), Abort::Producer { fault: ProducerFault::Fenced { .. }, .. }));
    assert!(!committed(one).repeated && !committed(new).repeated);
    assert_eq!(values(&store, target, Offset(0), ALL), [&b"0"[..], b"1", b"new"]);
}

#[test]
fn a_name_has_a_bound_and_a_producer_is_forgotten_after_days() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    let named = |len: usize| {
        let producer = Some(ProducerSequence { producer: "p".repeat(len), epoch: 0, sequence: 0 });
        store.commit(Transaction { producer, ..publish(target, &[b"a"]) })
    };
    committed(named(PRODUCER_BYTES_MAX));
    let bytes = PRODUCER_BYTES_MAX + 1;
    assert_eq!(aborted(named(bytes)), Abort::TooLarge { bytes, limit: PRODUCER_BYTES_MAX });

    committed(store.commit(numbered(target, 3, 0, &[b"a"])));
    world.clock.pass(i64::try_from(PRODUCER_AGE_MAX.as_millis()).unwrap());
    assert!(committed(store.commit(numbered(target, 3, 0, &[b"a"]))).repeated);
    world.clock.pass(1);
    assert!(!committed(store.commit(numbered(target, 0, 0, &[b"a"]))).repeated);
}

#[test]
fn a_broken_word_of_publishes_is_said_and_the_store_goes_on() {
    const NAME: &[u8] = b"a producer whose row will be broken";
    let world = World::new(1);
    let store = world.open().unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    let name = String::from_utf8(NAME.to_vec()).unwrap();
    let send = |store: &Store, sequence| {
        let producer = Some(ProducerSequence { producer: name.clone(), epoch: 0, sequence });
        store.commit(Transaction { producer, ..publish(target, &[b"a"]) })
    };
    committed(send(&store, 0));
    committed(store.commit(publish(target, &[b"b"])));
    drop(store);
    let disk = world.disk.copy(2);
    let segment = "00000000000000000001.segment";
    let mut bytes = disk.bytes(segment).unwrap();
    let at = bytes.windows(NAME.len()).position(|window| window == NAME).unwrap();
    bytes[at] ^= 1;
    disk.put(segment, &bytes);
    let store = World { disk, ..world }.open().unwrap();
    assert!(matches!(store.notices()[..], [Notice::PublishesForgotten(_)]));
    assert_eq!(values(&store, target, Offset(0), ALL), [b"a", b"b"]);
    // The producer cannot go on unseen: what comes next is a gap.
    assert!(matches!(aborted(send(&store, 1)), Abort::Producer { fault: ProducerFault::Gap { .. }, .. }));
}
