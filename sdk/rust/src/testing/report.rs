//! What came out of a handler, with the defaults of the columns filled in; a column that lies panics.

use std::collections::BTreeMap;
use std::time::Duration;

use super::input::Placed;
use crate::bindings::Output;
use crate::event::Headers;
use crate::log::Level;

/// What came out of a handler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The events that it emitted, in order.
    pub emitted: Vec<Emitted>,
    /// The events that it gave up, in order.
    pub rejected: Vec<Rejected>,
    /// Where it stopped, if it did.
    pub stopped: Option<Stopped>,
    /// The event that failed as a whole call, alone, with the message: the run ends there.
    pub failed: Option<Rejected>,
    /// Its state after the run, as the host's tables hold it.
    pub state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Its log lines.
    pub log: Vec<(Level, String)>,
}

/// An emitted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// The offset of the event that it was emitted for.
    pub cause: u64,
    /// Its topic; `None` is the handler's first output.
    pub topic: Option<String>,
    /// Its time, in milliseconds since the Unix epoch.
    pub time: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its offset.
    pub offset: u64,
    /// Why.
    pub reason: String,
}

/// Where a handler stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The offset of the event that is to be tried again.
    pub offset: u64,
    /// Why.
    pub reason: String,
    /// How long to wait at least; `None` leaves it to the retry policy.
    pub after: Option<Duration>,
}

impl Report {
    /// The emitted values as text; `null` for a tombstone.
    pub fn values(&self) -> Vec<String> {
        let text = |value: &Option<Vec<u8>>| value.as_ref().map_or("null".to_owned(), |value| lossy(value));
        self.emitted.iter().map(|event| text(&event.value)).collect()
    }

    /// Adds what a call returned; how many of its events are done.
    pub(super) fn add(&mut self, output: &Output, events: &[Placed<'_>]) -> usize {
        let settled = output.settled as usize;
        assert_eq!(settled < events.len(), output.stopped.is_some(), "what is not settled was stopped at");
        let rejected = output.rejected.iter();
        self.rejected.extend(rejected.map(|failure| Rejected {
            offset: events[failure.index as usize].offset,
            reason: failure.reason.clone(),
        }));
        self.stopped = output.stopped.as_ref().map(|stop| Stopped {
            offset: events[settled].offset,
            reason: stop.reason.clone(),
            after: stop.after_ms.map(Duration::from_millis),
        });
        self.add_emitted(output, &events[..settled]);
        self.add_state(output);
        settled
    }

    fn add_emitted(&mut self, output: &Output, events: &[Placed<'_>]) {
        let mut rest = Bytes(&output.data);
        assert_eq!(output.value_lens.len(), output.cause_of.len());
        for (row, &index) in output.cause_of.iter().enumerate() {
            let cause = &events[index as usize];
            let refused = output.rejected.iter().any(|failure| failure.index == index);
            assert!(!refused, "a rejected event has no effects");
            let key = match column(&output.key_lens, row, output) {
                Some(len) => rest.take_nullable(len),
                None => cause.input.key.clone(),
            };
            let headers = rest.take(column(&output.header_lens, row, output).unwrap_or(0) as usize);
            let headers = Headers::new(headers)
                .map(|header| (header.name.to_owned(), header.value.map(<[u8]>::to_owned)))
                .collect();
            let topic =
                column(&output.topic_of, row, output).map(|at| output.topics[usize::from(at)].clone());
            self.emitted.push(Emitted {
                cause: cause.offset,
                topic: topic.filter(|topic| !topic.is_empty()),
                time: column(&output.times, row, output).unwrap_or(cause.input.time),
                key,
                headers,
                value: rest.take_nullable(output.value_lens[row]),
            });
        }
        assert!(rest.0.is_empty(), "the lengths add up to the data");
    }

    fn add_state(&mut self, output: &Output) {
        let mut rest = Bytes(&output.state_data);
        for (&key, &value) in output.state_key_lens.iter().zip(&output.state_value_lens) {
            let key = rest.take(key as usize).to_owned();
            match rest.take_nullable(value) {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        assert!(rest.0.is_empty(), "the lengths add up to the state's data");
    }
}

/// An entry of a column that may be away.
fn column<T: Copy>(column: &[T], row: usize, output: &Output) -> Option<T> {
    assert!(column.is_empty() || column.len() == output.cause_of.len(), "a column is whole or away");
    column.get(row).copied()
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn take_nullable(&mut self, len: i32) -> Option<Vec<u8>> {
        usize::try_from(len).ok().map(|len| self.take(len).to_owned())
    }
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
