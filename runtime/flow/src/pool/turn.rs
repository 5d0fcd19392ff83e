//! One turn of a driver: its mail, then a batch read, handed to the handler, checked, scattered and committed.
//! Runs on a worker; waits for nothing but the handler.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tidemill_bus::block::body_crc;
use tidemill_bus::log::{Answer, ReadError, Topic};
use tidemill_bus::transaction::{Cause, NewBlock, Progress, ProgressUpdate, StateWrites};
use tidemill_bus::{DriverKey, Partition, TopicId, Transaction};

use super::Core;
use super::cell::{Cell, InputView, View};
use super::mail::{Command, Latch, Launched};
use super::worker::Worker;
use crate::config;
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::driver::{Driver, Effects, Ending, Landed, Layers, Plan, Settlement, Start, Step, Taken};
use crate::handler::{Call, Fault, Instance};
use crate::installed::{Installed, Settings};
use crate::limits;
use crate::outcome::{Checked, Emission, Scatter, Target, check};
use crate::output::{Failure, Output};
use crate::scheduler::Ripeness;

/// What a driver waits for after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Its next turn.
    Ready(Ripeness),
    /// A time of the core's clock.
    Until(Duration),
    /// Bytes of the budget.
    Starved,
    /// An event, an answer or a command.
    Idle,
}

/// What only the driver's own turns touch.
pub(super) struct Work {
    driver: Driver,
    settings: Arc<Settings>,
    instance: Option<Box<dyn Instance>>,
    layers: Arc<Layers>,
    /// Topics that it emits to, by name.
    topics: HashMap<String, Topic>,
    /// Operators that wait until what they sought is committed.
    seekers: Vec<Arc<Latch>>,
}

/// What became of a plan to read.
enum Read {
    /// There were no bytes for it.
    Starved,
    /// Nothing came of it: ask again.
    Nothing,
    /// A call was made.
    Called,
}

/// A call that came back whole, and what it comes to.
struct Return<'a> {
    taken: Taken<'a>,
    blocks: Vec<NewBlock>,
    rejected: Vec<Failure>,
    state: StateWrites,
}

/// Gives `cell` a turn.
pub(crate) fn turn(cell: &Arc<Cell>, worker: &mut Worker) -> Rest {
    cell.begin();
    let mut work = cell.work().lock();
    work.update(cell.installed());
    work.read_mail(cell);
    let rest = work.advance(cell, worker);
    work.show(&mut cell.view().lock());
    if !work.driver.seeking() || work.driver.failed().is_some() {
        work.seekers.drain(..).for_each(|latch| latch.release());
    }
    rest
}

impl Work {
    pub(super) fn new(
        core: &Arc<Core>,
        installed: &Arc<Installed>,
        key: DriverKey,
        topics: impl IntoIterator<Item = Topic>,
    ) -> Self {
        Self {
            driver: Driver::new(key, topics),
            settings: installed.settings(),
            instance: None,
            layers: Arc::new(Layers::new(Arc::clone(&core.log), key)),
            topics: HashMap::new(),
            seekers: Vec::new(),
        }
    }

    /// Takes over the version in charge.
    fn update(&mut self, installed: &Installed) {
        if installed.generation() != self.settings.generation {
            self.settings = installed.settings();
            self.instance = None;
            self.topics.clear();
            tidemill_bus::crash::point("plugin-swap");
        }
    }

    fn read_mail(&mut self, cell: &Cell) {
        if cell.take_moved() {
            self.driver.moved();
        }
        let (answers, commands) = {
            let mut mailbox = cell.mailbox().lock();
            (std::mem::take(&mut mailbox.answers), std::mem::take(&mut mailbox.commands))
        };
        for (token, outcome) in answers {
            match self.driver.answered(token, outcome, cell.core().log.now_ms()) {
                Landed::Committed(effects) => {
                    cell.installed().tally.committed(effects);
                    self.layers.committed(token);
                }
                Landed::Aborted(_) => {
                    cell.installed().tally.aborted();
                    self.layers.aborted(token);
                    self.instance = None;
                    self.topics.clear();
                }
            }
        }
        for command in commands {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Resume => self.driver.resume(),
            Command::Add(topic) => self.driver.add_input(topic),
            Command::Seek(topic, to, latch) => {
                self.driver.seek(topic, to);
                self.instance = None;
                self.seekers.push(latch);
            }
        }
    }

    /// Does what the driver wants done, up to one call.
    fn advance(&mut self, cell: &Arc<Cell>, worker: &mut Worker) -> Rest {
        loop {
            match self.step(cell) {
                Step::Load => self.load(cell),
                Step::Announce { input } => {
                    let progress = self.driver.at(input);
                    self.launch(cell, input, (Transaction::default(), progress, Effects::default()), 0);
                }
                Step::Read(plan) => match self.read(cell, worker, plan) {
                    Read::Starved => return Rest::Starved,
                    Read::Nothing => {}
                    Read::Called => return self.rest(cell),
                },
                Step::Until(_) | Step::Wait => return self.rest(cell),
            }
        }
    }

    fn step(&self, cell: &Cell) -> Step {
        self.driver.step(cell.core().log.now_ms(), cell.installed().gate(), &self.settings.config)
    }

    fn rest(&self, cell: &Cell) -> Rest {
        match self.step(cell) {
            Step::Wait => Rest::Idle,
            Step::Until(until_ms) => {
                let left = u64::try_from(until_ms - cell.core().log.now_ms()).unwrap_or(0);
                Rest::Until(cell.core().clock.now() + Duration::from_millis(left))
            }
            Step::Read(_) if self.driver.waiting_bytes() < limits::RIPE_BYTES => Rest::Ready(Ripeness::Fresh),
            Step::Read(_) | Step::Load | Step::Announce { .. } => Rest::Ready(Ripeness::Ripe),
        }
    }

    /// Reads epoch and progress.
    fn load(&mut self, cell: &Cell) {
        let log = &cell.core().log;
        let key = self.driver.key();
        let epoch = log.epoch(key);
        let mut progress = Vec::new();
        for input in self.driver.inputs() {
            let start = match log.progress(key, input.topic.id) {
                Ok(Some(progress)) => Ok((progress, Start::Known)),
                Ok(None) => self.start(cell, input.topic.id, input.source),
                Err(error) => return self.driver.unloadable(&error.to_string()),
            };
            match start {
                Ok(start) => progress.push(start),
                Err(ReadError::Unknown(source)) => return self.driver.drop_input(source.topic),
                Err(error) => return self.driver.unloadable(&error.to_string()),
            }
        }
        self.driver.loaded(epoch, &progress, &self.settings.config.retry);
    }

    /// Where a new group begins.
    fn start(
        &self,
        cell: &Cell,
        topic: TopicId,
        source: tidemill_bus::TopicPartition,
    ) -> Result<(Progress, Start), ReadError> {
        let log = &cell.core().log;
        let configured = self.settings.first_inputs.contains(&topic);
        let start = if configured { self.settings.config.start } else { config::Start::Earliest };
        let (next, start) = match start {
            config::Start::Earliest => (log.range(source)?.start, Start::Known),
            config::Start::Latest => (log.range(source)?.end, Start::New),
            config::Start::Time(time_ms) => (log.position_at(source, time_ms)?, Start::New),
        };
        Ok((Progress { next, ..Progress::default() }, start))
    }

    fn read(&mut self, cell: &Arc<Cell>, worker: &mut Worker, plan: Plan) -> Read {
        let core = cell.core();
        let bytes = plan.limit.bytes;
        if !core.budget.reserve(bytes) {
            return Read::Starved;
        }
        let mut batch = std::mem::replace(&mut worker.batch, tidemill_bus::Batch::new(plan.source));
        batch.reset(plan.source);
        let read = match core.log.read(plan.source, plan.from, plan.limit, &mut batch) {
            Ok(end) => {
                self.driver.read(plan, batch.len(), end);
                if batch.is_empty() {
                    core.release(bytes);
                    Read::Nothing
                } else {
                    self.call(cell, worker, Taken { plan, batch: &batch, next: end.next });
                    Read::Called
                }
            }
            Err(error) => {
                let lost = self.driver.read_failed(plan, &error, core.log.now_ms());
                cell.installed().tally.lost(lost);
                core.release(bytes);
                Read::Nothing
            }
        };
        worker.batch = batch;
        read
    }

    /// Calls the handler, and commits what comes of it.
    fn call(&mut self, cell: &Arc<Cell>, worker: &mut Worker, taken: Taken<'_>) {
        let now_ms = cell.core().log.now_ms();
        let policy = self.settings.config.retry;
        let result =
            self.process(cell, worker, taken).and_then(|output| self.judge(cell, worker, taken, output));
        match result {
            Ok((back, stop, settled)) => {
                let settlement = self.driver.settled(taken, settled, stop.as_ref(), (&policy, now_ms));
                let reason = stop.map(|stop| stop.reason).unwrap_or_default();
                self.commit(cell, back, settlement, (settled, "stopped", &reason));
            }
            Err(fault) => {
                cell.installed().tally.fault(&fault);
                if !fault.keeps_instance() {
                    self.instance = None;
                }
                let settlement = self.driver.faulted(taken, &fault, (&policy, now_ms));
                let back =
                    Return { taken, blocks: Vec::new(), rejected: Vec::new(), state: StateWrites::default() };
                match settlement {
                    Some(settlement) => {
                        self.commit(cell, back, settlement, (0, fault.kind(), &fault.to_string()));
                    }
                    None => cell.core().release(taken.plan.limit.bytes),
                }
            }
        }
    }

    fn process(&mut self, cell: &Cell, worker: &Worker, taken: Taken<'_>) -> Result<Output, Fault> {
        let Taken { plan, batch, .. } = taken;
        let instance = match &mut self.instance {
            Some(instance) => instance,
            // Without an instance there is no call, and no event to blame.
            none => none.insert(
                self.settings
                    .handler
                    .instantiate(self.driver.key())
                    .map_err(|fault| Fault::Host(format!("no instance: {fault}")))?,
            ),
        };
        let asked = Call {
            batch,
            topic: &self.driver.inputs()[plan.input].topic.name,
            attempt: plan.attempt,
            deadline: self.driver.deadline(plan, batch.len(), self.settings.config.limits.deadline),
            state: Arc::clone(&self.layers) as _,
            pace: Arc::clone(&worker.pace) as _,
        };
        let begun = cell.core().clock.now();
        let result = instance.process(asked);
        let elapsed = cell.core().clock.now().saturating_sub(begun);
        cell.installed().tally.called(batch.len(), elapsed);
        if result.is_ok() {
            self.driver.measured(batch, elapsed);
        }
        result
    }

    /// Checks an output and scatters its events.
    fn judge<'a>(
        &mut self,
        cell: &Cell,
        worker: &mut Worker,
        taken: Taken<'a>,
        mut output: Output,
    ) -> Result<(Return<'a>, Option<crate::output::Stop>, usize), Fault> {
        let checked = check(&output, taken.batch).map_err(|lie| Fault::Lie(lie.to_string()))?;
        self.find_targets(cell, worker, checked);
        let emission = Emission { output: checked, batch: taken.batch, targets: &worker.targets };
        let refused = Scatter::refused(emission);
        let has_state = !output.state.is_empty();
        if has_state && !refused.is_empty() && taken.batch.len() > 1 {
            // The writes of the refused events cannot be told from the others': they are found one by one.
            return Err(Fault::Lie(refused[0].reason.clone()));
        }
        let blocks = worker.scatter.blocks(emission, &refused, self.driver.key().handler);
        let (state, rejected) = (std::mem::take(&mut output.state), std::mem::take(&mut output.rejected));
        let state = if refused.is_empty() {
            state
        } else {
            // The guest takes its effects for done.
            self.instance = None;
            StateWrites::default()
        };
        let bytes = blocks.iter().map(NewBlock::byte_len).sum::<usize>() + state.byte_len();
        if bytes > limits::TRANSACTION_BYTES {
            return Err(Fault::OutputTooLarge { limit: limits::TRANSACTION_BYTES });
        }
        let rejected = merged(rejected, refused);
        Ok((Return { taken, blocks, rejected, state }, output.stopped, output.settled as usize))
    }

    /// Finds where each topic of the output leads.
    fn find_targets(&mut self, cell: &Cell, worker: &mut Worker, checked: Checked<'_>) {
        let output = checked.output();
        worker.targets.clear();
        if output.topics.is_empty() && !output.cause_of.is_empty() {
            let settings = Arc::clone(&self.settings);
            worker.targets.push(match settings.first_output() {
                Some(name) => self.target(cell, name),
                None => {
                    Target::Refused("emitted without a topic, and the first output is not one".to_owned())
                }
            });
        }
        for name in &output.topics {
            let target = if self.topics.contains_key(name) || self.settings.declares(name) {
                self.target(cell, name)
            } else {
                let name = crate::dead_letter::bounded(name);
                Target::Refused(format!("emitted to the topic {name:?}, which it does not declare"))
            };
            worker.targets.push(target);
        }
    }

    fn target(&mut self, cell: &Cell, name: &str) -> Target {
        match self.topic(cell, name) {
            Ok(topic) => Target::Topic { id: topic.id, partitions: topic.partitions },
            Err(reason) => Target::Refused(reason),
        }
    }

    /// A topic by name, created if it is not there: those that are declared by name were created at
    /// installation, so this comes once for each topic of a glob and after a deletion.
    fn topic(&mut self, cell: &Cell, name: &str) -> Result<Topic, String> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(topic.clone());
        }
        let log = &cell.core().log;
        let topic = match log.topic(name) {
            Some(topic) => topic,
            None if cell.installed().topics_created.load(Relaxed) >= limits::OUTPUT_TOPICS => {
                return Err(format!("has created {} topics, which is the limit", limits::OUTPUT_TOPICS));
            }
            None => {
                cell.installed().topics_created.fetch_add(1, Relaxed);
                log.create_topic(name, None).map_err(|error| error.to_string())?
            }
        };
        self.topics.insert(name.to_owned(), topic.clone());
        Ok(topic)
    }

    /// Makes a transaction of what a call came to. `failed` is the event that it stopped at, the kind of its
    /// failure and the reason.
    fn commit(
        &mut self,
        cell: &Arc<Cell>,
        back: Return<'_>,
        settlement: Settlement,
        failed: (usize, &str, &str),
    ) {
        let Return { taken, mut blocks, rejected, state } = back;
        let events_out: usize = blocks.iter().map(|block| block.columns.len()).sum();
        let attempt = |index: usize| if index == 0 { taken.plan.attempt } else { 1 };
        let mut letters: Vec<DeadLetter<'_>> = Vec::new();
        letters.extend(rejected.iter().map(|failure| {
            let index = failure.index as usize;
            DeadLetter { index, kind: "rejected", reason: &failure.reason, attempts: attempt(index) }
        }));
        let (index, kind, reason) = failed;
        let gone = match settlement.ending {
            Ending::DeadLetter => {
                letters.push(DeadLetter { index, kind, reason, attempts: settlement.attempts });
                1
            }
            Ending::Drop => 1,
            Ending::Retry => {
                cell.installed().tally.retry();
                0
            }
            Ending::Clean | Ending::Halt => 0,
        };
        if !letters.is_empty()
            && let Err(fault) = self.add_letters(cell, taken, &letters, &mut blocks)
        {
            // The dead-letter topic cannot be had: the call is as if it never was.
            return self.undo(cell, taken, &fault);
        }
        let settled = if settlement.ending == Ending::Clean { taken.batch.len() } else { index + gone };
        let effects = Effects {
            events_in: settled as u64,
            events_out: events_out as u64,
            dead_letters: letters.len() as u64,
            dropped: u64::from(settlement.ending == Ending::Drop),
        };
        let transaction = Transaction { blocks, state, ..Transaction::default() };
        let launch = (transaction, settlement.progress, effects);
        self.launch(cell, taken.plan.input, launch, taken.plan.limit.bytes);
    }

    fn undo(&mut self, cell: &Cell, taken: Taken<'_>, fault: &Fault) {
        cell.installed().tally.fault(fault);
        self.instance = None;
        let now_ms = cell.core().log.now_ms();
        let nothing = self.driver.faulted(taken, fault, (&self.settings.config.retry, now_ms));
        assert_eq!(nothing, None, "a fault of the host settles nothing");
        cell.core().release(taken.plan.limit.bytes);
    }

    fn add_letters(
        &mut self,
        cell: &Cell,
        taken: Taken<'_>,
        letters: &[DeadLetter<'_>],
        blocks: &mut Vec<NewBlock>,
    ) -> Result<(), Fault> {
        let topic = self.topic(cell, &self.settings.config.dead_letter_topic()).map_err(Fault::Host)?;
        let source = taken.batch.source;
        let dead = DeadLetters {
            handler: &self.settings.config.name,
            topic: &self.driver.inputs()[taken.plan.input].topic.name,
            now_ms: cell.core().log.now_ms(),
        };
        let base = taken.batch.base_offset;
        for (columns, causes) in dead.runs(taken.batch, letters) {
            let delta = |index: u32| {
                let delta = taken.batch.offset(index as usize).0 - base.0;
                u32::try_from(delta).expect("a batch spans fewer than 2^32 offsets")
            };
            let events: Vec<u32> = causes.into_iter().map(delta).collect();
            let handler = self.driver.key().handler;
            blocks.push(NewBlock {
                target: topic.partition(Partition(source.partition.0 % topic.partitions)),
                body_crc: body_crc(&columns, Some(&events)),
                columns: Arc::new(columns),
                cause: Some(Arc::new(Cause { handler, source, first: base, events })),
            });
        }
        Ok(())
    }

    /// Hands a transaction in that brings an input to a progress, with its effects; `reserved` bytes of the
    /// budget are held for it.
    fn launch(
        &mut self,
        cell: &Arc<Cell>,
        input: usize,
        (mut transaction, progress, effects): (Transaction, Progress, Effects),
        reserved: usize,
    ) {
        let core = cell.core();
        let bytes = transaction.byte_len();
        core.budget.correct(reserved, bytes);
        core.launched();
        transaction.driver = Some(self.driver.key());
        transaction.epoch = self.driver.epoch();
        let topic = self.driver.inputs()[input].topic.id;
        transaction.progress = Some(ProgressUpdate { topic, progress });
        let token = self.driver.launch(input, progress, effects);
        if !transaction.state.is_empty() {
            self.layers.push(token, transaction.state.clone());
        }
        cell.mailbox().lock().launched.push_back(Launched { token, bytes, at: core.clock.now() });
        core.log.submit(transaction, Answer { to: Arc::clone(cell) as _, token });
    }

    /// Shows others where the driver is.
    fn show(&self, view: &mut View) {
        view.inputs.clear();
        view.inputs.extend(self.driver.inputs().iter().map(|input| InputView {
            topic: input.topic.id,
            committed: input.committed,
            lost: input.lost,
            stopped: input.stopped.clone(),
        }));
        view.memory_bytes = self.instance.as_ref().map_or(0, |instance| instance.memory_bytes());
        view.instances = usize::from(self.instance.is_some());
        view.failed = self.driver.failed().map(str::to_owned);
        view.drained = self.driver.is_drained();
    }
}

/// Two ascending lists of rejections as one. No event is in both: what is rejected emits nothing.
fn merged(rejected: Vec<Failure>, refused: Vec<Failure>) -> Vec<Failure> {
    if refused.is_empty() {
        return rejected;
    }
    let mut all = rejected;
    all.extend(refused);
    all.sort_by_key(|failure| failure.index);
    all
}
