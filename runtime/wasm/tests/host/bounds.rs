//! The bounds of the host that no vice of a guest reaches, each driven to full: what fits is taken, what is
//! beyond is refused by name.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use tidemill_flow::handler::{Call, Handler};
use tidemill_wasm::directory::{PluginError, check_directory};
use tidemill_wasm::{Plugin, limits};

use crate::directory::{Watched, put};
use crate::support::{DRIVER, GUEST, State, batch, call_of, guest, loader, with_vice};

/// A handler, in text, with these lines more in its core module, and these in the component around it.
fn handler_with(module: &str, component: &str) -> Result<Arc<Plugin>, String> {
    let instance = "(core instance $i (instantiate $guest))";
    let text = include_str!("handler.wat")
        .replace("REALLOC", "unreachable")
        .replace("PROCESS", "unreachable")
        .replace("(memory (export \"memory\") 1)", &format!("(memory (export \"memory\") 1)\n{module}"))
        .replace(instance, &format!("{instance}\n{component}"));
    loader().load(&wat::parse_str(text).unwrap(), with_vice("")).map_err(|error| error.to_string())
}

/// Whether so many of `line` more are taken, and one more than that is refused with all of `words`.
fn full_at(count: usize, words: &[&str], with: impl Fn(usize) -> Result<Arc<Plugin>, String>) {
    with(count).unwrap();
    let error = with(count + 1).err().unwrap();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn a_component_has_so_many_core_instances() {
    let more = "(core module $more) ";
    full_at(limits::CORE_INSTANCES_PER_INSTANCE as usize - 1, &["instance"], |count| {
        handler_with("", &format!("{more}{}", "(core instance (instantiate $more))".repeat(count)))
    });
}

#[test]
fn a_component_has_so_many_tables_of_so_many_entries() {
    full_at(limits::TABLES_PER_INSTANCE as usize, &["table"], |count| {
        handler_with(&"(table 1 funcref)".repeat(count), "")
    });
    full_at(limits::TABLE_ELEMENTS, &["table", "20000"], |count| {
        handler_with(&format!("(table {count} funcref)"), "")
    });
}

#[test]
fn a_component_has_so_many_memories() {
    full_at(limits::MEMORIES_PER_INSTANCE as usize - 1, &["memor"], |count| {
        handler_with(&"(memory 1)".repeat(count), "")
    });
}

#[test]
fn an_instantiation_that_never_ends_meets_its_deadline() {
    let error = handler_with("(func $forever (loop (br 0))) (start $forever)", "").err().unwrap();
    let seconds = limits::INSTANTIATION_DEADLINE.as_secs();
    assert!(error.contains("cannot be instantiated") && error.contains(&format!("{seconds}s")), "{error}");
}

#[test]
fn a_plugin_has_so_many_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("huge.wasm")).unwrap();
    file.set_len(limits::PLUGIN_BYTES).unwrap();
    let check = || check_directory(dir.path(), &loader()).unwrap().remove(0).outcome.err().unwrap();
    assert!(matches!(check(), PluginError::Load { .. }));
    file.set_len(limits::PLUGIN_BYTES + 1).unwrap();
    let error = check();
    assert!(
        matches!(&error, PluginError::TooLarge { bytes, .. } if *bytes == limits::PLUGIN_BYTES + 1),
        "{error}"
    );
}

/// What a scan for everything brings of `state`: entries, bytes, whether there are more.
fn page(state: State) -> String {
    let mut instance = guest("page").instantiate(DRIVER).unwrap();
    let batch = batch();
    let output = instance.process(Call { state: Arc::new(state), ..call_of(&batch) }).unwrap();
    String::from_utf8(output.events.data).unwrap()
}

#[test]
fn a_page_of_a_scan_has_so_many_entries() {
    let state = |count: u32| {
        let state = State::default();
        state.0.lock().extend((0..count).map(|key| (key.to_be_bytes().to_vec(), vec![b'v'])));
        state
    };
    let entries = limits::SCAN_ENTRIES;
    assert_eq!(page(state(entries)), format!("{entries} {} false", entries * 5));
    assert_eq!(page(state(entries + 1)), format!("{entries} {} true", entries * 5));
}

#[test]
fn a_page_of_a_scan_has_so_many_bytes_or_one_entry() {
    let state = |bytes: &[usize]| {
        let state = State::default();
        let entry = |(key, &bytes): (u32, &usize)| (key.to_be_bytes().to_vec(), vec![b'v'; bytes - 4]);
        state.0.lock().extend((0..).zip(bytes).map(entry));
        state
    };
    let half = limits::SCAN_BYTES / 2;
    assert_eq!(page(state(&[half, half])), format!("2 {} false", limits::SCAN_BYTES));
    assert_eq!(page(state(&[half, half + 1])), format!("1 {half} true"));
    let huge = limits::SCAN_BYTES + 100;
    assert_eq!(page(state(&[huge, 5])), format!("1 {huge} true"));
}

/// A change that the kernel does not report, for it happens in another directory, is found by looking.
#[test]
fn the_directory_is_read_anew_when_nobody_tells_of_a_change() {
    let watched = Watched::empty();
    let inside: &Path = &watched.path().join("versions");
    fs::create_dir(inside).unwrap();
    put(inside, "v1.wasm", &GUEST);
    symlink("versions/v1.wasm", watched.path().join("echo.wasm")).unwrap();
    let first = watched.loaded();
    let mut other = GUEST.clone();
    other.extend([0, 2, 1, b'x']);
    put(inside, "v1.wasm", &other);
    assert_ne!(first.sha256(), watched.loaded().sha256());
}
