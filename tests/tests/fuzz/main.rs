//! The fuzz targets of the flow and of the server without a fuzzer: what lies in their corpora, and what comes of
//! it by chance. `cargo xtask fuzz` looks further, with a fuzzer.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::fs;
use std::path::Path;

use fastrand::Rng;

/// Inputs by chance of each target; 100 times as many with `TIDEMILL_LONG=1`.
const INPUTS: usize = 20_000;

/// Bytes that an input may have: as many as a seed and a few pieces of others.
const INPUT_BYTES_MAX: usize = 4 << 10;

/// What the texts of all targets are made of, so that chance finds it sooner.
const WORDS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\u0000",
    "\\",
    "null",
    "true",
    "1e999",
    "-0",
    "\n",
    "\r\n",
    " ",
    "é",
    "=",
    "#",
    "'''",
    "64MiB",
    "5s",
    "inputs = ",
    "TMB1\x01\0\0\0",
];

/// The inputs of a folder, in the order of their names.
fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let paths = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    // What the fuzzer has found on this machine lies in a folder of its own.
    let mut paths: Vec<_> = paths.filter(|path| path.is_file()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Changes `input` in one way.
fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.usize(..=input.len());
    let end = rng.usize(at..=input.len().min(at + 16));
    match rng.u8(..6) {
        0 if at < input.len() => input[at] = rng.u8(..),
        1 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
        2 => drop(input.drain(at..end)),
        3 => drop(input.splice(at..at, rng.choice(WORDS).unwrap().bytes())),
        4 => {
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
        _ => {
            let other = rng.choice(corpus).unwrap();
            let from = rng.usize(..=other.len());
            input.splice(at..end, other[from..other.len().min(from + 64)].iter().copied());
        }
    }
    input.truncate(INPUT_BYTES_MAX);
}

/// Feeds `target` its corpus, and inputs made of it.
fn feed(folder: &str, target: fn(&[u8]) -> bool) {
    let corpus = corpus(folder);
    assert!(corpus.iter().any(|input| target(input)), "{folder} has nothing that is taken");
    let seed =
        std::env::var("TIDEMILL_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("TIDEMILL_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let count = if std::env::var_os("TIDEMILL_LONG").is_some() { INPUTS * 100 } else { INPUTS };
    let mut taken = 0;
    for _ in 0..count {
        let mut input = rng.choice(&corpus).unwrap().clone();
        for _ in 0..rng.u8(1..8) {
            mutate(&mut input, &corpus, &mut rng);
        }
        let fed = std::panic::catch_unwind(|| target(&input)).ok();
        assert!(fed.is_some(), "{folder} fails on {:?}", input.escape_ascii().to_string());
        taken += usize::from(fed == Some(true));
    }
    // Inputs that are all refused at once would look at little.
    assert!(taken > count / 200, "only {taken} of {count} were taken");
}

#[test]
fn any_output_of_a_guest_is_refused_or_placed() {
    feed("runtime/flow/fuzz/corpus/outcome", tidemill_flow::fuzzing::outcome);
}

#[test]
fn any_body_is_refused_or_events() {
    feed("runtime/server/fuzz/corpus/body", tidemill_server::fuzzing::body);
}

#[test]
fn any_configuration_is_refused_at_a_place_or_read() {
    feed("runtime/server/fuzz/corpus/configuration", tidemill_server::fuzzing::configuration);
}

#[test]
fn any_plugin_file_is_refused_at_a_place_or_read() {
    feed("runtime/server/fuzz/corpus/plugin", tidemill_server::fuzzing::plugin);
}
