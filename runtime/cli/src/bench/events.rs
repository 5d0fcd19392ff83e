//! The events of the benchmarks: 100 bytes of JSON each with its key, in bodies that a client would send.

use std::fmt::Write;
use std::ops::RangeFrom;

/// Bytes of a record: its key and its value.
pub(super) const RECORD_BYTES: usize = 100;

/// Events in one body.
pub(super) const BODY_EVENTS: u64 = 10_000;

/// Keys that events have, in turn, unless a workload says otherwise.
pub(super) const KEYS: u64 = 1_000;

/// The events of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Events {
    /// How many.
    pub(super) count: u64,
    /// Keys that they have, in turn; at most a million.
    pub(super) keys: u64,
}

impl Events {
    /// All of them, as NDJSON bodies; the key is at `/k`.
    pub(super) fn bodies(self) -> impl Iterator<Item = String> {
        (0..self.count.div_ceil(BODY_EVENTS)).map(move |index| {
            let first = index * BODY_EVENTS;
            let last = self.count.min(first + BODY_EVENTS);
            let mut body = String::with_capacity(RECORD_BYTES * 10_000);
            (first..last).for_each(|event| self.write(event, &mut body));
            body
        })
    }

    /// Appends one event as a line: a key of 7 bytes, a digit at `/m` that half of all have at 5 or above, and a
    /// number of its own at `/n`.
    pub(super) fn write(self, event: u64, body: &mut String) {
        let (key, digit) = (event % self.keys, digit(event));
        writeln!(body, r#"{{"k":"k{key:06}","m":{digit},"n":1{event:011},"text":"{:x<45}"}}"#, "")
            .expect("writing to a string does not fail");
    }

    /// How many have one of these digits.
    pub(super) fn with_digit(self, digits: RangeFrom<u64>) -> u64 {
        (0..self.count).filter(|&event| digits.contains(&digit(event))).count() as u64
    }

    /// The number at `/n` of a line, back as the event that it was written for.
    pub(super) fn of_line(line: &str) -> Option<u64> {
        let (_, number) = line.split_once(r#""n":1"#)?;
        number.get(..11)?.parse().ok()
    }
}

fn digit(event: u64) -> u64 {
    event / 7 % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: Events = Events { count: 25_001, keys: KEYS };

    #[test]
    fn key_and_line_are_one_record() {
        let body = EVENTS.bodies().next().unwrap();
        assert!(
            body.lines().all(|line| line.len() + "k000000".len() == RECORD_BYTES),
            "{:?}",
            body.lines().next()
        );
    }

    #[test]
    fn bodies_hold_each_event_once() {
        let bodies: Vec<String> = EVENTS.bodies().collect();
        let numbers = bodies.iter().flat_map(|body| body.lines()).map(|line| Events::of_line(line).unwrap());
        assert!(numbers.eq(0..EVENTS.count));
    }
}
