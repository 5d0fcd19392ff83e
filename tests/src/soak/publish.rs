//! A publisher: its keys, what its events say, and the pace at which it sends them.

use std::fmt::Write;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::flow::Flow;
use super::schedule::{Due, Schedule};
use crate::harness::{Api, Published};

/// The topic of all events.
pub(super) const INPUT: &str = "events";

/// Keys that have events all the time.
const KEYS: usize = 1_000;

/// Keys that have one event, at the very beginning: what is kept of them must be carried on for as long as the run takes.
const COLD_KEYS: usize = 100;

/// Events of a request that is sent as fast as may be.
const REQUEST_EVENTS: u64 = 1_000;

/// How long a publisher rests that has nothing to send: a request then has some tens of events.
const REST: Duration = Duration::from_millis(5);

/// How long a publisher waits that was asked to come again.
const AGAIN: Duration = Duration::from_millis(100);

/// The numbers of events are below this, and the filter passes on those below half of it.
const NUMBERS: u32 = 1_000;

/// The value below which the filter passes a number on.
pub(super) const FILTER_BELOW: u32 = NUMBERS / 2;

/// One event in so many is rejected, one is given up after a retry, one traps.
const REJECT_ONE_IN: u32 = 20_000;
const RETRY_ONE_IN: u32 = 20_000;
const TRAP_ONE_IN: u32 = 200_000;

/// What a publisher has published.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Events of each of its keys.
    pub(super) keys: Vec<(String, u64)>,
    /// Events that the failing handler gives up.
    pub(super) given_up: u64,
    /// Events that the filter passes on.
    pub(super) filtered: u64,
}

/// A publisher with keys of its own, so that what it sends of a key has an order.
pub(super) struct Publisher {
    sent: Sent,
    random: fastrand::Rng,
    lines: String,
}

impl Publisher {
    /// The publisher `number` of `count`.
    pub(super) fn new((number, count): (usize, usize), random: fastrand::Rng) -> Self {
        let keys = (number..KEYS).step_by(count).map(|key| (format!("k{key:04}"), 0)).collect();
        Self { sent: Sent { keys, ..Sent::default() }, random, lines: String::new() }
    }

    /// One event of each key that is never heard of again.
    pub(super) fn cold(flow: &Flow, api: &Api, random: fastrand::Rng) -> Result<Sent> {
        let keys = (0..COLD_KEYS).map(|key| (format!("cold{key:03}"), 0)).collect();
        let mut publisher = Self { sent: Sent { keys, ..Sent::default() }, random, lines: String::new() };
        for key in 0..COLD_KEYS {
            publisher.event(key, flow.clock.now_us(), "pass")?;
        }
        publisher.send(flow, api, COLD_KEYS as u64)?;
        Ok(publisher.sent)
    }

    /// Publishes until it is enough, at its share, one in `count`, of the rate.
    pub(super) fn run(mut self, flow: &Flow, api: &Api, count: f64) -> Result<Sent> {
        let mut schedule: Option<Schedule> = None;
        while !flow.is_enough() {
            let now_us = flow.clock.now_us();
            let rate = flow.rate() / count;
            let due = if rate.is_finite() {
                schedule.get_or_insert_with(|| Schedule::new(now_us, rate)).due(now_us)
            } else {
                // The pace that comes next begins anew.
                schedule = None;
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "microseconds of a run have less than 53 bits"
                )]
                Due { first_us: now_us as f64, step_us: 0.0, count: REQUEST_EVENTS }
            };
            if flow.is_full() {
                flow.hold_back();
                thread::sleep(REST);
                continue;
            }
            for index in 0..due.count {
                let key = self.random.usize(..self.sent.keys.len());
                let fate = self.fate();
                self.event(key, due.at_us(index), fate)?;
            }
            if due.count > 0 {
                self.send(flow, api, due.count)?;
            }
            if due.count < REQUEST_EVENTS {
                thread::sleep(REST);
            }
        }
        Ok(self.sent)
    }

    /// What the failing handler is told to do with an event.
    fn fate(&mut self) -> &'static str {
        let mut one_in = |many| self.random.u32(..many) == 0;
        if one_in(TRAP_ONE_IN) {
            "trap"
        } else if one_in(REJECT_ONE_IN) {
            "reject"
        } else if one_in(RETRY_ONE_IN) {
            "retry"
        } else {
            "pass"
        }
    }

    /// Adds an event of the key at this place to the request, due at `due_us`.
    fn event(&mut self, key: usize, due_us: u64, fate: &str) -> Result<()> {
        let number = self.random.u32(..NUMBERS);
        let (key, seq) = &mut self.sent.keys[key];
        writeln!(
            self.lines,
            r#"{{"key":"{key}","seq":{seq},"sent":{due_us},"number":{number},"fate":"{fate}"}}"#
        )?;
        *seq += 1;
        self.sent.given_up += u64::from(matches!(fate, "reject" | "trap"));
        self.sent.filtered += u64::from(number < FILTER_BELOW);
        Ok(())
    }

    /// Sends the request of so many events, again and again if it is asked to.
    fn send(&mut self, flow: &Flow, api: &Api, events: u64) -> Result<()> {
        loop {
            match api.publish(INPUT, &self.lines, None).context("publishing")? {
                Published::Acknowledged(_) => break,
                Published::Refused(503, _) => {
                    flow.hold_back();
                    thread::sleep(AGAIN);
                }
                other => bail!("a publish ended with {other:?}"),
            }
        }
        flow.publish(events);
        self.lines.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_one_publisher_and_numbers_without_gaps() {
        let mut keys = Vec::new();
        for number in 0..3 {
            let mut publisher = Publisher::new((number, 3), fastrand::Rng::with_seed(7));
            publisher.event(0, 5, "pass").unwrap();
            publisher.event(0, 6, "trap").unwrap();
            assert!(publisher.lines.contains(r#""seq":0,"sent":5,"#), "{}", publisher.lines);
            assert!(publisher.lines.contains(r#""seq":1,"sent":6,"#), "{}", publisher.lines);
            assert_eq!((publisher.sent.keys[0].1, publisher.sent.given_up), (2, 1));
            keys.extend(publisher.sent.keys.into_iter().map(|(key, _)| key));
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), KEYS);
    }
}
