//! One driver: what it reads next, what its calls come to, how far it has come. A state machine without thread
//! or clock: time is an argument, and whoever holds it reads, calls and commits. Knows no instance and no log.

mod layers;
mod size;

use std::collections::VecDeque;
use std::time::Duration;

use tidemill_bus::log::{Abort, Outcome, ReadEnd, ReadError, ReadLimit, Topic};
use tidemill_bus::transaction::Progress;
use tidemill_bus::{Batch, DriverKey, Offset, TopicId, TopicPartition};

use crate::config::{HandlerConfig, Retry, Then};
use crate::handler::Fault;
use crate::isolation::{Isolation, Suspicion, part_deadline};
use crate::limits;
use crate::output::Stop;
use crate::retry::{self, Failed};

pub(crate) use layers::Layers;
pub(crate) use size::BatchSize;

/// The state machine of one handler, partition and lane.
pub(crate) struct Driver {
    key: DriverKey,
    inputs: Vec<Input>,
    /// The input that is served next.
    turn: usize,
    /// Unanswered transactions, oldest first.
    flight: VecDeque<Flight>,
    next_token: u64,
    epoch: u64,
    life: Life,
    size: BatchSize,
    /// Faults of the host, or refusals of a busy log, in a row.
    troubles: u32,
    /// Nothing is done before this time, in milliseconds since the Unix epoch.
    not_before: i64,
}

/// Whether the driver knows where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Life {
    /// It must read its progress first, once nothing is in flight.
    Unloaded,
    /// It does.
    Loaded,
    /// The log takes nothing more.
    Failed(String),
}

/// The driver's partition of one input topic.
pub(crate) struct Input {
    /// The topic.
    pub(crate) topic: Topic,
    /// The partition.
    pub(crate) source: TopicPartition,
    /// What is committed.
    pub(crate) committed: Progress,
    /// Where the driver is, with what is in flight.
    at: Progress,
    /// The high watermark when it was last seen.
    end: Offset,
    /// Whether there may be more to read.
    more: bool,
    isolation: Isolation,
    /// Why nothing is read of it until an operator resumes or seeks.
    pub(crate) stopped: Option<String>,
    /// Where an operator wants it, until that is committed.
    sought: Option<Offset>,
    /// Whether `at` must be committed before anything is read.
    announce: bool,
    /// Offsets that were gone before they were read.
    pub(crate) lost: u64,
}

/// An unanswered transaction.
struct Flight {
    token: u64,
    topic: TopicId,
    progress: Progress,
    effects: Effects,
}

/// What a transaction adds to the counters when it is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Events settled.
    pub(crate) events_in: u64,
    /// Events emitted.
    pub(crate) events_out: u64,
    /// Dead letters.
    pub(crate) dead_letters: u64,
    /// Events dropped.
    pub(crate) dropped: u64,
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
    part: bool,
}

/// Whether a driver may begin something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It may.
    Open,
    /// It may only bring to an end what is in flight.
    Closed,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settlement {
    /// Where the input stands after it.
    pub(crate) progress: Progress,
    /// What becomes of the event that it stopped at.
    pub(crate) ending: Ending,
    /// Attempts made at that event.
    pub(crate) attempts: u32,
}

/// What becomes of an event that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// None failed.
    Clean,
    /// It is tried again.
    Retry,
    /// It goes to the dead letters.
    DeadLetter,
    /// It is dropped.
    Drop,
    /// The partition stops before it.
    Halt,
}

/// A batch with where the read ended.
#[derive(Clone, Copy)]
pub(crate) struct Taken<'a> {
    /// The plan that it was read by.
    pub(crate) plan: Plan,
    /// The events, at least one.
    pub(crate) batch: &'a Batch,
    /// The position after it.
    pub(crate) next: Offset,
}

/// An answer, put to account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Landed {
    /// The transaction is committed, with these effects.
    Committed(Effects),
    /// It was aborted, and the driver will rewind.
    Aborted(Abort),
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

    /// How long a call with `count` events may run.
    pub(crate) fn deadline(&self, plan: Plan, count: usize, whole: Duration) -> Duration {
        if plan.part { part_deadline(whole, count, self.size.expected(count)) } else { whole }
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
            ReadError::Disk { .. } => self.trouble(now_ms),
        }
        0
    }

    /// A call took `elapsed`.
    pub(crate) fn measured(&mut self, batch: &Batch, elapsed: Duration) {
        self.size.measured(batch.len(), batch.columns.byte_len(), elapsed);
    }

    /// A call settled the first `settled` events of the batch, and stopped there if `stop` says so.
    pub(crate) fn settled(
        &mut self,
        taken: Taken<'_>,
        settled: usize,
        stop: Option<&Stop>,
        (retry, now_ms): (&Retry, i64),
    ) -> Settlement {
        self.troubles = 0;
        self.inputs[taken.plan.input].isolation.settled(settled);
        match stop {
            Some(stop) => self.give_way(taken, settled, (&stop.reason, stop.after_ms), (retry, now_ms)),
            None => Settlement {
                progress: Progress { next: taken.next, ..Progress::default() },
                ending: Ending::Clean,
                attempts: 0,
            },
        }
    }

    /// A call failed as a whole. `None`: nothing is to be committed, the driver goes on in parts, or later.
    pub(crate) fn faulted(
        &mut self,
        taken: Taken<'_>,
        fault: &Fault,
        (retry, now_ms): (&Retry, i64),
    ) -> Option<Settlement> {
        self.inputs[taken.plan.input].more = true;
        if matches!(fault, Fault::Host(_)) {
            self.trouble(now_ms);
            return None;
        }
        self.troubles = 0;
        match self.inputs[taken.plan.input].isolation.failed(taken.batch.len()) {
            Suspicion::Halved => None,
            Suspicion::Guilty => Some(self.give_way(taken, 0, (&fault.to_string(), None), (retry, now_ms))),
        }
    }

    /// Event `index` of the batch was not done: it is tried again, or the policy decides.
    fn give_way(
        &mut self,
        taken: Taken<'_>,
        index: usize,
        (reason, after_ms): (&str, Option<u64>),
        (retry, now_ms): (&Retry, i64),
    ) -> Settlement {
        let input = &mut self.inputs[taken.plan.input];
        let offset = taken.batch.offset(index);
        let attempts = if index == 0 { taken.plan.attempt } else { 1 };
        let before = Progress { next: offset, attempts, not_before: 0 };
        let behind = if index + 1 < taken.batch.len() { taken.batch.offset(index + 1) } else { taken.next };
        let past = Progress { next: behind, ..Progress::default() };
        input.more = true;
        let (progress, ending) = if attempts < retry.attempts {
            let failed = Failed { driver: self.key, offset, attempts, after_ms };
            let not_before = now_ms.saturating_add(retry::pause_ms(retry, failed));
            (Progress { not_before, ..before }, Ending::Retry)
        } else {
            match retry.then {
                Then::DeadLetter => (past, Ending::DeadLetter),
                Then::Drop => (past, Ending::Drop),
                Then::Stop => {
                    input.stopped = Some(format!(
                        "gave up at offset {offset} after {attempts} attempts: {}",
                        crate::dead_letter::bounded(reason)
                    ));
                    (before, Ending::Halt)
                }
            }
        };
        if matches!(ending, Ending::DeadLetter | Ending::Drop) {
            input.isolation.settled(1);
        }
        Settlement { progress, ending, attempts }
    }

    /// The host or the log could not do its part: everything waits, longer each time.
    pub(crate) fn trouble(&mut self, now_ms: i64) {
        self.troubles = self.troubles.saturating_add(1);
        let pause = retry::backoff(limits::HOST_BACKOFF, limits::HOST_BACKOFF_MAX, self.troubles);
        self.not_before = now_ms.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
    }

    /// A transaction that brings an input to `progress` is handed in; returns its token.
    pub(crate) fn launch(&mut self, input: usize, progress: Progress, effects: Effects) -> u64 {
        assert!(self.flight.len() < limits::TRANSACTIONS_IN_FLIGHT, "{} has too many in flight", self.key);
        let input = &mut self.inputs[input];
        input.at = progress;
        input.announce = false;
        let token = self.next_token;
        self.next_token += 1;
        self.flight.push_back(Flight { token, topic: input.topic.id, progress, effects });
        token
    }

    /// The answer to a transaction has come.
    pub(crate) fn answered(&mut self, token: u64, outcome: Outcome, now_ms: i64) -> Landed {
        let flight = self.flight.pop_front().expect("an answer belongs to a transaction");
        assert_eq!(flight.token, token, "answers of {} come in the order of its calls", self.key);
        match outcome {
            Outcome::Committed(_) => {
                if let Some(input) = self.inputs.iter_mut().find(|input| input.topic.id == flight.topic) {
                    input.committed = flight.progress;
                    input.sought = input.sought.filter(|&sought| sought != flight.progress.next);
                }
                self.troubles = 0;
                Landed::Committed(flight.effects)
            }
            Outcome::Aborted(abort) => {
                self.aborted(&abort, now_ms);
                Landed::Aborted(abort)
            }
        }
    }

    fn aborted(&mut self, abort: &Abort, now_ms: i64) {
        let failed = matches!(self.life, Life::Failed(_));
        match abort {
            _ if failed => {}
            Abort::Poisoned(_) | Abort::Closing | Abort::TooLarge { .. } | Abort::KeyReused(_) => {
                self.life = Life::Failed(abort.to_string());
            }
            // What may pass: a full disk is a disk that someone makes room on.
            Abort::Busy | Abort::Full(_) | Abort::Tables(_) => {
                self.life = Life::Unloaded;
                self.trouble(now_ms);
            }
            Abort::TopicGone(_) | Abort::Fenced(_) => self.life = Life::Unloaded,
        }
        if let Abort::TopicGone(topic) = abort {
            self.drop_input(*topic);
        }
    }

    /// The committed progress of each input, in their order, and the epoch under which it was read. An input
    /// whose group is new gets its start, and whether that start must be committed.
    pub(crate) fn loaded(&mut self, epoch: u64, progress: &[(Progress, Start)], retry: &Retry) {
        assert!(self.flight.is_empty(), "{} loads with nothing in flight", self.key);
        assert_eq!(progress.len(), self.inputs.len(), "one progress for each input");
        self.epoch = epoch;
        self.life = Life::Loaded;
        for (input, &(progress, start)) in self.inputs.iter_mut().zip(progress) {
            input.committed = progress;
            input.at = progress;
            input.announce = start == Start::New;
            input.more = true;
            input.isolation.clear();
            let used_up = progress.attempts >= retry.attempts && retry.then == Then::Stop;
            let again =
                || format!("gave up at offset {} after {} attempts", progress.next, progress.attempts);
            input.stopped = if used_up { input.stopped.take().or_else(|| Some(again())) } else { None };
            if let Some(sought) = input.sought {
                input.seek(sought);
            }
        }
    }

    /// More can be read of some input.
    pub(crate) fn moved(&mut self) {
        self.inputs.iter_mut().for_each(|input| input.more = true);
    }

    /// An operator moves an input; done when nothing is in flight.
    pub(crate) fn seek(&mut self, topic: TopicId, to: Offset) {
        if let Some(input) = self.inputs.iter_mut().find(|input| input.topic.id == topic) {
            input.seek(to);
        }
        if let Life::Failed(_) = self.life {
            self.life = Life::Unloaded;
        }
    }

    /// An operator lets stopped inputs try again, with all their attempts.
    pub(crate) fn resume(&mut self) {
        for input in &mut self.inputs {
            if input.stopped.take().is_some() {
                (input.at.attempts, input.at.not_before, input.announce) = (0, 0, true);
                input.more = true;
            }
        }
        self.not_before = 0;
        if let Life::Failed(_) = self.life {
            self.life = Life::Unloaded;
        }
    }

    /// Whether a seek is not committed yet.
    pub(crate) fn seeking(&self) -> bool {
        self.inputs.iter().any(|input| input.sought.is_some())
    }

    /// Reads a topic too, once nothing is in flight.
    pub(crate) fn add_input(&mut self, topic: Topic) {
        if self.inputs.iter().any(|input| input.topic.id == topic.id) {
            return;
        }
        let source = topic.partition(self.key.partition);
        self.inputs.push(Input {
            topic,
            source,
            committed: Progress::default(),
            at: Progress::default(),
            end: Offset(0),
            more: true,
            isolation: Isolation::default(),
            stopped: None,
            sought: None,
            announce: false,
            lost: 0,
        });
        if self.life == Life::Loaded {
            self.life = Life::Unloaded;
        }
    }

    /// Reads a topic no more.
    pub(crate) fn drop_input(&mut self, topic: TopicId) {
        self.inputs.retain(|input| input.topic.id != topic);
    }

    /// Progress could not be read: every input stands still for this reason.
    pub(crate) fn unloadable(&mut self, reason: &str) {
        self.life = Life::Failed(reason.to_owned());
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

/// Whether a group has been at an input before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It has, or begins at the oldest event, which needs no record.
    Known,
    /// It has not, and where it begins must be committed before anything else.
    New,
}

impl Input {
    fn seek(&mut self, to: Offset) {
        self.at = Progress { next: to, ..Progress::default() };
        self.sought = Some(to);
        self.announce = true;
        self.stopped = None;
        self.more = true;
        self.isolation.clear();
    }
}
