//! Golden tests: NDJSON in, NDJSON out.

use std::path::Path;

use super::input::Input;
use super::report::{Report, lossy};
use crate::json::{LazyJson, Pointer};

/// Events from NDJSON, one a line, with the key and the time that the pointers lead to, as a publisher would set
/// them (`?key=/pointer&time=/pointer`). A string is a key without its quotes; an empty pointer sets none.
///
/// # Panics
/// If a pointer is none, or a line is no JSON.
pub fn inputs(ndjson: &str, key: &str, time: &str) -> Vec<Input> {
    let pointer = |text: &str| Pointer::parse(text).expect("a JSON pointer");
    let (key_at, time_at) = (pointer(key), pointer(time));
    let input = |line: &str| {
        let json = LazyJson::new(line);
        let mut input = Input::new(line);
        if !key.is_empty()
            && let Some(key) = json.get(&key_at).expect("JSON")
        {
            input = input.key(key.as_str().as_deref().unwrap_or(key.raw()));
        }
        if !time.is_empty()
            && let Some(time) = json.get(&time_at).expect("JSON").and_then(|time| time.as_i64())
        {
            input = input.time(time);
        }
        input
    };
    ndjson.lines().filter(|line| !line.trim().is_empty()).map(input).collect()
}

/// Compares what came out with the NDJSON in the file at `path`: a line for each emitted event with its key and its
/// value, then a line for each rejected event. With `TIDEMILL_BLESS=1` in the environment the file is written.
///
/// # Panics
/// If they differ, or the file cannot be read.
pub fn assert_golden(report: &Report, path: impl AsRef<Path>) {
    let path = path.as_ref();
    let found = render(report);
    if std::env::var_os("TIDEMILL_BLESS").is_some() {
        std::fs::write(path, &found).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(path).expect("the golden file can be read");
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of {}", number + 1, path.display());
    }
    let lines = (found.lines().count(), expected.lines().count());
    assert_eq!(lines.0, lines.1, "number of lines (found, expected) of {}", path.display());
}

fn render(report: &Report) -> String {
    let emitted = report.emitted.iter().map(|event| {
        let key = event.key.as_ref().map_or("null".to_owned(), |key| quote(&lossy(key)));
        let value = event.value.as_ref().map_or("null".to_owned(), |value| lossy(value));
        format!("{{\"key\":{key},\"value\":{value}}}\n")
    });
    let rejected = report
        .rejected
        .iter()
        .map(|event| format!("{{\"rejected\":{},\"reason\":{}}}\n", event.offset, quote(&event.reason)));
    emitted.chain(rejected).collect()
}

fn quote(text: &str) -> String {
    sonic_rs::to_string(text).expect("text is JSON")
}
