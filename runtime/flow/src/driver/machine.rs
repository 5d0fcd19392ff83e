//! What a driver does next: a state machine without thread or clock. Time is an argument, and whoever holds it
//! reads, calls and commits.

use std::collections::VecDeque;

use tidemill_bus::log::{ReadEnd, ReadError, ReadLimit, Topic};
use tidemill_bus::transaction::Progress;
use tidemill_bus::{DriverKey, Offset, TopicPartition};

use super::flight::Flight;
use super::trial::Trial;
use super::{BatchSize, Input};
use crate::config::HandlerConfig;
use crate::dead_letter::bounded;
use crate::{limits, retry};

/// The state machine of one handler, partition and lane.
pub(crate) struct Driver {
    pub(super) key: DriverKey,
    pub(super) inputs: Vec<Input>,
    /// The input that is served next.
    pub(super) turn: usize,
    /// Unanswered transactions, oldest first.
    pub(super) flight: VecDeque<Flight>,
    pub(super) next_token: u64,
    pub(super) epoch: u64,
    pub(super) life: Life,
    pub(super) size: BatchSize,
    /// Calls in a row that could not be made, or not be committed, by no fault of an event; and why the last.
    pub(super) troubles: u32,
    pub(super) trouble: Option<String>,
    /// How its version stands.
    pub(super) trial: Trial,
    /// Nothing is done before this time, in milliseconds since the Unix epoch.
    pub(super) not_before: i64,
}

/// Whether the driver knows where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It must read its progress first, once nothing is in flight.
    Unloaded,
    /// It does.
    Loaded,
    /// The log takes nothing more.
    Failed(String),
}

/// What the driver wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read epoch and progress, and call [`Driver::loaded`].
    Load,
    /// Commit where an input stands, and nothing else.
    Announce {
        /// The input's index.
        input: usize,
    },
    /// Read a batch and call the handler.
    Read(Plan),
    /// Nothing before this time, in milliseconds since the Unix epoch.
    Until(i64),
    /// Nothing before something moves or is answered.
    Wait,
}

/// A batch to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The input's index.
    pub(crate) input: usize,
    /// Its partition.
    pub(crate) source: TopicPartition,
    /// The position to read from.
    pub(crate) from: Offset,
    /// How much.
    pub(crate) limit: ReadLimit,
    /// The attempt that this is at the first event.
    pub(crate) attempt: u32,
    /// Whether it is a part of a batch that failed.
    pub(super) part: bool,
}

/// Whether a driver may begin something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It may.
    Open,
    /// It may only bring to an end what is in flight.
    Closed,
}

impl Driver {
    /// A driver that reads its partition of each of `topics`.
    pub(crate) fn new(key: DriverKey, topics: impl IntoIterator<Item = Topic>) -> Self {
        let mut driver = Self {
            key,
            inputs: Vec::new(),
            turn: 0,
            flight: VecDeque::with_capacity(limits::TRANSACTIONS_IN_FLIGHT),
            next_token: 0,
            epoch: 0,
            life: Life::Unloaded,
            size: BatchSize::default(),
            troubles: 0,
            trouble: None,
            trial: Trial::new(),
            not_before: 0,
        };
        topics.into_iter().for_each(|topic| driver.add_input(topic));
        driver
    }

    /// The next thing to do at `now_ms`.
    pub(crate) fn step(&self, now_ms: i64, gate: Gate, config: &HandlerConfig) -> Step {
        match self.life {
            Life::Loaded => {}
            Life::Unloaded if self.flight.is_empty() => return self.after_trouble(now_ms, Step::Load),
            Life::Unloaded | Life::Failed(_) => return Step::Wait,
        }
        if let Some(input) = self.inputs.iter().position(|input| input.announce) {
            return if self.flight.is_empty() { Step::Announce { input } } else { Step::Wait };
        }
        if gate == Gate::Closed || self.flight.len() >= limits::TRANSACTIONS_IN_FLIGHT {
            return Step::Wait;
        }
        if self.is_on_trial() && !self.flight.is_empty() {
            // One call at a time, so that the first commit is known before the next can fail.
            return Step::Wait;
        }
        let step = self.read_step(now_ms, config);
        self.after_trouble(now_ms, step)
    }

    fn after_trouble(&self, now_ms: i64, step: Step) -> Step {
        if now_ms < self.not_before && step != Step::Wait { Step::Until(self.not_before) } else { step }
    }

    /// A batch of the next input that may have more, each in turn.
    fn read_step(&self, now_ms: i64, config: &HandlerConfig) -> Step {
        let mut until = None;
        for place in 0..self.inputs.len() {
            let index = (self.turn + place) % self.inputs.len();
            let input = &self.inputs[index];
            if !input.more || input.stopped.is_some() {
                continue;
            }
            if input.at.not_before > now_ms {
                until = Some(until.map_or(input.at.not_before, |until: i64| until.min(input.at.not_before)));
                continue;
            }
            return Step::Read(self.plan(index, config));
        }
        until.map_or(Step::Wait, Step::Until)
    }

    fn plan(&self, index: usize, config: &HandlerConfig) -> Plan {
        let input = &self.inputs[index];
        let most = config.batch.max_events.max(1);
        // An event that failed before is tried alone: it may be the one that takes its neighbours down.
        let events = match (input.at.attempts, input.isolation.part()) {
            (0, None) => self.size.events(most),
            (0, Some(part)) => part.min(most),
            _ => 1,
        };
        Plan {
            input: index,
            source: input.source,
            from: input.at.next,
            limit: ReadLimit { events, bytes: config.batch.max_bytes },
            attempt: input.at.attempts.saturating_add(1),
            part: input.isolation.part().is_some(),
        }
    }

    /// A read of `plan` came back with `count` events.
    pub(crate) fn read(&mut self, plan: Plan, count: usize, end: ReadEnd) {
        self.turn = plan.input + 1;
        let input = &mut self.inputs[plan.input];
        input.end = end.end;
        input.more = end.next < end.end;
        if count == 0 {
            // A gap: nothing to settle, nothing to commit.
            assert!(end.next >= input.at.next, "a read never goes back");
            if end.next > input.at.next {
                input.at = Progress { next: end.next, ..Progress::default() };
                input.isolation.clear();
            }
        }
    }

    /// A read of `plan` failed. Returns how many offsets were found to be lost.
    pub(crate) fn read_failed(&mut self, plan: Plan, error: &ReadError, now_ms: i64) -> u64 {
        let input = &mut self.inputs[plan.input];
        match *error {
            ReadError::Gone { start, .. } if start > input.at.next => {
                let lost = start.0 - input.at.next.0;
                input.lost += lost;
                input.at = Progress { next: start, ..Progress::default() };
                input.isolation.clear();
                return lost;
            }
            ReadError::Gone { .. } | ReadError::Broken { .. } => input.stopped = Some(error.to_string()),
            ReadError::Unknown(source) => self.drop_input(source.topic),
            ReadError::Disk { .. } => self.trouble(&error.to_string(), now_ms),
        }
        0
    }

    /// No call can be made for `reason`: everything waits, longer each time.
    pub(super) fn trouble(&mut self, reason: &str, now_ms: i64) {
        self.trouble = Some(bounded(reason).to_owned());
        self.troubles = self.troubles.saturating_add(1);
        let pause = retry::backoff(limits::HOST_BACKOFF, limits::HOST_BACKOFF_MAX, self.troubles);
        self.not_before = now_ms.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
    }

    /// Calls can be made.
    pub(super) fn recovered(&mut self) {
        (self.troubles, self.trouble) = (0, None);
    }

    /// Why no call could be made when it was last tried, if so.
    pub(crate) fn troubled(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Bytes that are known to wait.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        let waiting =
            |input: &Input| if input.more { input.end.0.saturating_sub(input.at.next.0) } else { 0 };
        self.size.bytes(self.inputs.iter().map(waiting).sum())
    }

    /// Where an input stands, with what is in flight.
    pub(crate) fn at(&self, input: usize) -> Progress {
        self.inputs[input].at
    }

    /// The inputs.
    pub(crate) fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Why the log takes nothing more, if so.
    pub(crate) fn failed(&self) -> Option<&str> {
        match &self.life {
            Life::Failed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether nothing is unanswered.
    pub(crate) fn is_drained(&self) -> bool {
        self.flight.is_empty()
    }

    /// Whose driver it is.
    pub(crate) fn key(&self) -> DriverKey {
        self.key
    }

    /// The epoch under which it read.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }
}
