//! The offline look at a store: it finds what is broken, names whose it is, and finds nothing in a sound one.

use std::fs;
use std::path::Path;

use tidemill_bus::check::{CheckError, Report, Whose};
use tidemill_bus::journal::JournalOptions;
use tidemill_bus::log::{Log, ReadError};
use tidemill_bus::notice::Notice;
use tidemill_bus::store::{Background, Store, StoreOptions};
use tidemill_bus::testing::Random;
use tidemill_bus::transaction::StateWrites;
use tidemill_bus::{Batch, Offset, Partition, Transaction, check};

use crate::flips::{facts, files, fill, options, scratch};
use crate::harness::{ALL, committed, driver, publish, step, topic, values};

const BLOCK: &[u8] = b"this event will be broken";
const CHANGE: &[u8] = b"this change will be broken";

/// Flips one bit of `mark` in the file of the journal that has it.
fn flip(directory: &Path, mark: &[u8]) {
    for (path, mut bytes) in files(directory, &directory.join("journal")) {
        if let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) {
            bytes[at] ^= 1;
            return fs::write(directory.join(path), bytes).unwrap();
        }
    }
    panic!("nothing to break");
}

fn told(report: &Report) -> Vec<String> {
    report.faults.iter().map(|fault| report.describe(fault)).collect()
}

#[test]
fn a_sound_store_has_no_faults_closed_or_not() {
    let directory = scratch();
    let store = Store::open(options(directory.path(), None)).unwrap();
    fill(&store);
    let events = |store: &Store| {
        let ranges = store.topics().into_iter().flat_map(|topic| {
            let partitions = (0..topic.partitions).map(Partition);
            let ranges = partitions.map(|partition| store.range(topic.partition(partition)).unwrap());
            ranges.collect::<Vec<_>>()
        });
        ranges.map(|range| range.end.0 - range.start.0).sum::<u64>()
    };
    let (expected, last) = (events(&store), store.metrics().applied_frame);
    assert!(matches!(check(directory.path()), Err(CheckError::Lock(_))), "in use");
    drop(store);
    let report = check(directory.path()).unwrap();
    assert_eq!(told(&report), [] as [&str; 0]);
    assert_eq!((report.journal.events, report.journal.last.0, report.journal.cut), (expected, last, None));
    assert!(report.is_sound() && report.journal.changes > 0);
    Store::open(options(directory.path(), None)).unwrap().close().unwrap();
    assert!(check(directory.path()).unwrap().is_sound());
    assert!(matches!(check(&directory.path().join("none")), Err(CheckError::Directory { .. })));
}

#[test]
fn what_is_broken_is_named_with_whose_it_is() {
    let directory = scratch();
    let store = Store::open(options(directory.path(), None)).unwrap();
    let source = topic(&store, "orders").partition(Partition(1));
    let owner = driver(store.handler_id("count").unwrap(), 1);
    committed(store.commit(publish(source, &[b"a", BLOCK, b"c"])));
    let mut state = StateWrites::default();
    state.push(b"k", Some(CHANGE));
    committed(store.commit(Transaction { state, ..step(&store, owner, source, 3) }));
    committed(store.commit(publish(source, &[b"d"])));
    drop(store);
    flip(directory.path(), BLOCK);
    flip(directory.path(), CHANGE);
    let report = check(directory.path()).unwrap();
    let [events, change] = &report.faults[..] else { panic!("{:?}", told(&report)) };
    assert_eq!(events.whose, Whose::Events { source, first: Offset(0), end: Offset(3) });
    assert_eq!(change.whose, Whose::Driver(owner));

    // With the names in the tables it is told by them.
    let store = Store::open(options(directory.path(), None)).unwrap();
    store.close().unwrap();
    drop(store);
    let told = told(&check(directory.path()).unwrap());
    assert!(told[0].contains("orders partition 1, offsets 0 to 2"), "{told:?}");
    assert!(told[1].contains("count partition 1 lane 0"), "{told:?}");
}

#[test]
fn after_a_crash_the_last_frame_alone_is_exempt() {
    let directory = scratch();
    let store = Store::open(options(directory.path(), None)).unwrap();
    let source = topic(&store, "t").partition(Partition(0));
    for value in [&b"one"[..], b"two", CHANGE, BLOCK] {
        committed(store.commit(publish(source, &[value])));
    }
    let last = store.metrics().applied_frame;
    drop(store);
    flip(directory.path(), BLOCK);
    let report = check(directory.path()).unwrap();
    assert_eq!((told(&report), report.journal.cut.map(|cut| cut.0)), (vec![], Some(last)));
    flip(directory.path(), CHANGE);
    let report = check(directory.path()).unwrap();
    assert_eq!((report.faults.len(), report.journal.cut.map(|cut| cut.0)), (1, Some(last)));
}

#[test]
fn a_frame_that_cannot_be_read_is_a_hole_that_is_named_and_not_passed() {
    let directory = scratch();
    // All in one segment, which has no index yet.
    let mut options = options(directory.path(), None);
    options.journal.first_segment_bytes = 1 << 20;
    let store = Store::open(options.clone()).unwrap();
    let topic = topic(&store, "t");
    let [hurt, sound] = [0, 1].map(|partition| topic.partition(Partition(partition)));
    for value in [&b"a"[..], BLOCK, b"c"] {
        committed(store.commit(publish(hurt, &[value])));
        committed(store.commit(publish(sound, &[value])));
    }
    store.close().unwrap();
    drop(store);
    for (path, mut bytes) in files(directory.path(), &directory.path().join("journal")) {
        if let Some(at) = bytes.windows(BLOCK.len()).position(|window| window == BLOCK) {
            bytes[at / 4096 * 4096..][..4096].fill(0xee);
            fs::write(directory.path().join(path), bytes).unwrap();
            break;
        }
    }
    let report = check(directory.path()).unwrap();
    let [fault] = &report.faults[..] else { panic!("{:?}", told(&report)) };
    let Whose::Unknown { after, before } = fault.whose else { panic!("{:?}", told(&report)) };
    assert_eq!(after.0 + 2, before.0);
    let store = Store::open(options).unwrap();
    assert_eq!(store.recovery().lost.len(), 1);
    assert!(matches!(store.notices()[..], [Notice::FramesLost(_)]));
    match store.read(hurt, Offset(1), ALL, &mut Batch::new(hurt)) {
        Err(ReadError::Broken { offset, .. }) => assert_eq!(offset, Offset(1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(values(&store, hurt, Offset(2), ALL), [b"c"]);
    assert_eq!(values(&store, sound, Offset(0), ALL).len(), 3);
    committed(store.commit(publish(hurt, &[b"d"])));
    // What was read up to the hole is served.
    let mut batch = Batch::new(hurt);
    assert_eq!(store.read(hurt, Offset(0), ALL, &mut batch).unwrap().next, Offset(1));
}

/// A store of some megabytes, closed: blocks of all sizes, state, several tables.
fn large(directory: &Path, rounds: u64) -> StoreOptions {
    let journal =
        JournalOptions { segment_bytes: 1 << 20, first_segment_bytes: 1 << 20, ..JournalOptions::default() };
    let options = StoreOptions { background: Background::Manual, journal, ..StoreOptions::new(directory) };
    let store = Store::open(options.clone()).unwrap();
    let topic = topic(&store, "t");
    let owner = driver(store.handler_id("h").unwrap(), 0);
    let mut random = Random::new(3);
    for round in 0..rounds {
        let target = topic.partition(Partition(u32::try_from(round % 2).unwrap()));
        let len = usize::try_from(random.below(60_000)).unwrap();
        let values: Vec<Vec<u8>> =
            (0..4).map(|_| (0..len / 4).map(|_| random.draw().to_le_bytes()[0]).collect()).collect();
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        committed(store.commit(publish(target, &values)));
        let mut state = StateWrites::default();
        (0..20_u64).for_each(|key| state.push(&(round * 20 + key).to_le_bytes(), Some(&[7; 100])));
        committed(store.commit(Transaction { state, ..step(&store, owner, target, round) }));
        if round % 40 == 39 {
            store.checkpoint().unwrap();
        }
    }
    store.close().unwrap();
    options
}

#[test]
fn random_bits_of_a_large_store_are_found_or_harmless() {
    let is_long = std::env::var_os("TIDEMILL_LONG").is_some();
    let (rounds, flips) = if is_long { (4_000, 2_000) } else { (100, 30) };
    let directory = scratch();
    let options = large(directory.path(), rounds);
    let sound = files(directory.path(), directory.path());
    let expected = facts(&Store::open(options.clone()).unwrap());
    let bytes: u64 = sound.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let seed = std::env::var("TIDEMILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}, {bytes} bytes in {} files", sound.len());
    let mut random = Random::new(seed);
    let (mut found, mut harmless) = (0, 0);
    for _ in 0..flips {
        // Files of all sizes, for a table is small beside a segment.
        let (path, bytes) = &sound[usize::try_from(random.below(sound.len() as u64)).unwrap()];
        let mut flipped = bytes.clone();
        let bit = random.below(flipped.len().max(1) as u64 * 8);
        let Some(byte) = flipped.get_mut(usize::try_from(bit / 8).unwrap()) else { continue };
        *byte ^= 1 << (bit % 8);
        let name = format!("{} bit {bit}", path.display());
        restore(directory.path(), &sound);
        fs::write(directory.path().join(path), flipped).unwrap();
        let is_sound = check(directory.path()).is_ok_and(|report| report.is_sound());
        let now = Store::open(options.clone()).map(|store| facts(&store));
        match now {
            Ok(now) if now == expected => harmless += 1,
            Ok(now) => {
                found += 1;
                assert!(!is_sound, "{name}: a check finds nothing");
                for (fact, answer) in now {
                    assert!(answer.is_err() || expected.get(&fact) == Some(&answer), "{name}: {fact}");
                }
            }
            Err(error) => {
                found += 1;
                assert!(!is_sound, "{name}: a check finds nothing, the opening {error}");
            }
        }
    }
    println!("{found} found, {harmless} harmless");
    assert!(found > 0);
}

/// Puts back what was there.
fn restore(directory: &Path, sound: &[(std::path::PathBuf, Vec<u8>)]) {
    for (path, _) in files(directory, directory) {
        if !sound.iter().any(|(known, _)| *known == path) {
            fs::remove_file(directory.join(path)).unwrap();
        }
    }
    for (path, bytes) in sound {
        fs::create_dir_all(directory.join(path).parent().unwrap()).unwrap();
        fs::write(directory.join(path), bytes).unwrap();
    }
}
