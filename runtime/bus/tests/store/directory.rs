//! Stores in real directories: in use, unusable, and opened again by the real tables.

use tidemill_bus::log::Log;
use tidemill_bus::store::{Background, OpenError, Store, StoreOptions};
use tidemill_bus::transaction::{Progress, ProgressUpdate, StateWrites};
use tidemill_bus::{Offset, Partition, Transaction};

use crate::harness::{ALL, committed, driver, publish, topic, values};

#[test]
fn a_directory_in_use_names_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions::new(directory.path())).unwrap();
    // After the whole of LOCK_WAIT_MS.
    let error = Store::open(StoreOptions::new(directory.path())).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, OpenError::Lock(_)));
    assert!(text.contains(&format!("in use by process {}", std::process::id())), "{text}");
    assert!(text.contains(directory.path().to_str().unwrap()), "{text}");
    drop(store);
    Store::open(StoreOptions::new(directory.path())).unwrap();
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    // The kernel's own directory takes no files, whoever asks.
    for path in [file.join("data"), "/proc/tidemill".into()] {
        let error = Store::open(StoreOptions::new(&path)).unwrap_err();
        assert!(matches!(error, OpenError::Directory { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_store_on_disk_comes_back_with_everything_clean_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { background: Background::Manual, ..StoreOptions::new(directory.path()) };
    let store = Store::open(options.clone()).unwrap();
    assert!(store.recovery().created);
    let source = topic(&store, "t").partition(Partition(1));
    let driver = driver(store.handler_id("h").unwrap(), 1);
    for round in 1..=6_u64 {
        let mut state = StateWrites::default();
        state.push(b"round", Some(&round.to_le_bytes()));
        state.push(&round.to_le_bytes(), Some(b"x"));
        state.push(&(round - 1).to_le_bytes(), None);
        let progress = Progress { next: Offset(round), attempts: 1, not_before: 5 };
        committed(store.commit(Transaction {
            driver: Some(driver),
            progress: Some(ProgressUpdate { topic: source.topic, progress }),
            state,
            ..publish(source, &[&round.to_le_bytes()])
        }));
        if round % 2 == 0 {
            store.checkpoint().unwrap();
        }
    }
    let expected =
        [(6_u64.to_le_bytes().to_vec(), b"x".to_vec()), (b"round".to_vec(), 6_u64.to_le_bytes().to_vec())];
    let check = |store: &Store| {
        assert_eq!(store.state_scan(driver, b"", None, 99).unwrap(), expected);
        let mut found = Vec::new();
        store.state_get(driver, &mut [&b"round"[..], b"none"].into_iter(), &mut found).unwrap();
        assert_eq!(found, [Some(6_u64.to_le_bytes().to_vec()), None]);
        assert_eq!(store.progress(driver, source.topic).unwrap().unwrap().next, Offset(6));
        assert_eq!(values(store, source, Offset(0), ALL).len(), 6);
    };
    check(&store);
    drop(store);
    let store = Store::open(options.clone()).unwrap();
    assert!(!store.recovery().clean);
    check(&store);
    store.close().unwrap();
    drop(store);
    let store = Store::open(options).unwrap();
    assert!(store.recovery().clean);
    check(&store);
}
