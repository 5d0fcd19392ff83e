//! Stores written by every released version of the format, journal and tables, are read for ever; those of a
//! newer one are refused by name.

use std::fs;
use std::path::{Path, PathBuf};

use tidemill_bus::store::Store;
use tidemill_bus::tables::Tree;

use crate::flips::{facts, files, fill, fill_compacted, fill_compressed, options, scratch};
use crate::harness::{World, committed, publish, topic};

fn directory(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version).join("store")
}

/// Makes a store in which blocks are packed.
fn make_compacted(path: &Path) {
    let store = Store::open(options(path, None)).unwrap();
    fill(&store);
    fill_compacted(&store);
    store.checkpoint().unwrap();
    assert!(store.settle().unwrap() > 0);
    store.close().unwrap();
}

/// Makes a store in which segments are joined.
fn make_joined(path: &Path) {
    let store = Store::open(options(path, None)).unwrap();
    fill(&store);
    fill_compacted(&store);
    store.checkpoint().unwrap();
    while store.settle().unwrap() > 0 {}
    assert!(store.metrics().segments_joined > 0);
    store.close().unwrap();
}

/// Makes a store in which blocks are compressed, some of them packed, too.
fn make_compressed(path: &Path) {
    let store = Store::open(options(path, None)).unwrap();
    fill(&store);
    fill_compressed(&store);
    store.checkpoint().unwrap();
    assert!(store.settle().unwrap() > 0);
    store.close().unwrap();
}

/// A data directory of its own with the files of `from`, each as `change` makes it.
fn copy(from: &Path, change: impl Fn(&Path, &mut Vec<u8>)) -> tempfile::TempDir {
    let directory = scratch();
    for (path, mut bytes) in files(from, from) {
        change(&path, &mut bytes);
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    directory
}

#[test]
fn a_store_of_version_1_is_read() {
    let (fixture, fresh) = (copy(&directory("v1"), |_, _| ()), scratch());
    let fresh = Store::open(options(fresh.path(), None)).unwrap();
    fill(&fresh);
    let store = Store::open(options(fixture.path(), None)).unwrap();
    assert!(store.recovery().clean && store.notices().is_empty());
    assert_eq!(store.recovery().frames_replayed, 1);
    assert_eq!(facts(&store), facts(&fresh));
    // The tables alone are of this version, too: without them the journal tells the same.
    store.close().unwrap();
    drop(store);
    fs::remove_dir_all(fixture.path().join("tables")).unwrap();
    let store = Store::open(options(fixture.path(), None)).unwrap();
    assert!(store.recovery().frames_replayed > 1);
    assert_eq!(facts(&store), facts(&fresh));
}

#[test]
fn a_compacted_store_of_version_1_is_read() {
    let (fixture, fresh) = (copy(&directory("v1").with_file_name("compacted"), |_, _| ()), scratch());
    make_compacted(fresh.path());
    let fresh = facts(&Store::open(options(fresh.path(), None)).unwrap());
    assert!(fresh.values().all(Result::is_ok), "{fresh:?}");
    assert_eq!(facts(&Store::open(options(fixture.path(), None)).unwrap()), fresh);
}

#[test]
fn a_joined_store_of_version_1_is_read() {
    let (fixture, fresh) = (copy(&directory("v1").with_file_name("joined"), |_, _| ()), scratch());
    make_joined(fresh.path());
    let fresh = facts(&Store::open(options(fresh.path(), None)).unwrap());
    assert!(fresh.values().all(Result::is_ok), "{fresh:?}");
    assert_eq!(facts(&Store::open(options(fixture.path(), None)).unwrap()), fresh);
}

#[test]
fn a_compressed_store_of_version_1_is_read() {
    let (fixture, fresh) = (copy(&directory("v1").with_file_name("compressed"), |_, _| ()), scratch());
    make_compressed(fresh.path());
    let fresh = facts(&Store::open(options(fresh.path(), None)).unwrap());
    assert!(fresh.values().all(Result::is_ok), "{fresh:?}");
    assert_eq!(facts(&Store::open(options(fixture.path(), None)).unwrap()), fresh);
}

/// Writes version 2 into the structure at `at`, whose checksum is at 8 and covers what follows it up to `len`.
fn make_newer(bytes: &mut [u8], at: usize, len: usize) {
    bytes[at + 12] = 2;
    let crc = crc32c::crc32c(&bytes[at + 12..at + len]).to_le_bytes();
    bytes[at + 8..at + 12].copy_from_slice(&crc);
}

#[test]
fn a_store_of_a_newer_version_is_refused_by_name() {
    let newest = files(&directory("v1"), &directory("v1").join("journal")).into_iter().map(|(path, _)| path);
    let newest = newest.filter(|path| path.extension().is_some()).max().unwrap();
    let frame_header = |bytes: &[u8]| u32::from_le_bytes(bytes[4096 + 16..4096 + 20].try_into().unwrap());
    for (name, file, at, len) in [
        ("the store's file", Path::new("journal/STORE"), 0, Some(32)),
        ("a segment", &newest, 0, Some(64)),
        ("a frame", &newest, 4096, None),
    ] {
        let newer = copy(&directory("v1"), |path, bytes| {
            if path == file {
                let len = len.unwrap_or_else(|| frame_header(bytes) as usize);
                make_newer(bytes, at, len);
                if len == 64 {
                    make_newer(bytes, at + 2048, len);
                }
            }
        });
        let error = Store::open(options(newer.path(), None)).unwrap_err().to_string();
        assert!(error.contains("version 2") && error.contains("use a newer Tidemill"), "{name}: {error}");
    }
}

#[test]
fn a_row_of_a_newer_version_is_refused_by_the_name_of_its_table() {
    let world = World::new(1);
    let store = world.open().unwrap();
    committed(store.commit(publish(topic(&store, "t").partition(tidemill_bus::Partition(0)), &[b"a"])));
    store.close().unwrap();
    drop(store);
    // The row of topic 1, as FORMAT.md has its key.
    let key = [&[1][..], &[0; 16], &1_u64.to_be_bytes()].concat();
    let mut row = world.tables.get(&key).unwrap().unwrap();
    row[0] = 3;
    let frame = world.tables.persisted();
    world.tables.persist(frame, &mut [(key, Some(row))].into_iter()).unwrap();
    let error = world.open().unwrap_err().to_string();
    assert!(error.contains("table Topics is broken or of a newer version"), "{error}");
}

/// Run it with `cargo test -p tidemill-bus --test store -- --ignored write_the_fixture` after a change of format,
/// with the new version's directory here and its own test above; never for a version that is released.
#[test]
#[ignore = "writes a fixture"]
fn write_the_fixture() {
    let made = scratch();
    fill(&Store::open(options(made.path(), None)).unwrap());
    let store = Store::open(options(made.path(), None)).unwrap();
    store.close().unwrap();
    drop(store);
    write(made.path(), &directory("v1"));
}

/// As [`write_the_fixture`], of the compacted store.
#[test]
#[ignore = "writes a fixture"]
fn write_the_compacted_fixture() {
    let made = scratch();
    make_compacted(made.path());
    write(made.path(), &directory("v1").with_file_name("compacted"));
}

/// As [`write_the_fixture`], of the joined store.
#[test]
#[ignore = "writes a fixture"]
fn write_the_joined_fixture() {
    let made = scratch();
    make_joined(made.path());
    write(made.path(), &directory("v1").with_file_name("joined"));
}

/// As [`write_the_fixture`], of the compressed store.
#[test]
#[ignore = "writes a fixture"]
fn write_the_compressed_fixture() {
    let made = scratch();
    make_compressed(made.path());
    write(made.path(), &directory("v1").with_file_name("compressed"));
}

fn write(made: &Path, directory: &Path) {
    // Not all may be there when there was none.
    let _ = fs::remove_dir_all(directory);
    for (path, bytes) in files(made, made) {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::remove_file(directory.join("LOCK")).unwrap();
}
