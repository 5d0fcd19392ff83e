//! An event that was given up, as an event of the dead-letter topic: its own key, headers, value and time, and
//! headers that say what happened. Decides nothing.

use tidemill_bus::{Batch, Columns, Event, block::header};

use crate::limits;

/// Why the event was given up, as its handler or the host said it.
pub const ERROR: &str = "tidemill-error";
/// The kind of failure in one word: `rejected`, `stopped`, or a [`crate::handler::Fault::kind`].
pub const ERROR_KIND: &str = "tidemill-error-kind";
/// Attempts made at the event, in decimal.
pub const ATTEMPTS: &str = "tidemill-attempts";
/// The name of the topic that it came from.
pub const TOPIC: &str = "tidemill-topic";
/// The partition that it came from, in decimal.
pub const PARTITION: &str = "tidemill-partition";
/// Its offset there, in decimal.
pub const OFFSET: &str = "tidemill-offset";
/// When it was given up, in decimal milliseconds since the Unix epoch.
pub const FAILED_AT: &str = "tidemill-failed-at";
/// The handler that gave it up.
pub const HANDLER: &str = "tidemill-handler";

/// One event to be given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadLetter<'a> {
    /// Its index in the batch.
    pub(crate) index: usize,
    /// The kind of failure.
    pub(crate) kind: &'a str,
    /// Why.
    pub(crate) reason: &'a str,
    /// Attempts made at it.
    pub(crate) attempts: u32,
}

/// What all dead letters of a batch have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadLetters<'a> {
    /// The handler's name.
    pub(crate) handler: &'a str,
    /// The name of the topic that the batch comes from.
    pub(crate) topic: &'a str,
    /// The time, in milliseconds since the Unix epoch.
    pub(crate) now_ms: i64,
}

impl DeadLetters<'_> {
    /// The dead letters as runs of columns that each fit into a block, and for each letter the index of its
    /// event. `letters` ascend by index.
    pub(crate) fn runs(&self, batch: &Batch, letters: &[DeadLetter<'_>]) -> Vec<(Columns, Vec<u32>)> {
        let mut runs: Vec<(Columns, Vec<u32>)> = Vec::new();
        let mut letters = letters.iter().peekable();
        for (index, event) in (0_u32..).zip(&batch.columns) {
            while let Some(letter) = letters.next_if(|letter| letter.index == index as usize) {
                let mut headers = event.headers.to_vec();
                self.push_headers(&mut headers, batch, letter);
                let event = Event { headers: &headers, ..event };
                let bytes = bytes_of(event);
                match runs.last_mut() {
                    Some((columns, causes))
                        if columns.byte_len() + 4 * causes.len() + bytes <= limits::BLOCK_BYTES =>
                    {
                        columns.push(event);
                        causes.push(index);
                    }
                    _ => {
                        let mut columns = Columns::default();
                        columns.push(event);
                        runs.push((columns, vec![index]));
                    }
                }
            }
        }
        runs
    }

    fn push_headers(&self, headers: &mut Vec<u8>, batch: &Batch, letter: &DeadLetter<'_>) {
        let mut push = |name: &str, value: &str| {
            header::push(headers, name, Some(value.as_bytes())).expect("names and reasons are bounded");
        };
        push(ERROR, bounded(letter.reason));
        push(ERROR_KIND, letter.kind);
        push(ATTEMPTS, &letter.attempts.to_string());
        push(TOPIC, self.topic);
        push(PARTITION, &batch.source.partition.to_string());
        push(OFFSET, &batch.offset(letter.index).to_string());
        push(FAILED_AT, &self.now_ms.to_string());
        push(HANDLER, self.handler);
    }
}

fn bytes_of(event: Event<'_>) -> usize {
    let (key, value) = (event.key.unwrap_or_default(), event.value.unwrap_or_default());
    Columns::BYTES_PER_EVENT + 4 + key.len() + event.headers.len() + value.len()
}

/// `reason`, cut to what is kept of one.
pub(crate) fn bounded(reason: &str) -> &str {
    let mut end = reason.len().min(limits::REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_bus::{Offset, Partition, TopicId, TopicPartition};

    #[test]
    fn a_dead_letter_keeps_the_event_and_says_what_happened() {
        let mut own = Vec::new();
        header::push(&mut own, "trace", Some(b"7")).unwrap();
        let mut columns = Columns::default();
        columns.push(Event { time: 1, key: None, headers: &[], value: None });
        columns.push(Event { time: 2, key: Some(b"k"), headers: &own, value: Some(b"v") });
        let source = TopicPartition { topic: TopicId(1), partition: Partition(3) };
        let mut batch = Batch::new(source);
        batch.extend_from(&columns, 0..2, 0..columns.data.len(), (Offset(40), 0));

        let reason = "é".repeat(limits::REASON_BYTES);
        let letters = [DeadLetter { index: 1, kind: "trap", reason: &reason, attempts: 5 }];
        let dead = DeadLetters { handler: "h", topic: "in", now_ms: 99 };
        let runs = dead.runs(&batch, &letters);
        let [(columns, causes)] = runs.as_slice() else { panic!("one run") };

        assert_eq!((columns.check(), causes.as_slice()), (Ok(()), &[1][..]));
        let event = columns.iter().next().unwrap();
        assert_eq!((event.time, event.key, event.value), (2, Some(&b"k"[..]), Some(&b"v"[..])));
        let headers: Vec<_> = header::iter(event.headers)
            .map(|(name, value)| (name, std::str::from_utf8(value.unwrap()).unwrap()))
            .collect();
        let cut = "é".repeat(limits::REASON_BYTES / 2);
        assert_eq!(
            headers,
            [
                ("trace", "7"),
                (ERROR, cut.as_str()),
                (ERROR_KIND, "trap"),
                (ATTEMPTS, "5"),
                (TOPIC, "in"),
                (PARTITION, "3"),
                (OFFSET, "41"),
                (FAILED_AT, "99"),
                (HANDLER, "h"),
            ]
        );
    }

    #[test]
    fn dead_letters_that_fill_a_block_go_on_in_the_next() {
        let mut columns = Columns::default();
        for _ in 0..4_096 {
            columns.push(Event { time: 1, key: None, headers: &[], value: Some(&[7; 2_048]) });
        }
        let mut batch = Batch::new(TopicPartition { topic: TopicId(1), partition: Partition(0) });
        batch.extend_from(&columns, 0..4_096, 0..columns.data.len(), (Offset(0), 0));
        let reason = "x".repeat(limits::REASON_BYTES);
        let letter = |index| DeadLetter { index, kind: "rejected", reason: &reason, attempts: 1 };
        let letters: Vec<_> = (0..4_096).map(letter).collect();
        let runs = DeadLetters { handler: "h", topic: "in", now_ms: 0 }.runs(&batch, &letters);
        assert!(runs.len() > 1);
        for (columns, causes) in &runs {
            assert!(columns.byte_len() + 4 * causes.len() <= limits::BLOCK_BYTES);
        }
        assert_eq!(runs.iter().map(|(_, causes)| causes.len()).sum::<usize>(), 4_096);
    }
}
