//! Guests with every vice in one runtime: each is told what it did, its events go to its own dead letters, and a
//! handler among them that behaves loses nothing.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use reqwest::Method;
use serde_json::{Value, json};

use crate::handlers::{dir_with, until, wait_for};
use crate::mill::{BINARY, Mill, stderr};

/// The guest of every vice, built once by the binary itself.
static VICES: LazyLock<PathBuf> = LazyLock::new(|| {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/vices");
    let built = Command::new(BINARY).arg("build").arg(guest).arg("--out").arg(&out).output().unwrap();
    assert!(built.status.success(), "{}", stderr(&built));
    out.join("vices.wasm")
});

/// Each vice that ends a call, and what its dead letters say of it.
const VICES_AND_REASONS: &[(&str, &str)] = &[
    ("trap", "unreachable"),
    ("spin", "200ms"),
    ("hoard", "67108864"),
    ("recurse", "call stack exhausted"),
    ("flood", "8388608"),
    ("gush", "67108864"),
    ("swarm", "bytes"),
    ("rant", "200ms"),
    ("shout", "8388608"),
    ("refuse", "I do not like it"),
    ("lie-keys", "the key lengths add up to"),
    ("lie-sum", "add up to"),
    ("lie-overflow", "add up to"),
    ("lie-negative", "column key-lens has the length -2"),
    ("lie-ragged", "column value-lens has"),
    ("lie-cause", "as its cause, which is not settled"),
    ("lie-unsettled", "no stop says why"),
    ("lie-settled", "events are settled of a batch"),
    ("lie-stopped", "still a stop is given"),
    ("lie-rejected", "names event 4294967295, which is not settled"),
    ("lie-topic", "names topic 7 of 0"),
    ("lie-topics", "column topic-of has"),
    ("lie-times", "column times has"),
    ("lie-keys-ragged", "column key-lens has"),
    ("lie-headers-ragged", "column header-lens has"),
    ("lie-headers", "headers of emitted event 0 are broken"),
    ("lie-data", "add up to"),
    ("lie-state", "column state-value-lens has"),
    ("lie-state-value", "column state-value-lens has the length -9"),
    ("lie-state-data", "the state writes add up to"),
    ("lie-state-key", "key 0 of the state has 5000 bytes"),
];

const LIMITS: &str = "\
[retry]
attempts = 2
backoff = \"1ms\"
[limits]
memory = \"64MiB\"
output = \"8MiB\"
";

/// Puts the guest with a vice into the plugin directory.
fn put_vice(dir: &Path, vice: &str) {
    let plugins = dir.join("plugins");
    // Those that would take all of it get little time.
    let deadline_ms = if ["spin", "rant"].contains(&vice) { 200 } else { 60_000 };
    let settings = format!(
        "inputs = [\"sins\"]\noutput = \"from-{vice}\"\n{LIMITS}deadline = \"{deadline_ms}ms\"\n\
         [config]\nvice = \"{vice}\"\n"
    );
    fs::write(plugins.join(format!("{vice}.toml")), settings).unwrap();
    fs::copy(&*VICES, plugins.join(format!("{vice}.wasm"))).unwrap();
}

fn lines(range: std::ops::Range<usize>) -> String {
    range.fold(String::new(), |mut lines, number| {
        writeln!(lines, "{{\"n\":{number}}}").unwrap();
        lines
    })
}

#[test]
fn every_vice_is_told_and_harms_nobody_else() {
    let dir = dir_with("passthrough", "good", "inputs = [\"in\"]\noutput = \"out\"");
    for (vice, _) in VICES_AND_REASONS {
        put_vice(dir.path(), vice);
    }
    let mill = Mill::start_in(dir, &[]);
    mill.publish("sins", &lines(0..3));
    let mut good = 0;
    for (vice, reason) in VICES_AND_REASONS {
        let url = format!("/v1/dead-letters/{vice}");
        let letters = loop {
            mill.publish("in", &lines(good..good + 10));
            good += 10;
            assert_eq!(wait_for(&mill, "out", good).len(), good);
            let (_, letters) = mill.get(&url);
            if letters.as_array().is_some_and(|letters| letters.len() == 3) {
                break letters;
            }
        };
        for letter in letters.as_array().unwrap() {
            let error = letter["headers"]["tidemill-error"].as_str().unwrap();
            assert!(error.contains(reason), "{vice}: {error} does not say {reason}");
        }
        let (_, emitted) = mill.get(&format!("/v1/topics/from-{vice}"));
        assert!(emitted["events"].is_null() || emitted["events"] == 0, "{vice}: {emitted}");
    }
    let entry = until(&mill, "/v1/handlers/good", |entry| entry["lag"] == 0);
    assert_eq!((&entry["state"], &entry["deadLetters"]), (&json!("running"), &json!(0)));
    assert!(mill.stop().0);
}

/// The number of an event that came out, or of a dead letter.
fn numbers(events: &Value) -> Vec<u64> {
    events.as_array().unwrap().iter().map(|event| event["value"]["n"].as_u64().unwrap()).collect()
}

#[test]
fn a_guest_that_traps_at_random_loses_nothing_and_doubles_nothing() {
    const EVENTS: usize = 600;
    let dir = dir_with("passthrough", "good", "inputs = [\"in\"]\noutput = \"out\"");
    put_vice(dir.path(), "trap-at-random");
    let mill = Mill::start_in(dir, &[]);
    let one = mill.request(Method::PUT, "/v1/topics/sins").json(&json!({ "partitions": 4 }));
    assert!(mill.ask(one).0.is_success());
    for from in (0..EVENTS).step_by(20) {
        mill.publish("sins", &lines(from..from + 20));
    }
    until(&mill, "/v1/groups/trap-at-random", |group| group["lag"] == 0);
    let mut settled = numbers(&Value::Array(mill.read("from-trap-at-random", "")));
    let letters = mill.get("/v1/dead-letters/trap-at-random?limit=1000").1;
    let given_up = numbers(&letters);
    assert!(!settled.is_empty() && !given_up.is_empty(), "{} and {}", settled.len(), given_up.len());
    settled.extend(given_up);
    settled.sort_unstable();
    assert!(settled.into_iter().eq(0..EVENTS as u64));
}
