//! Every byte of a small, cleanly closed store, in all its files, is flipped: the flip is found, or it changes
//! nothing. What can be read of the store is what was written, or an error.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tidemill_bus::journal::{Housekeeping, JournalOptions};
use tidemill_bus::log::{Log, Outcome};
use tidemill_bus::notice::Notice;
use tidemill_bus::store::{Background, Hold, Retention, Store, StoreOptions};
use tidemill_bus::testing::Random;
use tidemill_bus::transaction::{IdempotencyKey, ProducerSequence, StateWrites};
use tidemill_bus::{Batch, Compression, Offset, Partition, Policy, TopicSettings, Transaction};

use crate::harness::{commit_group, committed, driver, publish, publish_keyed, step, topic};

/// What a flip led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Harmless,
    /// The opening said what is broken.
    Refused,
    /// Something cannot be read, and says so; all else is as it was.
    Localised,
}

/// Everything that can be asked of the store, with its answer, or the error.
pub(crate) type Facts = BTreeMap<String, Result<String, String>>;

const ONE: tidemill_bus::log::ReadLimit = tidemill_bus::log::ReadLimit { events: 1, bytes: 1 };

/// A directory in memory where there is one: the files are written thousands of times.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub(crate) fn options(directory: &Path, retention: Option<u64>) -> StoreOptions {
    StoreOptions {
        background: Background::Manual,
        retention: Retention { age: None, bytes: retention, hold: Hold::Handlers },
        journal: JournalOptions {
            segment_bytes: 16 << 10,
            first_segment_bytes: 16 << 10,
            housekeeping: Housekeeping::Inline,
            ..JournalOptions::default()
        },
        ..StoreOptions::new(directory)
    }
}

fn once() -> IdempotencyKey {
    IdempotencyKey { key: "the publish".to_owned(), body: [9; 32] }
}

fn numbered() -> ProducerSequence {
    ProducerSequence { producer: "the producer".to_owned(), epoch: 2, sequence: 0 }
}

/// Fills a store with some of everything, in several tables and segments.
pub(crate) fn fill(store: &Store) {
    let (input, output) = (topic(store, "in"), topic(store, "out"));
    let handlers = [store.handler_id("one").unwrap(), store.handler_id("two").unwrap()];
    store.set_note(handlers[0], b"a note").unwrap();
    for round in 1..=6_u8 {
        let mut group = Vec::new();
        for partition in [0, 1] {
            let source = input.partition(Partition(partition));
            group.push(publish(source, &[&[round; 900], b"short"]));
            for handler in handlers {
                let mut state = StateWrites::default();
                state.push(b"round", Some(&[round; 40]));
                state.push(&[round], Some(b"x"));
                state.push(&[round - 1], None);
                let moved = step(store, driver(handler, partition), source, u64::from(round) * 2);
                group.push(Transaction { state, ..moved });
                group.push(publish(output.partition(Partition(partition)), &[&[round]]));
            }
        }
        for outcome in commit_group(store, group) {
            committed(outcome);
        }
        if round % 2 == 0 {
            store.checkpoint().unwrap();
        }
    }
    let target = output.partition(Partition(0));
    committed(store.commit(Transaction { once: Some(once()), ..publish(target, &[b"once"]) }));
    committed(store.commit(Transaction { producer: Some(numbered()), ..publish(target, &[b"numbered"]) }));
}

const COMPACT: TopicSettings = TopicSettings { policy: Policy::Compact, compression: Compression::None };
pub(crate) const LZ4: TopicSettings = TopicSettings { policy: Policy::Delete, compression: Compression::Lz4 };

/// Text that becomes about half as long when it is compressed.
pub(crate) fn text(seed: u64, bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 12] = [
        "magnitude ",
        "place ",
        "depth ",
        "Reykjavik ",
        "Valparaíso ",
        "felt ",
        "7.1 ",
        "4.25 ",
        "tsunami ",
        "\n",
        "north ",
        "of ",
    ];
    let mut random = Random::new(seed);
    let words = std::iter::repeat_with(|| WORDS[usize::try_from(random.below(12)).unwrap()]);
    words.flat_map(str::bytes).take(bytes).collect()
}

/// Adds topics of which blocks are compressed, of the second one packed ones, too.
pub(crate) fn fill_compressed(store: &Store) {
    let stays = store.create_topic_with("squeezed", Some(1), LZ4).unwrap();
    let settings = TopicSettings { policy: Policy::Compact, ..LZ4 };
    let keyed = store.create_topic_with("squeezed-keyed", Some(1), settings).unwrap();
    for round in 0..9_u8 {
        let values = [text(round.into(), 900), text(99, 700)];
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        committed(store.commit(publish(stays.partition(Partition(0)), &values)));
        let (often, once) = (text(round.into(), 4_500), text(round.into(), 1_000));
        let events = [(&b"often"[..], Some(often.as_slice())), (&[round], Some(&once))];
        committed(store.commit(publish_keyed(keyed.partition(Partition(0)), &events)));
    }
}

/// Adds a topic of which half may go in some segments.
pub(crate) fn fill_compacted(store: &Store) {
    let topic = store.create_topic_with("keyed", Some(1), COMPACT).unwrap();
    for round in 0..9_u8 {
        let events = [(&b"often"[..], Some(&[round; 2_500][..])), (&[round], Some(b"once"))];
        committed(store.commit(publish_keyed(topic.partition(Partition(0)), &events)));
    }
}

/// Asks the store everything.
pub(crate) fn facts(store: &Store) -> Facts {
    let mut facts = Facts::new();
    facts.insert("topics".to_owned(), Ok(format!("{:?}", store.topics())));
    for topic in store.topics() {
        for source in (0..topic.partitions).map(|partition| topic.partition(Partition(partition))) {
            let range = store.range(source);
            let (start, end) = range.as_ref().map_or((0, 0), |range| (range.start.0, range.end.0));
            facts.insert(format!("range of {source}"), told(range));
            for offset in (start..end).map(Offset) {
                let mut batch = Batch::new(source);
                let read = store.read(source, offset, ONE, &mut batch);
                let value = |batch: &Batch| batch.columns.iter().next().unwrap().value.unwrap().to_vec();
                facts.insert(format!("{source} offset {offset}"), told(read.map(|_| value(&batch))));
            }
        }
    }
    for group in store.groups() {
        facts.insert(format!("handler {}", group.name), Ok(format!("{}", group.handler)));
        facts.insert(format!("note {}", group.name), told(store.note(group.handler)));
        for driver in [0, 1].map(|partition| driver(group.handler, partition)) {
            facts.insert(format!("state of {driver}"), told(store.state_scan(driver, b"", None, 99)));
            for topic in store.topics() {
                let name = format!("progress of {driver} on {}", topic.name);
                facts.insert(name, told(store.progress(driver, topic.id)));
            }
        }
    }
    facts
}

fn told<T: std::fmt::Debug, E: std::fmt::Display>(result: Result<T, E>) -> Result<String, String> {
    result.map(|fact| format!("{fact:?}")).map_err(|error| error.to_string())
}

/// A publish sent again must be answered as it was then, or not at all.
fn sent_again(store: &Store, publish: Transaction) -> Result<String, String> {
    match store.commit(publish) {
        Outcome::Committed(receipt) => Ok(format!("{receipt:?}")),
        Outcome::Aborted(abort) => Err(abort.to_string()),
    }
}

fn all_facts(store: &Store) -> Facts {
    let mut facts = facts(store);
    let once = Transaction { once: Some(once()), ..Transaction::default() };
    let numbered = Transaction { producer: Some(numbered()), ..Transaction::default() };
    facts.insert("sent again".to_owned(), sent_again(store, once));
    facts.insert("numbered again".to_owned(), sent_again(store, numbered));
    facts
}

/// A closed store: its files, and what it answers.
struct Closed {
    files: Vec<(PathBuf, Vec<u8>)>,
    facts: Facts,
    retention: Option<u64>,
}

fn closed(retention: Option<u64>) -> Closed {
    let directory = scratch();
    let store = Store::open(options(directory.path(), retention)).unwrap();
    fill(&store);
    if retention.is_some() {
        fill_compacted(&store);
        fill_compressed(&store);
        store.checkpoint().unwrap();
        assert!(store.retain().unwrap() > 0);
        assert!(store.settle().unwrap() > 0);
        assert!(store.settle().unwrap() > 0 && store.metrics().segments_joined > 0);
    }
    store.checkpoint().unwrap();
    store.close().unwrap();
    drop(store);
    let files = files(directory.path(), directory.path());
    let facts = all_facts(&Store::open(options(directory.path(), retention)).unwrap());
    assert!(facts.values().all(Result::is_ok), "{facts:?}");
    for again in ["sent again", "numbered again"] {
        assert!(facts[again].as_ref().unwrap().contains("repeated: true"));
    }
    Closed { files, facts, retention }
}

/// All files below `directory`, by their path from `root`.
pub(crate) fn files(root: &Path, directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(root, &path));
        } else {
            found.push((path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

impl Closed {
    /// What comes of the store with one byte of a file changed.
    fn with(&self, flipped: usize, at: usize, bit: u64) -> Found {
        let directory = scratch();
        for (index, (path, bytes)) in self.files.iter().enumerate() {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut bytes = bytes.clone();
            if index == flipped {
                bytes[at] ^= 1 << bit;
            }
            fs::write(path, bytes).unwrap();
        }
        let flip = format!("{} byte {at} bit {bit}", self.files[flipped].0.display());
        let checked = tidemill_bus::check(directory.path());
        let is_known = checked.as_ref().map_or(true, |report| !report.is_sound());
        let store = match Store::open(options(directory.path(), self.retention)) {
            Ok(store) => store,
            Err(error) => {
                let text = error.to_string();
                let places = ["segment", "STORE", "tables"];
                assert!(places.iter().any(|place| text.contains(place)), "{flip}: {text}");
                assert!(is_known, "{flip}: a check finds nothing, the opening {text}");
                return Found::Refused;
            }
        };
        let mut found = Found::Harmless;
        let is_forgotten = store.notices().iter().any(|notice| matches!(notice, Notice::TablesLost(_)));
        let facts = all_facts(&store);
        for (name, expected) in &self.facts {
            match facts.get(name) {
                // It was said that this may be so.
                Some(Ok(_)) if is_forgotten && (name.ends_with(" again") || name.starts_with("note ")) => {
                    found = Found::Localised;
                }
                Some(Err(_)) => found = Found::Localised,
                // A range that cannot be told hides its offsets.
                None if name.contains(" offset ") => found = Found::Localised,
                fact => assert_eq!(fact, Some(expected), "{flip}: {name}"),
            }
        }
        assert!(is_known || found == Found::Harmless, "{flip}: a check finds nothing of what cannot be read");
        assert!(facts.keys().all(|name| self.facts.contains_key(name)), "{flip}: more than there was");
        found
    }

    /// Flips a bit of every byte, or of some of them.
    fn flip(&self, some: usize) -> BTreeMap<Found, usize> {
        let mut random = Random::new(7);
        let mut outcomes = BTreeMap::new();
        let mut tried = 0;
        for (index, (path, bytes)) in self.files.iter().enumerate() {
            let mut here: BTreeMap<Found, usize> = BTreeMap::new();
            for at in (0..bytes.len()).filter(|&at| is_tried(bytes, at)) {
                tried += 1;
                if std::env::var_os("TIDEMILL_LONG").is_none() && tried % some != 0 {
                    continue;
                }
                *here.entry(self.with(index, at, random.below(8))).or_default() += 1;
            }
            println!("{}: {here:?}", path.display());
            for (found, count) in here {
                *outcomes.entry(found).or_default() += count;
            }
        }
        println!("{outcomes:?}");
        outcomes
    }
}

/// Every byte that says something, and some of the zeros far from any; all of them when asked for.
fn is_tried(bytes: &[u8], at: usize) -> bool {
    let near = &bytes[at.saturating_sub(8)..(at + 8).min(bytes.len())];
    at.is_multiple_of(97) || near.iter().any(|&byte| byte != 0) || std::env::var_os("TIDEMILL_LONG").is_some()
}

#[test]
fn a_flipped_byte_in_any_file_is_found_or_harmless_and_never_served() {
    let closed = closed(None);
    let tables = |(path, _): &&(PathBuf, Vec<u8>)| path.starts_with("tables/tables");
    assert!(closed.files.iter().filter(tables).count() >= 3, "several tables");
    assert_eq!(closed.flip(37).len(), 3);
}

#[test]
fn so_it_is_when_the_journal_does_not_reach_back_and_no_table_can_be_made_again() {
    let closed = closed(Some(0));
    let first = Path::new("journal/00000000000000000001.segment");
    assert!(closed.files.iter().all(|(path, _)| path != first), "the first segment is released");
    assert_eq!(closed.flip(37).len(), 3);
}

#[test]
fn tables_that_are_broken_anywhere_are_made_again_from_a_journal_that_reaches_back() {
    let closed = closed(None);
    for (index, (path, bytes)) in closed.files.iter().enumerate() {
        if path.starts_with("tables") {
            for at in (0..bytes.len()).step_by(61) {
                let found = closed.with(index, at, 3);
                // A row is only found broken when it is read: then the next opening makes the tables again.
                assert_ne!(found, Found::Refused, "{} byte {at}", path.display());
            }
        }
    }
}

#[test]
fn tables_that_are_broken_anywhere_open_from_their_copy_when_the_journal_does_not_reach_back() {
    let mut closed = closed(Some(0));
    let refused = |closed: &Closed| {
        let tables = (0..).zip(&closed.files).filter(|(_, (path, _))| path.starts_with("tables"));
        let flips =
            tables.flat_map(|(index, (_, bytes))| (0..bytes.len()).step_by(61).map(move |at| (index, at)));
        flips.filter(|&(index, at)| closed.with(index, at, 3) == Found::Refused).count()
    };
    assert_eq!(refused(&closed), 0);
    // Without the copy there are names that nothing else knows.
    closed.files.retain(|(path, _)| path != Path::new("tables.copy"));
    assert!(refused(&closed) > 10);
}

#[test]
fn a_handler_whose_progress_is_broken_is_named_and_stands_still_until_it_is_reset_and_the_others_go_on() {
    let directory = scratch();
    let options = options(directory.path(), Some(0));
    let store = Store::open(options.clone()).unwrap();
    let topic = store.create_topic("in", Some(400)).unwrap();
    let handlers = ["one", "two"].map(|name| store.handler_id(name).unwrap());
    let drivers = || handlers.into_iter().flat_map(|id| (0..400).map(move |partition| driver(id, partition)));
    let source = topic.partition(Partition(0));
    for round in 0..9_u8 {
        committed(store.commit(publish(source, &[&[round; 3_000]])));
    }
    let steps = drivers().map(|driver| step(&store, driver, topic.partition(driver.partition), 9)).collect();
    for outcome in commit_group(&store, steps) {
        committed(outcome);
    }
    store.checkpoint().unwrap();
    assert!(store.retain().unwrap() > 0);
    store.close().unwrap();
    drop(store);
    let tables = files(directory.path(), &directory.path().join("tables/tables"));
    let (path, sound) = tables.into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let (mut named, mut hurts_one) = ([0, 0], 0);
    for at in (0..sound.len()).step_by(1_000) {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        fs::write(directory.path().join(&path), bytes).unwrap();
        let Ok(store) = Store::open(options.clone()) else { continue };
        let mut hurt = Vec::new();
        for notice in store.notices() {
            if let Notice::ProgressBroken { handler, .. } = notice {
                hurt.push(handler);
            }
        }
        for driver in drivers() {
            match store.progress(driver, topic.id) {
                Ok(progress) => assert_eq!(progress.unwrap().next, Offset(9), "byte {at} {driver}"),
                Err(_) => assert!(hurt.contains(&driver.handler), "byte {at} {driver}"),
            }
        }
        if hurt == [handlers[0]] {
            hurts_one = at;
        }
        for (name, handler) in ["one", "two"].into_iter().zip(handlers) {
            if hurt.contains(&handler) {
                named[usize::from(name == "two")] += 1;
                assert_eq!(store.retain().unwrap(), 0);
                let refused = store.restore_group(name).unwrap_err().to_string();
                assert!(refused.contains(&format!("how far {name} has come, reset it")), "{refused}");
                assert!(store.seek(name, source, Offset(1)).is_err());
            }
        }
    }
    assert!(named.iter().all(|&count| count > 1), "{named:?}");

    let mut bytes = sound;
    bytes[hurts_one] ^= 1;
    fs::write(directory.path().join(&path), bytes).unwrap();
    let store = Store::open(options.clone()).unwrap();
    let anew = driver(store.reset_group("one").unwrap(), 0);
    committed(store.commit(step(&store, anew, source, 7)));
    store.checkpoint().unwrap();
    drop(store);
    let store = Store::open(options).unwrap();
    assert!(!store.notices().iter().any(|notice| matches!(notice, Notice::ProgressBroken { .. })));
    let next = |driver| store.progress(driver, topic.id).unwrap().map(|progress| progress.next);
    assert_eq!(next(anew), Some(Offset(7)));
    assert_eq!(next(driver(handlers[1], 0)), Some(Offset(9)));
}

#[test]
fn a_row_that_is_found_broken_when_it_is_read_is_made_again_at_the_next_opening_or_named() {
    for reaches_back in [true, false] {
        let directory = scratch();
        let options = options(directory.path(), Some(0));
        let store = Store::open(options.clone()).unwrap();
        let source = topic(&store, "in").partition(Partition(0));
        let owner = driver(store.handler_id("one").unwrap(), 0);
        for round in 0..20_u8 {
            let mut state = StateWrites::default();
            (0..20_u8).for_each(|key| state.push(&[round, key], Some(&[round; 100])));
            committed(store.commit(Transaction { state, ..step(&store, owner, source, 0) }));
            committed(store.commit(publish(source, &[&[round; 3_000]])));
        }
        committed(store.commit(step(&store, owner, source, 20)));
        store.checkpoint().unwrap();
        if !reaches_back {
            assert!(store.retain().unwrap() > 0);
        }
        store.close().unwrap();
        let expected = store.state_scan(owner, b"", None, 999).unwrap();
        drop(store);
        let tables = files(directory.path(), &directory.path().join("tables/tables"));
        let (path, mut bytes) = tables.into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(directory.path().join(path), bytes).unwrap();

        let store = Store::open(options.clone()).unwrap();
        assert_eq!(store.notices(), []);
        assert!(store.state_scan(owner, b"", None, 999).is_err());
        assert_eq!(store.progress(owner, source.topic).unwrap().unwrap().next, Offset(20));
        drop(store);
        let store = Store::open(options).unwrap();
        let notices = store.notices();
        let [notice] = &notices[..] else { panic!("{notices:?}") };
        let named = notice.to_string();
        assert!(named.contains("state of handler 1 partition 0"), "{named}");
        if reaches_back {
            assert!(matches!(notice, Notice::TablesRebuilt(_)));
            assert_eq!(store.state_scan(owner, b"", None, 999).unwrap(), expected);
        } else {
            assert!(matches!(notice, Notice::TablesBroken(_)));
            assert!(store.state_scan(owner, b"", None, 999).is_err());
        }
        committed(store.commit(publish(source, &[b"it goes on"])));
    }
}
