//! Every bound of the bus driven to full: what is beyond it is refused by name, or waits, and the store goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidemill_bus::journal::{Housekeeping, JournalOptions};
use tidemill_bus::limits::{
    BODY_COPY_BYTES_MAX, CHECKPOINT_INTERVAL, DRIVERS_BYTES_MAX, FIRST_SEGMENT_BYTES, FRAME_BYTES_MAX,
    GROUP_BYTES_MAX, HOUSEKEEPING_JOBS_MAX, IDEMPOTENCY_KEY_BYTES_MAX, INDEX_CACHE_BYTES, NAME_BYTES_MAX,
    NEW_BLOCK_BYTES_MAX, NOTE_BYTES_MAX, OPEN_SEGMENTS_MAX, OVERLAY_BYTES_CHECKPOINT, OVERLAY_BYTES_MAX,
    PARTITIONS_DEFAULT, PARTITIONS_MAX, PUBLISHERS_BYTES_MAX, QUEUE_LEN_MAX, SEGMENT_BYTES,
    STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX, TRANSACTION_BYTES_MAX, UNPERSISTED_BYTES_MAX,
};
use tidemill_bus::log::{Abort, AdminError, Answer, Answered, Log, Outcome, Row, Topic};
use tidemill_bus::store::{Background, Checkpoints, Hold, Metrics, Parts, Retention, Store};
use tidemill_bus::tables::{Entry, Living, ModelTables, Tree, TreeError};
use tidemill_bus::transaction::{IdempotencyKey, NewBlock, StateWrites};
use tidemill_bus::{Columns, DriverKey, Event, Offset, Partition, Transaction};

use crate::harness::{
    ALL, World, aborted, block, commit_group, committed, driver, next_of, publish, step, topic, values,
};

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

/// A tree whose next flush waits at the gate, and says that it does.
struct Gated {
    tables: ModelTables,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    is_shut: AtomicBool,
    is_reached: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        while self.is_shut.load(Ordering::Acquire) {
            self.is_reached.store(true, Ordering::Release);
            std::thread::yield_now();
        }
    }
}

impl Tree for Gated {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TreeError> {
        self.tables.get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, TreeError> {
        self.tables.scan(prefix, after, limit)
    }

    fn persist(&self, frame: u64, entries: &mut dyn Iterator<Item = Entry>) -> Result<(), TreeError> {
        self.gate.pass();
        self.tables.persist(frame, entries)
    }

    fn persisted(&self) -> u64 {
        self.tables.persisted()
    }

    fn retain(&self, living: Living) {
        self.tables.retain(living);
    }

    fn compact(&self) -> Result<(), TreeError> {
        self.tables.compact()
    }
}

/// Whether an answer came before the gate was opened.
struct Early(Arc<Gate>, Mutex<Vec<bool>>);

impl Answered for Early {
    fn answered(&self, _: u64, outcome: Outcome) {
        committed(outcome);
        self.1.lock().push(self.0.is_shut.load(Ordering::Acquire));
    }
}

/// Commits with the gate shut until the bound is reached, then once more, which must wait for the gate, and opens it.
fn wait_at_the_gate(checkpoints: Checkpoints, is_full: impl Fn(&Metrics) -> bool) {
    let mut world = World::new(1);
    world.options.background = Background::Threads;
    world.options.checkpoints = checkpoints;
    let gate = Arc::new(Gate::default());
    let parts = Parts {
        disk: Arc::new(world.disk.clone()),
        tree: Box::new(Gated { tables: world.tables.clone(), gate: Arc::clone(&gate) }),
        clock: Arc::clone(&world.clock) as _,
    };
    let store = Store::open_on(parts, world.options.clone()).unwrap();
    let target = topic(&store, "t").partition(Partition(0));
    let driver = driver(store.handler_id("h").unwrap(), 0);
    gate.is_shut.store(true, Ordering::Release);
    let write = || {
        let mut state = StateWrites::default();
        state.push(&store.metrics().frames.to_le_bytes(), Some(&[1; 100]));
        let epoch = store.epoch(driver);
        Transaction { driver: Some(driver), epoch, state, ..publish(target, &[&[2; 100]]) }
    };
    while !is_full(&store.metrics()) {
        committed(store.commit(write()));
    }
    while !gate.is_reached.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    let early = Arc::new(Early(Arc::clone(&gate), Mutex::default()));
    store.submit(write(), Answer { to: Arc::clone(&early) as _, token: 0 });
    // Time enough to be wrong in.
    for _ in 0..1_000 {
        std::thread::yield_now();
    }
    assert_eq!(*early.1.lock(), [] as [bool; 0]);
    gate.is_shut.store(false, Ordering::Release);
    while early.1.lock().is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(*early.1.lock(), [false]);
    store.close().unwrap();
}

/// Far away, so that a test sees the bound alone that it lowers.
fn far() -> Checkpoints {
    let interval = std::time::Duration::from_hours(1);
    let (bytes, bytes_max, journal_bytes_max) = (usize::MAX, usize::MAX, u64::MAX);
    Checkpoints {
        interval,
        bytes,
        bytes_max,
        journal_bytes_max,
        settle_interval: interval,
        settle_bytes: u64::MAX,
    }
}

#[test]
fn changes_in_memory() {
    let default = Checkpoints::default();
    assert_eq!((default.bytes, default.bytes_max), (OVERLAY_BYTES_CHECKPOINT, OVERLAY_BYTES_MAX));
    assert_eq!(default.journal_bytes_max, UNPERSISTED_BYTES_MAX);
    // A checkpoint begins at the lower bound, and frees what the upper one counts when it ends.
    let checkpoints = Checkpoints { bytes: 1_000, bytes_max: 4_000, ..far() };
    wait_at_the_gate(checkpoints, |metrics| metrics.overlay_bytes >= 4_000);
}

#[test]
fn journal_that_is_not_in_the_tables() {
    let checkpoints = Checkpoints { journal_bytes_max: 3_000, ..far() };
    wait_at_the_gate(checkpoints, |metrics| metrics.frame_bytes >= 3_000);
}

#[test]
fn changes_that_are_replayed() {
    let mut world = World::new(1);
    let store = world.open().unwrap();
    let source = topic(&store, "t").partition(Partition(0));
    let driver = driver(store.handler_id("h").unwrap(), 0);
    for next in 0..100_u64 {
        let mut state = StateWrites::default();
        state.push(&next.to_le_bytes(), Some(&[7; 100]));
        committed(store.commit(Transaction { state, ..step(&store, driver, source, next) }));
        committed(store.commit(publish(source, &[b"x"])));
    }
    drop(store);
    world.options.checkpoints.bytes_max = 2_000;
    let store = world.open().unwrap();
    assert!((5..100).contains(&world.tables.flushes().len()), "{:?}", world.tables.flushes());
    assert_eq!(store.state_scan(driver, b"", None, 999).unwrap().len(), 100);
    assert_eq!(next_of(&store, driver, source), Some(99));
    assert_eq!(values(&store, source, Offset(0), ALL).len(), 100);
    drop(store);
    // What was flushed while it was opened is as good as any checkpoint.
    assert_eq!(values(&world.open().unwrap(), source, Offset(0), ALL).len(), 100);
}

#[test]
fn time_between_checkpoints() {
    assert_eq!(Checkpoints::default().interval, CHECKPOINT_INTERVAL);
    let mut world = World::new(1);
    world.options.background = Background::Threads;
    world.options.checkpoints = Checkpoints { interval: std::time::Duration::from_millis(1), ..far() };
    let store = world.open().unwrap();
    committed(store.commit(publish(topic(&store, "t").partition(Partition(0)), &[b"x"])));
    while store.metrics().persisted_frame < store.metrics().applied_frame {
        std::thread::yield_now();
    }
}

/// For every bound the test that drives it to full, with its file.
const DRIVEN: [(&str, &str, &str); 46] = [
    ("SEGMENT_BYTES", "tests/store/bounds.rs", "segments_and_what_is_kept_of_them"),
    ("FIRST_SEGMENT_BYTES", "tests/store/bounds.rs", "segments_and_what_is_kept_of_them"),
    ("FRAME_BYTES_MAX", "tests/journal/basics.rs", "a_frame_beyond_the_bound_is_refused"),
    ("SEGMENT_BYTES_MAX", "tests/journal/basics.rs", "a_segment_has_a_bound_whatever_the_options_say"),
    ("BLOCK_BYTES_MAX", "tests/journal/basics.rs", "a_block_that_no_reader_would_take_is_refused"),
    ("INDEX_CACHE_BYTES", "tests/store/bounds.rs", "segments_and_what_is_kept_of_them"),
    ("OPEN_SEGMENTS_MAX", "tests/store/bounds.rs", "segments_and_what_is_kept_of_them"),
    ("BODY_COPY_BYTES_MAX", "tests/store/bounds.rs", "segments_and_what_is_kept_of_them"),
    ("HOUSEKEEPING_JOBS_MAX", "tests/store/bounds.rs", "segments_and_what_is_kept_of_them"),
    ("LOCK_WAIT_MS", "tests/store/directory.rs", "a_directory_in_use_names_who_has_it"),
    ("NAME_BYTES_MAX", "tests/store/bounds.rs", "names_and_partitions"),
    ("PARTITIONS_DEFAULT", "tests/store/bounds.rs", "names_and_partitions"),
    ("PARTITIONS_MAX", "tests/store/bounds.rs", "names_and_partitions"),
    ("NEW_BLOCK_BYTES_MAX", "tests/store/bounds.rs", "blocks_events_and_transactions"),
    ("TRANSACTION_BYTES_MAX", "tests/store/bounds.rs", "blocks_events_and_transactions"),
    ("GROUP_BYTES_MAX", "tests/store/bounds.rs", "bytes_of_a_group"),
    ("STATE_KEY_BYTES_MAX", "tests/store/bounds.rs", "state_and_idempotency_keys"),
    ("STATE_VALUE_BYTES_MAX", "tests/store/bounds.rs", "state_and_idempotency_keys"),
    ("NOTE_BYTES_MAX", "tests/store/bounds.rs", "notes"),
    ("IDEMPOTENCY_KEY_BYTES_MAX", "tests/store/bounds.rs", "state_and_idempotency_keys"),
    (
        "IDEMPOTENCY_AGE_MAX",
        "tests/store/answers.rs",
        "a_publish_sent_again_is_answered_with_its_runs_and_done_once",
    ),
    (
        "PRODUCER_BYTES_MAX",
        "tests/store/producers.rs",
        "a_name_has_a_bound_and_a_producer_is_forgotten_after_days",
    ),
    (
        "PRODUCER_SEQUENCES_KEPT",
        "src/commit/producer.rs",
        "the_next_is_taken_one_of_the_last_is_answered_and_others_are_refused",
    ),
    (
        "PRODUCER_AGE_MAX",
        "tests/store/producers.rs",
        "a_name_has_a_bound_and_a_producer_is_forgotten_after_days",
    ),
    ("PUBLISHERS_BYTES_MAX", "tests/store/bounds.rs", "bytes_that_wait"),
    ("DRIVERS_BYTES_MAX", "tests/store/bounds.rs", "bytes_that_wait"),
    ("QUEUE_LEN_MAX", "tests/store/bounds.rs", "transactions_that_wait"),
    ("TAILS_BYTES_MAX", "src/commit/tails.rs", "when_full_the_oldest_blocks_go_and_the_ends_stay"),
    ("READ_CACHE_BYTES_MAX", "src/store/read.rs", "when_full_the_blocks_read_first_go"),
    ("OVERLAY_BYTES_CHECKPOINT", "tests/store/bounds.rs", "changes_in_memory"),
    (
        "COMPRESSED_BYTES_MIN",
        "src/block/compress.rs",
        "what_is_small_or_does_not_become_smaller_stays_as_it_is",
    ),
    ("OVERLAY_BYTES_MAX", "tests/store/bounds.rs", "changes_in_memory"),
    (
        "REPLAY_BYTES_GATHERED",
        "src/store/replay.rs",
        "no_more_is_gathered_than_the_bound_and_a_frame_and_nothing_is_lost",
    ),
    (
        "REPLAY_THREADS_MAX",
        "src/tables/gathered.rs",
        "many_rows_of_many_owners_are_merged_by_several_threads",
    ),
    ("UNPERSISTED_BYTES_MAX", "tests/store/bounds.rs", "journal_that_is_not_in_the_tables"),
    ("CHECKPOINT_INTERVAL", "tests/store/bounds.rs", "time_between_checkpoints"),
    (
        "ROOM_PUBLISHERS_STOP",
        "tests/store/disk.rs",
        "a_disk_that_fills_stops_one_after_the_other_and_recovers",
    ),
    ("ROOM_HANDLERS_STOP", "tests/store/disk.rs", "a_disk_that_fills_stops_one_after_the_other_and_recovers"),
    ("ROOM_HOLDERS_STOP", "tests/store/disk.rs", "a_disk_that_fills_stops_one_after_the_other_and_recovers"),
    ("SETTLE_INTERVAL", "tests/store/settle.rs", "it_is_done_in_the_background"),
    ("SETTLE_BYTES_MAX", "tests/store/join.rs", "a_look_ends_when_enough_is_copied_and_the_next_goes_on"),
    ("JOIN_SEGMENTS_MAX", "src/store/join.rs", "many_are_joined_some_at_a_time"),
    (
        "TOMBSTONE_AGE",
        "tests/store/compact.rs",
        "a_tombstone_stays_for_a_day_and_as_long_as_it_hides_an_older_event",
    ),
    (
        "COMPACTION_KEYS_BYTES_MAX",
        "tests/store/compact.rs",
        "more_keys_than_memory_is_for_are_compacted_piece_by_piece",
    ),
    ("CLOCK_LEAP_MAX", "src/clock.rs", "a_leap_of_more_than_an_hour_is_not_followed_and_said_once"),
    ("NOTICES_MAX", "src/notice.rs", "when_full_the_oldest_notice_goes"),
];

#[test]
fn each_bound_is_driven_to_full_by_a_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let limits = read("src/limits.rs");
    let names: Vec<&str> =
        limits.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next()).collect();
    for (bound, file, test) in DRIVEN {
        assert!(names.contains(&bound), "{bound} is no bound any more");
        assert!(read(file).contains(&format!("fn {test}()")), "{file} has no test {test}");
    }
    let is_driven = |name: &&str| DRIVEN.iter().any(|(bound, ..)| bound == name);
    let missing: Vec<&str> = names.into_iter().filter(|name| !is_driven(name)).collect();
    assert_eq!(missing, [] as [&str; 0]);
}
