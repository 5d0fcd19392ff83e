//! The plugin directory: add, replace, remove, broken files, links, settings.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_wasm::Plugin;
use tidemill_wasm::directory::{Change, Kept, Listener, PluginDirectory, PluginError, check_directory};

use crate::support::{GUEST, batch, call, loader};

/// Hands every change to the test.
struct Tell(Mutex<SyncSender<Change>>);

impl Listener for Tell {
    fn changed(&self, change: Change) {
        // The test may be over while a last change is told.
        let _ = self.0.lock().send(change);
    }
}

pub(crate) struct Watched {
    dir: tempfile::TempDir,
    kept: tempfile::TempDir,
    changes: Receiver<Change>,
    _watch: PluginDirectory,
}

impl Watched {
    fn start(dir: tempfile::TempDir) -> Self {
        let (sender, changes) = sync_channel(100);
        let listener = Arc::new(Tell(Mutex::new(sender)));
        let kept = tempfile::tempdir().unwrap();
        let means = (Arc::new(loader()), Arc::new(Kept::open(kept.path()).unwrap()));
        let watch = PluginDirectory::open(dir.path(), means, listener).unwrap();
        Self { dir, kept, changes, _watch: watch }
    }

    pub(crate) fn empty() -> Self {
        Self::start(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn next(&self) -> Change {
        self.changes.recv_timeout(Duration::from_mins(1)).expect("a change should be told")
    }

    pub(crate) fn loaded(&self) -> Arc<Plugin> {
        match self.next() {
            Change::Loaded(plugin) => plugin,
            other => panic!("not loaded: {}", told(&other)),
        }
    }

    fn failed(&self) -> (String, String) {
        match self.next() {
            Change::Failed { name, error } => (name, error.to_string()),
            other => panic!("not failed: {}", told(&other)),
        }
    }

    fn removed(&self) -> String {
        match self.next() {
            Change::Removed { name } => name,
            other => panic!("not removed: {}", told(&other)),
        }
    }
}

fn told(change: &Change) -> String {
    match change {
        Change::Loaded(plugin) => format!("loaded {}", plugin.config().name),
        Change::Removed { name } => format!("removed {name}"),
        Change::Failed { name, error } => format!("{name} failed: {error}"),
    }
}

/// Puts a file in place as a careful tool does: written beside, then renamed.
pub(crate) fn put(dir: &Path, name: &str, bytes: &[u8]) {
    let beside = dir.join(format!(".{name}.new"));
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, dir.join(name)).unwrap();
}

#[test]
fn a_plugin_that_is_there_at_the_start_is_loaded_before_the_watch_begins() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "echo.wasm", &GUEST);
    let watched = Watched::start(dir);
    let Ok(Change::Loaded(plugin)) = watched.changes.try_recv() else { panic!("it was not loaded at once") };
    assert_eq!((plugin.config().name.as_str(), plugin.bytes()), ("echo", GUEST.len()));
    assert_eq!(plugin.config().outputs, ["echo.out"]);
    assert_eq!(call(&plugin).unwrap().events, batch().columns);
}

#[test]
fn a_plugin_is_added_replaced_and_removed_while_it_is_watched() {
    let watched = Watched::empty();
    put(watched.path(), "echo.wasm", &GUEST);
    let first = watched.loaded();
    // A custom section changes the bytes and nothing else.
    let mut other = GUEST.clone();
    other.extend([0, 2, 1, b'x']);
    put(watched.path(), "echo.wasm", &other);
    let second = watched.loaded();
    assert_ne!(first.sha256(), second.sha256());
    assert_eq!(call(&first).unwrap(), call(&second).unwrap());
    fs::remove_file(watched.path().join("echo.wasm")).unwrap();
    assert_eq!(watched.removed(), "echo");
}

#[test]
fn a_version_can_come_back_until_it_is_forgotten() {
    let watched = Watched::empty();
    put(watched.path(), "echo.toml", b"name = \"same\"\noutput = \"elsewhere\"");
    put(watched.path(), "echo.wasm", &GUEST);
    let plugin = watched.loaded();
    let version = plugin.sha256();
    fs::remove_file(watched.path().join("echo.wasm")).unwrap();
    assert_eq!(watched.removed(), "same");
    let kept = Kept::open(watched.kept.path()).unwrap();
    let back = kept.load("same", version, &loader()).unwrap();
    assert_eq!((back.config(), back.sha256()), (plugin.config(), version));
    assert!(
        kept.load("same", "another", &loader()).is_err() && kept.load("echo", version, &loader()).is_err()
    );
    kept.forget_others("same", &[version, "another"]).unwrap();
    assert!(kept.load("same", version, &loader()).is_ok());
    kept.forget_others("same", &[]).unwrap();
    assert!(kept.load("same", version, &loader()).is_err());
}

#[test]
fn settings_that_change_bring_a_new_version_and_a_new_name_ends_the_old() {
    let watched = Watched::empty();
    put(watched.path(), "echo.toml", b"output = \"elsewhere\"");
    put(watched.path(), "echo.wasm", &GUEST);
    assert_eq!(watched.loaded().config().outputs, ["elsewhere"]);
    put(watched.path(), "echo.toml", b"name = \"renamed\"\n[config]\nvice = \"refuse\"");
    assert_eq!(watched.removed(), "echo");
    let plugin = watched.loaded();
    assert_eq!(plugin.config().name, "renamed");
    assert!(call(&plugin).is_err());
    fs::remove_file(watched.path().join("echo.toml")).unwrap();
    assert_eq!(watched.removed(), "renamed");
    assert_eq!(watched.loaded().config().name, "echo");
}

#[test]
fn a_broken_file_is_told_and_the_handler_goes_on_under_its_name() {
    let watched = Watched::empty();
    put(watched.path(), "echo.toml", b"name = \"good\"");
    put(watched.path(), "echo.wasm", &GUEST);
    assert_eq!(watched.loaded().config().name, "good");
    put(watched.path(), "echo.wasm", b"garbage");
    let (name, error) = watched.failed();
    assert_eq!(name, "good");
    assert!(error.contains("echo.wasm: not WebAssembly"), "{error}");
    put(watched.path(), "echo.wasm", &GUEST);
    assert_eq!(watched.loaded().config().name, "good");
    put(watched.path(), "echo.toml", b"name = \"good\"\n[limits]\nmemroy = \"1MiB\"");
    let (name, error) = watched.failed();
    assert_eq!(name, "good");
    assert!(
        error.ends_with("echo.toml: line 3, column 1: unknown key `memroy`, did you mean `memory`?"),
        "{error}"
    );
    put(watched.path(), "echo.toml", b"[config]\nvice = \"unready\"");
    let (name, error) = watched.failed();
    assert_eq!(name, "good");
    assert!(error.contains("refuses its configuration"), "{error}");
    put(watched.path(), "echo.toml", b"name = \"good\"");
    assert_eq!(watched.loaded().config().name, "good");
}

#[test]
fn a_link_out_of_the_directory_is_refused_and_one_within_is_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    put(elsewhere.path(), "outside.wasm", &GUEST);
    let watched = Watched::empty();
    symlink(elsewhere.path().join("outside.wasm"), watched.path().join("spy.wasm")).unwrap();
    let (name, error) = watched.failed();
    assert_eq!(name, "spy");
    assert!(error.contains("outside of the plugin directory"), "{error}");
    put(watched.path(), "echo-v1.data", &GUEST);
    symlink("echo-v1.data", watched.path().join("echo.wasm")).unwrap();
    assert_eq!(watched.loaded().config().name, "echo");
}

#[test]
fn a_name_belongs_to_one_file_and_passes_on_when_that_goes() {
    let watched = Watched::empty();
    put(watched.path(), "one.toml", b"name = \"same\"");
    put(watched.path(), "one.wasm", &GUEST);
    assert_eq!(watched.loaded().config().name, "same");
    put(watched.path(), "two.toml", b"name = \"same\"");
    put(watched.path(), "two.wasm", &GUEST);
    let (name, error) = watched.failed();
    assert_eq!(name, "two");
    assert!(error.contains("the handler same comes from") && error.ends_with("one.wasm already"), "{error}");
    fs::remove_file(watched.path().join("one.wasm")).unwrap();
    assert_eq!(watched.removed(), "same");
    assert_eq!(watched.loaded().config().name, "same");
}

#[test]
fn a_directory_that_is_missing_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, _changes) = sync_channel(100);
    let listener = Arc::new(Tell(Mutex::new(sender)));
    let means = (Arc::new(loader()), Arc::new(Kept::open(&dir.path().join("kept")).unwrap()));
    let opened = PluginDirectory::open(&dir.path().join("nowhere"), means, listener);
    assert_eq!(opened.err().unwrap().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_check_reports_every_file_and_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a-good.wasm", &GUEST);
    put(dir.path(), "b-bad.wasm", b"\0asm\x01\0\0\0");
    put(dir.path(), "c-twin.toml", b"name = \"a-good\"");
    put(dir.path(), "c-twin.wasm", &GUEST);
    put(dir.path(), "d-alone.toml", b"");
    put(dir.path(), "README.md", b"not a plugin");
    let checked = check_directory(dir.path(), &loader()).unwrap();
    let outcomes: Vec<_> = checked
        .iter()
        .map(|checked| {
            let file = checked.path.file_name().unwrap().to_str().unwrap();
            let kind = match &checked.outcome {
                Ok(_) => "good",
                Err(PluginError::Load { .. }) => "load",
                Err(PluginError::NameTaken { .. }) => "name",
                Err(PluginError::NoComponent { .. }) => "alone",
                Err(_) => "other",
            };
            (file, kind)
        })
        .collect();
    let expected =
        [("a-good.wasm", "good"), ("b-bad.wasm", "load"), ("c-twin.wasm", "name"), ("d-alone.toml", "alone")];
    assert_eq!(outcomes, expected);
}
