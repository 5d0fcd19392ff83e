//! Every bound of the bus driven to full: what is beyond it is refused by name, and the store goes on.

use tidemill_bus::journal::{Housekeeping, JournalOptions};
use tidemill_bus::limits::{
    BODY_COPY_BYTES_MAX, DRIVERS_BYTES_MAX, FIRST_SEGMENT_BYTES, FRAME_BYTES_MAX, GROUP_BYTES_MAX,
    HOUSEKEEPING_JOBS_MAX, IDEMPOTENCY_KEY_BYTES_MAX, INDEX_CACHE_BYTES, NAME_BYTES_MAX, NEW_BLOCK_BYTES_MAX,
    NOTE_BYTES_MAX, OPEN_SEGMENTS_MAX, PARTITIONS_DEFAULT, PARTITIONS_MAX, PUBLISHERS_BYTES_MAX,
    QUEUE_LEN_MAX, SEGMENT_BYTES, STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX, TRANSACTION_BYTES_MAX,
};
use tidemill_bus::log::{Abort, AdminError, Log, Outcome, Topic};
use tidemill_bus::store::{Hold, Retention, Store};
use tidemill_bus::transaction::{IdempotencyKey, NewBlock, StateWrites};
use tidemill_bus::{Columns, DriverKey, Event, Offset, Partition, Transaction};

use crate::harness::{ALL, World, aborted, block, commit_group, committed, driver, publish, topic, values};

struct Bounds {
    store: Store,
    topic: Topic,
    driver: DriverKey,
    _world: World,
}

fn bounds() -> Bounds {
    let world = World::new(1);
    let store = world.open().unwrap();
    let topic = topic(&store, "t");
    let driver = driver(store.handler_id("h").unwrap(), 0);
    Bounds { store, topic, driver, _world: world }
}

impl Bounds {
    /// A block with a body of exactly `bytes`.
    fn block(&self, bytes: usize) -> NewBlock {
        let mut columns = Columns::default();
        let value = vec![0; bytes - Columns::BYTES_PER_EVENT];
        columns.push(Event { time: 0, key: None, headers: &[], value: Some(&value) });
        block(self.topic.partition(Partition(0)), columns)
    }

    fn driven(&self, transaction: Transaction) -> Outcome {
        let epoch = self.store.epoch(self.driver);
        self.store.commit(Transaction { driver: Some(self.driver), epoch, ..transaction })
    }
}

fn too_large(outcome: Outcome) -> (usize, usize) {
    match aborted(outcome) {
        Abort::TooLarge { bytes, limit } => (bytes, limit),
        other => panic!("{other}"),
    }
}

#[test]
fn names_and_partitions() {
    let bounds = bounds();
    let longest = "n".repeat(NAME_BYTES_MAX);
    assert_eq!(bounds.store.create_topic(&longest, None).unwrap().partitions, PARTITIONS_DEFAULT);
    bounds.store.handler_id(&longest).unwrap();
    let longer = "n".repeat(NAME_BYTES_MAX + 1);
    assert!(matches!(bounds.store.create_topic(&longer, None), Err(AdminError::InvalidName { .. })));
    assert!(matches!(bounds.store.handler_id(&longer), Err(AdminError::InvalidName { .. })));
    bounds.store.create_topic("many", Some(PARTITIONS_MAX)).unwrap();
    for asked in [0, PARTITIONS_MAX + 1] {
        let error = bounds.store.create_topic("more", Some(asked)).unwrap_err();
        assert!(matches!(error, AdminError::Partitions { asked: found, .. } if found == asked));
    }
}

#[test]
fn blocks_events_and_transactions() {
    let bounds = bounds();
    let commit = |blocks| bounds.store.commit(Transaction { blocks, ..Transaction::default() });
    let full = bounds.block(NEW_BLOCK_BYTES_MAX);
    committed(commit(vec![full.clone()]));
    let fits = TRANSACTION_BYTES_MAX / NEW_BLOCK_BYTES_MAX;
    assert_eq!(
        too_large(commit([vec![full.clone(); fits], vec![bounds.block(100)]].concat())).1,
        TRANSACTION_BYTES_MAX
    );
    let driven = |blocks| bounds.driven(Transaction { blocks, ..Transaction::default() });
    assert_eq!(too_large(driven(vec![bounds.block(NEW_BLOCK_BYTES_MAX + 1)])).1, NEW_BLOCK_BYTES_MAX);
    let blocks = vec![full; fits];
    assert_eq!(
        too_large(driven([blocks.clone(), vec![bounds.block(100)]].concat())),
        (TRANSACTION_BYTES_MAX + 100, TRANSACTION_BYTES_MAX)
    );
    committed(driven(blocks));
}

#[test]
fn state_and_idempotency_keys() {
    let bounds = bounds();
    let write = |key: usize, value: usize| {
        let mut state = StateWrites::default();
        state.push(&vec![1; key], Some(&vec![2; value]));
        bounds.driven(Transaction { state, ..Transaction::default() })
    };
    committed(write(STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX));
    assert_eq!(too_large(write(STATE_KEY_BYTES_MAX + 1, 1)).1, STATE_KEY_BYTES_MAX);
    assert_eq!(too_large(write(1, STATE_VALUE_BYTES_MAX + 1)).1, STATE_VALUE_BYTES_MAX);
    let once = |len: usize| {
        let once = Some(IdempotencyKey { key: "k".repeat(len), body: [0; 32] });
        let target = bounds.topic.partition(Partition(0));
        bounds.store.commit(Transaction { once, ..publish(target, &[b"x"]) })
    };
    committed(once(IDEMPOTENCY_KEY_BYTES_MAX));
    assert_eq!(too_large(once(IDEMPOTENCY_KEY_BYTES_MAX + 1)).1, IDEMPOTENCY_KEY_BYTES_MAX);
}

#[test]
fn notes() {
    let bounds = bounds();
    let note = |bytes: usize| bounds.store.set_note(bounds.driver.handler, &vec![1; bytes]);
    note(NOTE_BYTES_MAX).unwrap();
    let limit = NOTE_BYTES_MAX;
    assert_eq!(note(limit + 1), Err(Abort::TooLarge { bytes: limit + 1, limit }.into()));
}

/// How many of the transactions were refused as one too many; no other outcome is `Busy`.
fn busy(outcomes: &[Outcome]) -> Vec<usize> {
    let is_busy = |outcome: &Outcome| *outcome == Outcome::Aborted(Abort::Busy);
    (0..outcomes.len()).filter(|&index| is_busy(&outcomes[index])).collect()
}

#[test]
fn bytes_that_wait() {
    let bounds = bounds();
    // A topic that is gone: what waits takes memory, and no disk.
    bounds.store.delete_topic("t").unwrap();
    let full = bounds.block(NEW_BLOCK_BYTES_MAX);
    let one = Transaction { blocks: vec![full.clone()], ..Transaction::default() };
    let fits = PUBLISHERS_BYTES_MAX / NEW_BLOCK_BYTES_MAX;
    assert_eq!(busy(&commit_group(&bounds.store, vec![one; fits + 1])), [fits]);

    let blocks = vec![full; TRANSACTION_BYTES_MAX / NEW_BLOCK_BYTES_MAX];
    let one = Transaction { driver: Some(bounds.driver), blocks, ..Transaction::default() };
    let fits = DRIVERS_BYTES_MAX / TRANSACTION_BYTES_MAX;
    assert_eq!(busy(&commit_group(&bounds.store, vec![one; fits + 1])), [fits]);
}

#[test]
fn transactions_that_wait() {
    let bounds = bounds();
    let transactions = vec![Transaction::default(); QUEUE_LEN_MAX + 2];
    assert_eq!(busy(&commit_group(&bounds.store, transactions)), [QUEUE_LEN_MAX, QUEUE_LEN_MAX + 1]);
    committed(bounds.store.commit(publish(bounds.topic.partition(Partition(0)), &[b"x"])));
}

#[test]
fn bytes_of_a_group() {
    let bounds = bounds();
    let before = bounds.store.metrics().frames;
    let half = Transaction { blocks: vec![bounds.block(GROUP_BYTES_MAX / 2)], ..Transaction::default() };
    let outcomes = commit_group(&bounds.store, vec![half; 6]);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed(_))));
    assert_eq!(bounds.store.metrics().frames - before, 3);
}

#[test]
fn segments_and_what_is_kept_of_them() {
    let mut world = World::new(1);
    let options = JournalOptions::default();
    assert_eq!(options.segment_bytes, SEGMENT_BYTES);
    assert_eq!(options.first_segment_bytes, FIRST_SEGMENT_BYTES);
    assert_eq!(options.index_cache_bytes, INDEX_CACHE_BYTES);
    // A group never comes near a frame's bound.
    assert!((TRANSACTION_BYTES_MAX + GROUP_BYTES_MAX) as u64 * 2 < FRAME_BYTES_MAX);

    // More segments than are kept open and than wait for the housekeeper, and no memory for their indexes.
    world.options.journal = JournalOptions {
        segment_bytes: 32 << 10,
        first_segment_bytes: 32 << 10,
        index_cache_bytes: 1,
        housekeeping: Housekeeping::Thread,
        ..options
    };
    world.options.retention = Retention { age: None, bytes: Some(0), hold: Hold::Handlers };
    let store = world.open().unwrap();
    let topic = topic(&store, "t");
    let target = topic.partition(Partition(0));
    let segments = OPEN_SEGMENTS_MAX.max(HOUSEKEEPING_JOBS_MAX) + 20;
    // Bodies at the bound of what is copied, below and above it; four fill a segment.
    let lens = [0, 1, 2].map(|more| BODY_COPY_BYTES_MAX - 1 - Columns::BYTES_PER_EVENT + more);
    let all: Vec<Vec<u8>> =
        (0..segments * 4).map(|index| vec![u8::try_from(index % 251).unwrap(); lens[index % 3]]).collect();
    for value in &all {
        committed(store.commit(publish(target, &[value])));
    }
    drop(store);
    let store = world.open().unwrap();
    assert_eq!(values(&store, target, Offset(0), ALL), all);
    store.checkpoint().unwrap();
    // Sealing goes on in the background: what is not sealed yet is not released yet.
    let mut released = 0;
    while released < segments as u64 - 2 {
        released += store.retain().unwrap();
        committed(store.commit(publish(target, &[b"x"])));
        store.checkpoint().unwrap();
    }
    assert!(store.range(target).unwrap().start > Offset(0));
}

/// Every bound is named by a test.
#[test]
fn each_bound_has_a_test_that_names_it() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let limits = std::fs::read_to_string(root.join("src/limits.rs")).unwrap();
    let mut tested = String::new();
    let mut directories = vec![root.join("src"), root.join("tests")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let in_suite = path.starts_with(root.join("tests"));
                let start = if in_suite { Some(0) } else { text.find("#[cfg(test)]\nmod tests") };
                tested.extend(start.map(|start| text[start..].to_owned()));
            }
        }
    }
    let names = limits.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let untested: Vec<&str> = names.filter(|name| !tested.contains(name)).collect();
    assert_eq!(untested, [] as [&str; 0]);
}
