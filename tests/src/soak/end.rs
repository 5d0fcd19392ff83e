//! The reckoning: everything that was published has its outputs, once, and what was given up is a dead letter.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::flow::Flow;
use super::follow::Output;
use super::publish::{INPUT, Sent};
use super::sequence::Sequence;
use crate::harness::Api;

/// How long the outputs may take to come at the end, if less and less is outstanding or not.
const WAIT_MAX: Duration = Duration::from_mins(3);

/// How often one looks.
const LOOK: Duration = Duration::from_millis(100);

/// Events asked for with one read.
const READ_EVENTS: usize = 10_000;

/// What all publishers sent.
pub(super) struct Total {
    keys: HashMap<String, u64>,
    pub(super) events: u64,
    given_up: u64,
    filtered: u64,
}

impl Total {
    /// Of all publishers, whose keys are each its own.
    pub(super) fn of(sent: Vec<Sent>) -> Self {
        let mut total = Self { keys: HashMap::new(), events: 0, given_up: 0, filtered: 0 };
        for sent in sent {
            total.events += sent.keys.iter().map(|(_, count)| count).sum::<u64>();
            total.given_up += sent.given_up;
            total.filtered += sent.filtered;
            total.keys.extend(sent.keys);
        }
        total
    }

    /// The outputs that must come in a topic which has one for so many events of a key.
    fn outputs(&self, output: Output) -> u64 {
        self.keys.values().map(|count| count / output.per).sum()
    }
}

/// Waits until every handler has settled everything and the followers have seen what they follow.
pub(super) fn wait(api: &Api, flow: &Flow, total: &Total, seen: &[AtomicU64]) -> Result<()> {
    let begun = Instant::now();
    loop {
        let handlers = api.get("/v1/handlers")?;
        let lag: u64 =
            handlers.as_array().context("no list")?.iter().filter_map(|entry| entry["lag"].as_u64()).sum();
        let mut followed = Output::ALL.into_iter().zip(seen);
        let are_seen = followed.all(|(output, seen)| seen.load(Ordering::Relaxed) >= total.outputs(output));
        if lag == 0 && are_seen {
            return Ok(());
        }
        ensure!(!flow.is_over(), "a follower found a fault");
        if begun.elapsed() > WAIT_MAX {
            bail!(
                "not every event has its outputs after {WAIT_MAX:?}; {lag} wait, {seen:?} were seen: {handlers}"
            );
        }
        thread::sleep(LOOK);
    }
}

/// The topics that nobody follows have as many events as they must.
pub(super) fn check_ends(api: &Api, total: &Total) -> Result<()> {
    let expected = [
        (INPUT, total.events),
        ("passed", total.outputs(Output::PASSED)),
        ("counted", total.outputs(Output::COUNTED)),
        ("sessions", total.outputs(Output::SESSIONS)),
        ("filtered", total.filtered),
        ("flaky", total.events - total.given_up),
        ("_dead.flaky", total.given_up),
    ];
    for (topic, expected) in expected {
        let entry = api.get(&format!("/v1/topics/{topic}"))?;
        let ranges = entry["ranges"].as_array().with_context(|| format!("{entry} has no ranges"))?;
        let ends: u64 = ranges.iter().filter_map(|range| range["end"].as_u64()).sum();
        ensure!(ends == expected, "{topic} should have had {expected} events and had {ends}");
    }
    Ok(())
}

/// Events of the input that retention has taken.
pub(super) fn retired(api: &Api) -> Result<u64> {
    let entry = api.get(&format!("/v1/topics/{INPUT}"))?;
    let ranges = entry["ranges"].as_array().with_context(|| format!("{entry} has no ranges"))?;
    Ok(ranges.iter().filter_map(|range| range["start"].as_u64()).sum())
}

/// If the topic of counts is compacted, it still has the newest of every key, also of those that had none for long.
/// Returns how many events it has.
pub(super) fn check_newest(api: &Api, total: &Total) -> Result<u64> {
    let topic = Output::COUNTED.topic;
    let entry = api.get(&format!("/v1/topics/{topic}"))?;
    if entry["policy"] != "compact" {
        return entry["events"].as_u64().context("no number of events");
    }
    let (mut newest, mut read) = (HashMap::new(), 0);
    for range in entry["ranges"].as_array().context("no ranges")? {
        let partition = range["partition"].as_u64().context("no partition")?;
        let mut from = range["start"].as_u64().context("no start")?;
        loop {
            let records = api.read(topic, u32::try_from(partition)?, from, READ_EVENTS)?;
            let Some(last) = records.last() else { break };
            (from, read) = (last.offset + 1, read + records.len() as u64);
            newest.extend(
                records.into_iter().filter_map(|record| Some((record.key?, record.value["count"].as_u64()?))),
            );
        }
    }
    for (key, count) in total.keys.iter().filter(|(_, count)| **count > 0) {
        let found = newest.get(key).copied();
        ensure!(found == Some(*count), "the newest count of {key} is {count}, {topic} has {found:?}");
    }
    Ok(read)
}

/// What the followers of an output saw comes to what was published; returns how many outputs they missed.
pub(super) fn check_followed(total: &Total, output: Output, partitions: &[Sequence]) -> Result<u64> {
    for (key, count) in &total.keys {
        let seen: u64 = partitions.iter().map(|sequence| sequence.count(key)).sum();
        let (expected, topic) = (count / output.per, output.topic);
        ensure!(seen == expected, "{key} has {expected} outputs in {topic}, and {seen} came");
    }
    Ok(partitions.iter().map(Sequence::missed).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total() -> Total {
        let sent = |key: &str, count| Sent { keys: vec![(key.to_owned(), count)], given_up: 1, filtered: 2 };
        Total::of(vec![sent("a", 3), sent("b", 33)])
    }

    #[test]
    fn what_publishers_sent_adds_up() {
        let total = total();
        assert_eq!((total.events, total.given_up, total.filtered), (36, 2, 4));
        assert_eq!((total.outputs(Output::PASSED), total.outputs(Output::SESSIONS)), (36, 2));
    }

    #[test]
    fn an_output_that_never_came_is_found() {
        let mut sequence = Sequence::default();
        for number in 0..33 {
            sequence.see(number, "b", number).unwrap();
        }
        assert!(check_followed(&total(), Output::PASSED, &[sequence]).is_err());
        let mut sequence = Sequence::default();
        for number in 0..2 {
            sequence.see(number, "b", number).unwrap();
        }
        assert_eq!(check_followed(&total(), Output::SESSIONS, &[sequence]).unwrap(), 0);
    }
}
