//! The compile cache: hit, miss, broken entry, its closed directory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_wasm::{Cache, Loader};

use crate::support::{ENGINE, GUEST, Log, batch, call, with_vice};

fn cached_loader(dir: &Path) -> Loader {
    Loader::new(ENGINE.clone(), Some(Cache::open(dir).unwrap()), Arc::new(Log::default())).unwrap()
}

fn echoes(loader: &Loader) {
    let plugin = loader.load(&GUEST, with_vice("echo")).unwrap();
    assert_eq!(call(&plugin).unwrap().events, batch().columns);
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_was_compiled_once_is_taken_from_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("made/anew");
    echoes(&cached_loader(&dir));
    let [entry] = &entries(&dir)[..] else { panic!("not one entry") };
    let written = fs::metadata(entry).unwrap().ino();
    echoes(&cached_loader(&dir));
    assert_eq!(fs::metadata(entry).unwrap().ino(), written, "it was compiled and written again");
}

#[test]
fn the_directory_is_closed_to_others() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Cache::open(dir.path()).unwrap();
    assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_broken_entry_is_compiled_anew_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    echoes(&cached_loader(dir.path()));
    let [entry] = &entries(dir.path())[..] else { panic!("not one entry") };
    let good = fs::read(entry).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for broken in [&flipped[..], &good[..good.len() - 1], &good[..7], &[]] {
        fs::write(entry, broken).unwrap();
        echoes(&cached_loader(dir.path()));
        assert_eq!(fs::read(entry).unwrap().len(), good.len());
    }
    assert_eq!(entries(dir.path()).len(), 1, "a temporary file was left");
}

#[test]
fn only_the_newest_entries_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH;
    for number in 0..tidemill_wasm::limits::CACHE_ENTRIES {
        let file = fs::File::create(dir.path().join(format!("{number}.native"))).unwrap();
        file.set_modified(old).unwrap();
    }
    echoes(&cached_loader(dir.path()));
    assert_eq!(entries(dir.path()).len(), tidemill_wasm::limits::CACHE_ENTRIES);
    echoes(&cached_loader(dir.path()));
}
