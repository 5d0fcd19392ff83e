//! Topics: how many partitions they have, and what they take on the disk.

use tidemill_bus::limits::PARTITIONS_MAX;
use tidemill_bus::log::{AdminError, Log};
use tidemill_bus::store::{Hold, Readers, Retention};
use tidemill_bus::{Offset, Partition};

use crate::harness::{ALL, World, committed, publish, topic, values};

#[test]
fn a_raised_topic_keeps_its_events_and_takes_more_partitions() {
    let world = World::new(1);
    let store = world.open().unwrap();
    let before = topic(&store, "t");
    committed(store.commit(publish(before.partition(Partition(1)), &[b"a"])));
    let nobody = || Readers::Bound(Vec::new());
    let bound = || Readers::Bound(vec!["count".to_owned(), "join".to_owned()]);
    assert_eq!(store.raise_partitions("t", 2, bound()), Ok(before.clone()));
    let error = store.raise_partitions("t", 5, bound()).unwrap_err();
    assert!(error.to_string().contains("count, join"), "{error}");
    for asked in [1, 0, PARTITIONS_MAX + 1] {
        let error = store.raise_partitions("t", asked, Readers::Forced).unwrap_err();
        assert!(matches!(error, AdminError::Partitions { asked: found, .. } if found == asked), "{error}");
    }
    assert!(matches!(store.raise_partitions("u", 5, nobody()), Err(AdminError::UnknownTopic(_))));
    let raised = store.raise_partitions("t", 3, nobody()).unwrap();
    assert_eq!((raised.id, raised.partitions), (before.id, 3));
    assert_eq!(store.raise_partitions("t", 5, Readers::Forced).unwrap().partitions, 5);
    committed(store.commit(publish(raised.partition(Partition(4)), &[b"b"])));
    drop(store);
    let store = world.open().unwrap();
    assert_eq!(store.topic("t").unwrap().partitions, 5);
    let found =
        [1, 4].map(|partition| values(&store, raised.partition(Partition(partition)), Offset(0), ALL));
    assert_eq!(found, [[b"a"], [b"b"]]);
}

#[test]
fn a_topic_tells_what_it_takes_in_the_journal_and_what_retention_gave_back() {
    let mut world = World::new(1);
    world.options.retention = Retention { age: None, bytes: Some(0), hold: Hold::Handlers };
    let store = world.open().unwrap();
    let (one, two) = (topic(&store, "one"), topic(&store, "two"));
    for _ in 0..20 {
        committed(store.commit(publish(one.partition(Partition(0)), &[&[7; 10_000]])));
        committed(store.commit(publish(two.partition(Partition(1)), &[b"x"])));
    }
    let before = store.topic_bytes();
    assert!((200_000..210_000).contains(&before[&one.id]), "{before:?}");
    assert!((20 * 80..20 * 150).contains(&before[&two.id]), "{before:?}");
    let details = store.topic_details("one").unwrap().unwrap();
    assert_eq!(details.bytes, [before[&one.id], 0]);
    store.close().unwrap();
    drop(store);
    let store = world.open().unwrap();
    assert_eq!(store.topic_bytes(), before);
    store.checkpoint().unwrap();
    assert!(store.retain().unwrap() > 0);
    assert!(store.topic_bytes()[&one.id] < before[&one.id] / 2);
}
