//! Tables that nothing can make again: what is the store's own is taken from the copy beside them, whoever loses
//! something stands still and says so, and without the copy the opening tells what to do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidemill_bus::log::Log;
use tidemill_bus::notice::Notice;
use tidemill_bus::store::Store;
use tidemill_bus::transaction::StateWrites;
use tidemill_bus::{DriverKey, Offset, Partition, TopicPartition, Transaction, check};

use crate::flips::{files, options, scratch};
use crate::harness::{ALL, committed, driver, next_of, publish, step, topic, values};

/// What a store was filled with whose journal does not reach back.
struct Filled {
    /// All events are gone, only its end is known.
    quiet: TopicPartition,
    busy: TopicPartition,
    owner: DriverKey,
}

/// Makes topics whose rows alone fill several blocks of a table.
fn fill_block(store: &Store, from: u32) {
    for filler in from..from + 60 {
        topic(store, &format!("{filler}{}", "x".repeat(240)));
    }
}

fn fill(directory: &Path) -> Filled {
    let store = Store::open(options(directory, Some(0))).unwrap();
    fill_block(&store, 100);
    let quiet = topic(&store, "quiet").partition(Partition(1));
    let busy = topic(&store, "busy").partition(Partition(0));
    store.delete_topic("quiet").unwrap();
    let quiet = TopicPartition { topic: topic(&store, "quiet").id, ..quiet };
    let owner = driver(store.handler_id("count").unwrap(), 0);
    store.handler_id("other").unwrap();
    store.set_note(owner.handler, b"a note").unwrap();
    committed(store.commit(publish(quiet, &[b"a", b"b", b"c"])));
    for round in 0..12_u8 {
        committed(store.commit(publish(busy, &[&[round; 3_000]])));
        let mut state = StateWrites::default();
        state.push(b"round", Some(&[round]));
        let moved = step(&store, owner, busy, u64::from(round) + 1);
        committed(store.commit(Transaction { state, ..moved }));
        if round % 4 == 3 {
            store.checkpoint().unwrap();
        }
    }
    assert!(store.retain().unwrap() > 0);
    store.close().unwrap();
    assert_eq!(store.range(quiet).unwrap().start, Offset(3));
    Filled { quiet, busy, owner }
}

/// The files of the tables, the copy beside them not among them.
fn tables(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(directory, &directory.join("tables"))
}

fn write(directory: &Path, files: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Breaks a byte in the first block of the newest table, which tells how far the tables have come.
fn hurt(directory: &Path) {
    let number =
        |(path, _): &(PathBuf, Vec<u8>)| path.file_name().unwrap().to_str().unwrap().parse::<u64>().ok();
    let tables = files(directory, &directory.join("tables/tables"));
    let (path, mut bytes) = tables.into_iter().max_by_key(number).unwrap();
    bytes[60] ^= 0x10;
    fs::write(directory.join(path), bytes).unwrap();
}

/// Holds what is the store's own to what it was.
fn check_own(store: &Store, Filled { quiet, busy, owner }: &Filled) {
    assert_eq!(store.topics().len(), 62);
    let topics = store.topics().into_iter().filter(|topic| !topic.name.starts_with('1'));
    let names: Vec<_> = topics.map(|topic| (topic.name.to_string(), topic.id)).collect();
    assert_eq!(names, [("busy".to_owned(), busy.topic), ("quiet".to_owned(), quiet.topic)]);
    assert_eq!(store.group("count").unwrap().handler, owner.handler);
    let kept = store.range(*busy).unwrap();
    assert_eq!((store.range(*quiet).unwrap().end, kept.end), (Offset(3), Offset(12)));
    let expected: Vec<_> =
        (kept.start.0..12).map(|round| vec![u8::try_from(round).unwrap(); 3_000]).collect();
    assert_eq!(values(store, *busy, kept.start, ALL), expected);
}

/// Goes on where it is known to, and gives nothing a second time.
fn go_on(store: &Store, Filled { quiet, owner, .. }: &Filled) {
    assert_eq!(committed(store.commit(publish(*quiet, &[b"d"]))).runs[0].offset, Offset(3));
    assert!(topic(store, "new").id > quiet.topic);
    assert!(store.handler_id("new").unwrap() > owner.handler);
}

#[test]
fn a_store_whose_tables_are_gone_keeps_topics_and_ends_and_its_handlers_wait_to_be_reset() {
    let sound = scratch();
    let filled = fill(sound.path());
    for (gone, _) in tables(sound.path()) {
        let directory = scratch();
        write(directory.path(), &files(sound.path(), sound.path()));
        fs::remove_file(directory.path().join(&gone)).unwrap();
        assert!(!check(directory.path()).unwrap().is_sound(), "{}", gone.display());
        let store = Store::open(options(directory.path(), Some(0))).unwrap();
        assert!(matches!(store.notices()[0], Notice::TablesLost(_)), "{}", gone.display());
        check_own(&store, &filled);
        let owner = filled.owner;
        for _ in 0..2 {
            assert!(store.state_scan(owner, b"", None, 9).is_err());
            assert!(store.progress(owner, filled.busy.topic).is_err());
            let refused = store.restore_group("count").unwrap_err().to_string();
            assert!(refused.contains("reset it"), "{refused}");
            assert_eq!(store.retain().unwrap(), 0);
        }
        go_on(&store, &filled);
        drop(store);

        // It is remembered, and said again.
        assert!(!check(directory.path()).unwrap().is_sound());
        let store = Store::open(options(directory.path(), Some(0))).unwrap();
        let told =
            store.notices().iter().filter(|notice| matches!(notice, Notice::ProgressBroken { .. })).count();
        assert_eq!(told, 2);
        let anew = driver(store.reset_group("count").unwrap(), 0);
        store.reset_group("other").unwrap();
        committed(store.commit(step(&store, anew, filled.busy, 12)));
        store.checkpoint().unwrap();
        drop(store);
        let store = Store::open(options(directory.path(), Some(0))).unwrap();
        assert_eq!((store.notices(), next_of(&store, anew, filled.busy)), (vec![], Some(12)));
        assert!(check(directory.path()).is_err(), "in use");
        drop(store);
        assert_eq!(check(directory.path()).unwrap().faults, []);
    }
}

#[test]
fn rows_that_cannot_be_read_are_taken_from_the_copy() {
    let sound = scratch();
    let filled = fill(sound.path());
    let all = files(sound.path(), sound.path());
    let tables = all.iter().filter(|(path, _)| path.starts_with("tables/tables"));
    let (mut copied, mut frames, mut goes_on) = (BTreeSet::new(), 0, 0);
    let flips = tables.flat_map(|(path, bytes)| {
        (0..bytes.len()).step_by((bytes.len() / 60).max(1)).map(move |at| (path, bytes, at))
    });
    for (table, bytes, at) in flips {
        let directory = scratch();
        write(directory.path(), &all);
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        fs::write(directory.path().join(table), bytes).unwrap();
        let store = Store::open(options(directory.path(), Some(0))).unwrap();
        for notice in store.notices() {
            match notice {
                Notice::RowsCopied { rows, .. } => drop(copied.insert(rows)),
                Notice::FrameCopied { .. } => frames += 1,
                _ => {}
            }
        }
        check_own(&store, &filled);
        // Whoever is not hurt goes on as it was.
        if let Ok(progress) = store.progress(filled.owner, filled.busy.topic) {
            assert_eq!(progress.unwrap().next, Offset(12), "byte {at}");
            goes_on += 1;
        }
        if let Ok(rows) = store.state_scan(filled.owner, b"", None, 9) {
            assert_eq!(rows, [(b"round".to_vec(), vec![11])], "byte {at}");
        }
        go_on(&store, &filled);
        store.checkpoint().unwrap();
        drop(store);
        // The frame is written anew with each flush, the rows that are broken are not.
        let store = Store::open(options(directory.path(), Some(0))).unwrap();
        assert!(!store.notices().iter().any(|notice| matches!(notice, Notice::FrameCopied { .. })));
        assert_eq!(
            (store.topics().len(), store.range(filled.quiet).unwrap().end),
            (63, Offset(4)),
            "byte {at}"
        );
    }
    let expected = ["ends of partitions", "handlers", "next ids", "topics"].map(str::to_owned);
    assert_eq!(copied, BTreeSet::from(expected));
    assert!(frames > 5 && goes_on > 20, "{frames} {goes_on}");
}

#[test]
fn a_copy_that_is_newer_than_the_tables_lets_no_frame_be_left_out() {
    let directory = scratch();
    let filled = fill(directory.path());
    let store = Store::open(options(directory.path(), Some(0))).unwrap();
    // Where the first block of the newest table ends, no driver's row begins yet.
    fill_block(&store, 160);
    store.checkpoint().unwrap();
    let before = tables(directory.path());
    committed(store.commit(publish(filled.busy, &[b"after"])));
    let late = driver(store.handler_id("late").unwrap(), 0);
    committed(store.commit(step(&store, late, filled.busy, 7)));
    store.checkpoint().unwrap();
    drop(store);
    // A crash between the copy and the flush.
    fs::remove_dir_all(directory.path().join("tables")).unwrap();
    write(directory.path(), &before);
    let store = Store::open(options(directory.path(), Some(0))).unwrap();
    assert_eq!(store.notices(), []);
    assert_eq!(next_of(&store, late, filled.busy), Some(7));
    drop(store);
    hurt(directory.path());
    let store = Store::open(options(directory.path(), Some(0))).unwrap();
    assert_eq!(store.range(filled.busy).unwrap().end, Offset(13));
    assert_eq!(next_of(&store, late, filled.busy), Some(7));
}

#[test]
fn without_a_copy_the_opening_tells_what_is_broken_and_what_to_do() {
    for (copy, told) in [(None, "is missing"), (Some(&b"nonsense"[..]), "cannot be read either")] {
        let directory = scratch();
        fill(directory.path());
        hurt(directory.path());
        let path = directory.path().join("tables.copy");
        copy.map_or_else(|| fs::remove_file(&path), |bytes| fs::write(&path, bytes)).unwrap();
        let before = files(directory.path(), directory.path());
        let error = Store::open(options(directory.path(), Some(0))).unwrap_err().to_string();
        for part in
            [told, "the tables' file", "holds rows from", "sound copies of the broken files", "of a backup"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(files(directory.path(), directory.path()), before);
    }
}
