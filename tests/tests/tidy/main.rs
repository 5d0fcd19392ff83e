//! The order of the tree, held by tests: who may import whom, what a file begins with, how long it is.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

mod bounds;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The import table of `runtime/ARCHITECTURE.md`: each crate of ours and those of ours that it may name in
/// what it ships. A new arrow wants a decision page.
const IMPORTS: [(&str, &[&str]); 19] = [
    ("tidemill-bus", &[]),
    ("tidemill-flow", &["tidemill-bus"]),
    ("tidemill-wasm", &["tidemill-flow"]),
    ("tidemill-server", &["tidemill-bus", "tidemill-flow", "tidemill-wasm", "tidemill-json"]),
    ("tidemill", &["tidemill-server", "tidemill-build"]),
    ("tidemill-sdk", &["tidemill-sdk-macros", "tidemill-json"]),
    ("tidemill-sdk-macros", &[]),
    ("tidemill-json", &[]),
    ("tidemill-build", &[]),
    ("passthrough", &["tidemill-sdk"]),
    ("json-filter", &["tidemill-sdk"]),
    ("aggregate", &["tidemill-sdk"]),
    ("quake-alerts", &["tidemill-sdk"]),
    ("tidemill-power-cut", &[]),
    ("vices", &[]),
    ("dice", &["tidemill-sdk"]),
    ("flaky", &["tidemill-sdk"]),
    ("sessions", &["tidemill-sdk"]),
    ("xtask", &["tidemill-build"]),
];

/// Crates that only one of ours may name.
const ONLY_IN: [(&str, &str); 4] = [
    ("wasmtime", "tidemill-wasm"),
    ("axum", "tidemill-server"),
    ("lsm-tree", "tidemill-bus"),
    ("notify", "tidemill-wasm"),
];

/// Lines that a file may have. A file over it stands in [`RATCHET`] and may only shrink.
const LINES_MAX: usize = 500;

/// Files over the line, with the length that they may not pass.
const RATCHET: [(&str, usize); 0] = [];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace")
}

/// All Rust files of the tree, by their path from the root.
fn rust_files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders: Vec<PathBuf> =
        ["runtime", "sdk", "plugins", "tests", "xtask"].iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn crates_import_only_what_the_table_allows() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let table = BTreeMap::from(IMPORTS);
    let mut wrong = Vec::new();
    for package in metadata.packages.iter().filter(|package| package.name.as_str() != "tidemill-tests") {
        let Some(allowed) = table.get(package.name.as_str()) else {
            wrong.push(format!("{} is not in the table", package.name));
            continue;
        };
        for dependency in
            package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal)
        {
            let name = dependency.name.as_str();
            if ours.contains(name) && !allowed.contains(&name) {
                wrong.push(format!("{} imports {name}", package.name));
            }
            if ONLY_IN.iter().any(|(only, owner)| *only == name && package.name != *owner) {
                wrong.push(format!("{} names {name}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "against the import table:\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_first_what_it_owns() {
    let silent: Vec<_> =
        rust_files().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(name, _)| name).collect();
    assert!(silent.is_empty(), "files without `//!` on their first line:\n{}", silent.join("\n"));
}

#[test]
fn long_files_only_shrink() {
    let ratchet = BTreeMap::from(RATCHET);
    let mut wrong = Vec::new();
    for (name, text) in rust_files() {
        let lines = text.lines().count();
        match ratchet.get(name.as_str()) {
            Some(&most) if lines > most => wrong.push(format!("{name} grew from {most} to {lines} lines")),
            Some(&most) if lines < most => {
                wrong.push(format!("{name} shrank to {lines} lines: lower its line in the ratchet"));
            }
            None if lines > LINES_MAX => {
                wrong.push(format!("{name} has {lines} lines, the most is {LINES_MAX}"));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_guest_is_used_by_a_test() {
    let files = rust_files();
    let guests = fs::read_dir(root().join("tests/guests")).unwrap();
    let mut idle = Vec::new();
    for guest in guests.map(Result::unwrap).filter(|entry| entry.path().join("Cargo.toml").exists()) {
        let name = guest.file_name().to_string_lossy().into_owned();
        let quoted = format!("\"{name}\"");
        let named =
            |(path, text): (&String, &String)| !path.starts_with("tests/guests") && text.contains(&quoted);
        if !files.iter().any(named) {
            idle.push(name);
        }
    }
    assert!(idle.is_empty(), "guests that no test names: {}", idle.join(", "));
}

/// Files that may hold unsafe code: machine code taken from the disk, generated bindings, and what stands between a
/// process and libc.
const UNSAFE: [&str; 4] = [
    "runtime/wasm/src/compile/code.rs",
    "sdk/rust/src/bindings.rs",
    "tests/power-cut/src/calls.rs",
    "tests/power-cut/src/kernel.rs",
];

#[test]
fn unsafe_code_stands_where_it_is_allowed() {
    // Built from parts, so that this file does not find itself.
    let lifted = ["unsafe", "_code,"].concat();
    let found: Vec<_> =
        rust_files().into_iter().filter(|(_, text)| text.contains(&lifted)).map(|(name, _)| name).collect();
    assert_eq!(found, UNSAFE);
}

#[test]
fn the_tree_names_no_machine() {
    let mut wrong = Vec::new();
    for (name, text) in rust_files() {
        // Built from parts, so that this file does not find itself.
        for place in ["work", "root", "home"].map(|folder| format!("\"/{folder}/")) {
            if text.contains(&place) {
                wrong.push(format!("{name} contains {place}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
