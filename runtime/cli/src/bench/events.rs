//! The events of the benchmarks: 100 bytes of JSON each with its key, of a thousand keys, in bodies that a
//! client would send.

use std::fmt::Write;

/// Bytes of a record: its key and its value.
pub(super) const RECORD_BYTES: usize = 100;

/// Events in one body.
pub(super) const BODY_EVENTS: u64 = 10_000;

/// Keys that the events have, in turn.
const KEYS: u64 = 1_000;

/// How many bodies `events` take.
pub(super) fn bodies(events: u64) -> u64 {
    events.div_ceil(BODY_EVENTS)
}

/// The `index`-th body of `events` in all, as NDJSON; the key is at `/k`.
pub(super) fn body(index: u64, events: u64) -> String {
    let first = index * BODY_EVENTS;
    let last = events.min(first + BODY_EVENTS);
    let mut body = String::new();
    for event in first..last {
        // The key is 6 bytes, the line 94 without its end.
        let key = event % KEYS;
        writeln!(body, r#"{{"k":"k{key:05}","n":1{event:011},"text":"{:x<53}"}}"#, "")
            .expect("writing to a string does not fail");
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_line_are_one_record() {
        let body = body(0, BODY_EVENTS);
        assert!(
            body.lines().all(|line| line.len() + "k00000".len() == RECORD_BYTES),
            "{:?}",
            body.lines().next()
        );
    }

    #[test]
    fn bodies_hold_each_event_once() {
        let lines: usize = (0..bodies(25_001)).map(|index| body(index, 25_001).lines().count()).sum();
        assert_eq!(lines, 25_001);
    }
}
