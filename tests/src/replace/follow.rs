//! A follower of one output partition: every count is the one after the last of its key, and the longest time
//! without an output is noted.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::publish::Flowing;

/// What a follower found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The last count of each key.
    pub(super) counts: HashMap<String, u64>,
    /// The longest time between two outputs, by [`Phase`](super::publish::Phase).
    pub(super) pauses: [Duration; 3],
}

/// Reads outputs until everything is over.
pub(super) fn follow(lines: impl BufRead, flowing: &Flowing) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut last: Option<Instant> = None;
    for line in lines.lines() {
        let line = match line {
            Ok(line) => line,
            // The runtime is stopped while followers still read.
            Err(_) if flowing.over.load(Ordering::Relaxed) => break,
            Err(error) => return Err(error).context("following the outputs"),
        };
        let (key, count) = counted(&line).with_context(|| format!("the output {line}"))?;
        let before = seen.counts.entry(key.to_owned()).or_default();
        ensure!(count == *before + 1, "count {count} of {key} came after {before}");
        *before = count;
        flowing.seen.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        // Once no more is published, what is waited for is the end.
        if let Some(last) = last.filter(|_| !flowing.enough.load(Ordering::Relaxed)) {
            let pause = &mut seen.pauses[flowing.phase.load(Ordering::Relaxed)];
            *pause = (*pause).max(now - last);
        }
        last = Some(now);
    }
    Ok(seen)
}

/// The key and the count in a line; a line is taken apart so often that this does without a parser.
fn counted(line: &str) -> Option<(&str, u64)> {
    let (_, rest) = line.split_once("\"key\":\"")?;
    let (key, rest) = rest.split_once('"')?;
    let (_, rest) = rest.split_once("\"count\":")?;
    let digits = rest.split_once(|c: char| !c.is_ascii_digit())?.0;
    Some((key, digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, count: u64) -> String {
        format!(
            "{{\"partition\":0,\"key\":\"{key}\",\"headers\":{{}},\"value\":{{\"count\":{count},\"sum\":1.0}}}}\n"
        )
    }

    #[test]
    fn counts_that_go_up_one_by_one_are_right() {
        let text = line("k1", 1) + &line("k2", 1) + &line("k1", 2);
        let flowing = Flowing::default();
        let seen = follow(text.as_bytes(), &flowing).unwrap();
        assert_eq!((seen.counts["k1"], flowing.seen.into_inner()), (2, 3));
    }

    #[test]
    fn an_output_that_is_missing_or_comes_twice_is_found() {
        for counts in [[1, 3], [1, 1], [2, 3]] {
            let text = counts.map(|count| line("k1", count)).concat();
            assert!(follow(text.as_bytes(), &Flowing::default()).is_err());
        }
    }
}
