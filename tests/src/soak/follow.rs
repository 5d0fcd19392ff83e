//! A follower of one partition of an output: everything comes once and in order, and the time from when an event was
//! due to when its output is here is noted.

use std::io::BufRead;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use super::flow::Flow;
use super::sequence::Sequence;

/// An output whose numbers are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Output {
    /// Its topic.
    pub(super) topic: &'static str,
    /// The field of its events that has the number of the event among those of its key.
    field: &'static str,
    /// The number of the first.
    first: u64,
    /// Events of the input for one of the output.
    pub(super) per: u64,
}

impl Output {
    /// Every event as it came, with its time.
    pub(super) const PASSED: Self = Self { topic: "passed", field: "\"seq\":", first: 0, per: 1 };

    /// The running count of each key; the topic is compacted.
    pub(super) const COUNTED: Self = Self { topic: "counted", field: "\"count\":", first: 1, per: 1 };

    /// The sessions that have ended; a session has 16 events.
    pub(super) const SESSIONS: Self = Self { topic: "sessions", field: "\"session\":", first: 0, per: 16 };

    /// All that are checked.
    pub(super) const ALL: [Self; 3] = [Self::PASSED, Self::COUNTED, Self::SESSIONS];
}

/// One follower.
pub(super) struct Follower<'a> {
    pub(super) flow: &'a Flow,
    pub(super) output: Output,
    pub(super) partition: u32,
    /// Offsets of this topic that all its followers together have come past.
    pub(super) seen: &'a AtomicU64,
}

impl Follower<'_> {
    /// Reads outputs until everything is over. A fault ends the run.
    pub(super) fn run(&self, lines: impl BufRead) -> Result<Sequence> {
        let (topic, partition) = (self.output.topic, self.partition);
        self.follow(lines)
            .with_context(|| format!("partition {partition} of {topic}"))
            .inspect_err(|_| self.flow.end())
    }

    fn follow(&self, mut lines: impl BufRead) -> Result<Sequence> {
        let mut sequence = Sequence::default();
        let mut line = String::new();
        loop {
            line.clear();
            match lines.read_line(&mut line) {
                // The runtime is stopped while followers still read.
                Ok(0) | Err(_) if self.flow.is_over() => return Ok(sequence),
                Ok(0) => anyhow::bail!("the stream of outputs ended"),
                Ok(_) => {}
                Err(error) => return Err(error).context("reading outputs"),
            }
            self.see(&line, &mut sequence).with_context(|| format!("the output {}", line.trim_end()))?;
        }
    }

    fn see(&self, line: &str, sequence: &mut Sequence) -> Result<()> {
        let offset = number(line, "\"offset\":").context("it has no offset")?;
        let key = text(line, "\"key\":\"").context("it has no key")?;
        let number_of = number(line, self.output.field).context("it has no number")?;
        let number_of = number_of.checked_sub(self.output.first).context("its number is too small")?;
        let further = sequence.see(offset, key, number_of)?;
        if self.output == Output::SESSIONS {
            let count = number(line, "\"count\":");
            anyhow::ensure!(count == Some(self.output.per), "a session does not have all its events");
        }
        self.seen.fetch_add(further, Ordering::Relaxed);
        if let Some(due_us) = number(line, "\"sent\":") {
            self.flow.see(self.partition as usize, self.flow.clock.now_us().saturating_sub(due_us));
        }
        Ok(())
    }
}

/// The number after `field`; a line is taken apart so often that this does without a parser.
fn number(line: &str, field: &str) -> Option<u64> {
    let (_, rest) = line.split_once(field)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The text after `field`, which has no escapes.
fn text<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    Some(line.split_once(field)?.1.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(output: Output, values: &[&str]) -> Result<u64> {
        let line = |(offset, value): (usize, &&str)| {
            format!(
                "{{\"partition\":0,\"offset\":{offset},\"key\":\"k1\",\"headers\":{{}},\"value\":{value}}}\n"
            )
        };
        let lines: String = values.iter().enumerate().map(line).collect();
        let (flow, seen) = (Flow::new(1), AtomicU64::new(0));
        flow.end();
        let follower = Follower { flow: &flow, output, partition: 0, seen: &seen };
        let sequence = follower.run(lines.as_bytes())?;
        assert_eq!(seen.into_inner(), sequence.count("k1"));
        assert_eq!(flow.take_latencies().len(), flow.seen());
        Ok(sequence.count("k1"))
    }

    #[test]
    fn outputs_of_every_topic_are_read() {
        let passed = ["{\"key\":\"k1\",\"seq\":0,\"sent\":1}", "{\"key\":\"k1\",\"seq\":1,\"sent\":2}"];
        assert_eq!(follow(Output::PASSED, &passed).unwrap(), 2);
        assert_eq!(follow(Output::COUNTED, &["{\"count\":1,\"sum\":1.0}", "{\"count\":2}"]).unwrap(), 2);
        let ended = ["{\"session\":0,\"count\":16}", "{\"session\":1,\"count\":16}"];
        assert_eq!(follow(Output::SESSIONS, &ended).unwrap(), 2);
    }

    #[test]
    fn an_output_that_is_missing_or_comes_twice_ends_the_run() {
        assert!(follow(Output::PASSED, &["{\"seq\":0}", "{\"seq\":2}"]).is_err());
        assert!(follow(Output::COUNTED, &["{\"count\":1}", "{\"count\":1}"]).is_err());
        assert!(follow(Output::SESSIONS, &["{\"session\":0,\"count\":15}"]).is_err());
        assert!(follow(Output::PASSED, &["{\"seq\":"]).is_err());
    }
}
