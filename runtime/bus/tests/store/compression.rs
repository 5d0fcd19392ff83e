//! Topics whose blocks are compressed: less is written, and what is read is what was published, whatever happens to the
//! blocks in between.

use std::path::Path;

use tidemill_bus::log::{Log, ReadError, ReadLimit};
use tidemill_bus::store::{Store, StoreOptions};
use tidemill_bus::{Batch, Compression, Offset, Partition, Policy, TopicPartition, TopicSettings, check};

use crate::flips::{LZ4, scratch, text};
use crate::harness::{ALL, block, columns, committed, driver, events, publish, publish_keyed, step, values};

const FEW: ReadLimit = ReadLimit { events: 3, bytes: 2_000 };

fn options(directory: &Path) -> StoreOptions {
    let mut options = crate::flips::options(directory, None);
    (options.journal.segment_bytes, options.journal.first_segment_bytes) = (64 << 10, 64 << 10);
    options
}

fn partition(store: &Store, name: &str, settings: TopicSettings) -> TopicPartition {
    store.create_topic_with(name, Some(1), settings).unwrap().partition(Partition(0))
}

fn bytes(store: &Store, source: TopicPartition) -> u64 {
    store.topic_bytes()[&source.topic]
}

#[test]
fn events_of_a_compressed_topic_take_less_room_and_come_back_as_they_were() {
    let directory = scratch();
    let store = Store::open(options(directory.path())).unwrap();
    let plain = partition(&store, "plain", TopicSettings::default());
    let squeezed = partition(&store, "squeezed", LZ4);
    let expected: Vec<Vec<u8>> = (0..200).map(|seed| text(seed, 400)).collect();
    for some in expected.chunks(10) {
        let some: Vec<&[u8]> = some.iter().map(Vec::as_slice).collect();
        for target in [plain, squeezed] {
            committed(store.commit(publish(target, &some)));
        }
    }
    let check_all = |store: &Store| {
        for source in [plain, squeezed] {
            for limit in [ALL, FEW] {
                assert_eq!(values(store, source, Offset(0), limit), expected);
            }
        }
        let (plain, squeezed) = (bytes(store, plain), bytes(store, squeezed));
        assert!(squeezed < plain * 6 / 10, "{squeezed} of {plain}");
    };
    check_all(&store);
    drop(store);
    // Nothing is in memory, and the index of a segment is made anew.
    assert!(check(directory.path()).unwrap().is_sound());
    let store = Store::open(options(directory.path())).unwrap();
    check_all(&store);
    store.close().unwrap();
    drop(store);
    let store = Store::open(options(directory.path())).unwrap();
    check_all(&store);
    assert_eq!(store.topic_settings(squeezed.topic), Some(LZ4));
}

#[test]
fn a_topic_may_be_set_at_any_time_and_what_does_not_become_smaller_is_stored_as_it_is() {
    let directory = scratch();
    let store = Store::open(options(directory.path())).unwrap();
    let source = partition(&store, "t", TopicSettings::default());
    let mut random = tidemill_bus::testing::Random::new(5);
    let noise: Vec<u8> = (0..400).flat_map(|_| random.draw().to_le_bytes()).collect();
    let (words, mut taken, mut expected) = (text(1, 3_200), Vec::new(), Vec::new());
    for (settings, value) in [
        (TopicSettings::default(), &words),
        (LZ4, &words),
        (LZ4, &noise),
        (TopicSettings::default(), &words),
        (LZ4, &b"small".to_vec()),
    ] {
        store.set_topic("t", settings).unwrap();
        let before = store.topic_bytes().get(&source.topic).copied().unwrap_or(0);
        committed(store.commit(publish(source, &[value])));
        taken.push(bytes(&store, source) - before);
        expected.push(value.clone());
    }
    let plain = 80 + 20 + 3_200;
    assert!(taken[1] < plain / 2 && taken[0] == plain && taken[2..] == [plain, plain, 105], "{taken:?}");
    drop(store);
    let store = Store::open(options(directory.path())).unwrap();
    assert_eq!(values(&store, source, Offset(0), ALL), expected);
}

#[test]
fn what_a_handler_emitted_is_found_by_time_and_offset() {
    let directory = scratch();
    let store = Store::open(options(directory.path())).unwrap();
    let source = partition(&store, "t", LZ4);
    let owner = driver(store.handler_id("h").unwrap(), 0);
    for round in 0..30_u64 {
        let values: Vec<Vec<u8>> = (0..5).map(|event| text(round * 5 + event, 600)).collect();
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let blocks = vec![block(source, columns(&values))];
        committed(store.commit(tidemill_bus::Transaction { blocks, ..step(&store, owner, source, round) }));
    }
    store.close().unwrap();
    drop(store);
    let store = Store::open(options(directory.path())).unwrap();
    for offset in [0, 7, 77, 149] {
        let mut batch = Batch::new(source);
        store.read(source, Offset(offset), ReadLimit { events: 1, bytes: 1 }, &mut batch).unwrap();
        assert_eq!(batch.columns.iter().next().unwrap().value, Some(&*text(offset, 600)));
    }
    assert_eq!(store.position_at(source, i64::MAX).unwrap(), Offset(150));
}

#[test]
fn a_compacted_topic_stays_compressed_when_it_is_settled() {
    let mut taken = Vec::new();
    for compression in [Compression::None, Compression::Lz4] {
        let directory = scratch();
        let store = Store::open(options(directory.path())).unwrap();
        let source = partition(&store, "t", TopicSettings { policy: Policy::Compact, compression });
        for round in 0..60_u8 {
            let (often, once) = (text(round.into(), 5_000), text(round.into(), 1_000));
            let found = [(&b"often"[..], Some(often.as_slice())), (&[round], Some(&once))];
            committed(store.commit(publish_keyed(source, &found)));
        }
        // Sealed segments only are settled.
        let filler = partition(&store, "filler", TopicSettings::default());
        for _ in 0..3 {
            committed(store.commit(publish(filler, &[&vec![0; 50_000]])));
        }
        store.checkpoint().unwrap();
        assert!(store.settle().unwrap() > 0);
        taken.push(bytes(&store, source));
        drop(store);
        assert!(check(directory.path()).unwrap().is_sound());
        let store = Store::open(options(directory.path())).unwrap();
        let found = events(&store, source, FEW).unwrap();
        let keys = found.iter().map(|(offset, key, _)| (*offset, key.clone().unwrap()));
        let mut expected: Vec<_> = (0..60_u8).map(|round| (u64::from(round) * 2 + 1, vec![round])).collect();
        expected.insert(59, (118, b"often".to_vec()));
        assert_eq!(keys.collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|(offset, key, value)| {
            let len = if key.as_deref() == Some(b"often") { 5_000 } else { 1_000 };
            *value == Some(text(offset / 2, len))
        }));
    }
    assert!(taken[1] < taken[0] * 7 / 10, "{taken:?}");
}

#[test]
fn a_compressed_block_that_is_broken_is_not_served_and_the_others_are() {
    let directory = scratch();
    let store = Store::open(options(directory.path())).unwrap();
    let source = partition(&store, "t", LZ4);
    let parts = [text(1, 2_000), text(2, 2_000), text(3, 2_000)];
    for value in &parts {
        committed(store.commit(publish(source, &[value])));
    }
    store.close().unwrap();
    drop(store);
    let path = directory.path().join("journal/00000000000000000001.segment");
    let mut journal = std::fs::read(&path).unwrap();
    let blocks = journal.windows(4).enumerate().filter(|(_, bytes)| bytes == b"TMBK").map(|(at, _)| at);
    let second = blocks.collect::<Vec<_>>()[1];
    journal[second + 300] ^= 1;
    std::fs::write(&path, journal).unwrap();
    assert_eq!(check(directory.path()).unwrap().faults.len(), 1);
    let store = Store::open(options(directory.path())).unwrap();
    let read = |from| {
        let mut batch = Batch::new(source);
        store.read(source, Offset(from), ReadLimit { events: 1, bytes: 1 }, &mut batch).map(|_| batch)
    };
    assert!(matches!(read(1), Err(ReadError::Broken { offset: Offset(1), .. })));
    for offset in [0, 2] {
        let batch = read(offset).unwrap();
        assert_eq!(
            batch.columns.iter().next().unwrap().value,
            Some(&*parts[usize::try_from(offset).unwrap()])
        );
    }
}
