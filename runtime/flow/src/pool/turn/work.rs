//! A driver's turn from mail to rest: what others sent is read, what the driver wants is done, up to one call.

use std::sync::Arc;
use std::time::Duration;

use tidemill_bus::log::Topic;
use tidemill_bus::{DriverKey, Transaction};

use super::call::Read;
use super::contain::contained;
use crate::driver::{Driver, Effects, Landed, Layers, Step};
use crate::handler::Instance;
use crate::installed::{Installed, Settings};
use crate::limits;
use crate::pool::Core;
use crate::pool::cell::{Cell, InputView, View};
use crate::pool::mail::{Command, Latch};
use crate::pool::worker::Worker;
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
pub(crate) struct Work {
    pub(super) driver: Driver,
    pub(super) settings: Arc<Settings>,
    pub(super) instance: Option<Box<dyn Instance>>,
    pub(super) layers: Arc<Layers>,
    /// Operators that wait until what they sought is committed.
    pub(super) seekers: Vec<Arc<Latch>>,
    /// Why nothing that stands here can be relied on any more, if so.
    pub(super) broken: Option<String>,
}

/// Gives `cell` a turn.
pub(crate) fn turn(cell: &Arc<Cell>, worker: &mut Worker) -> Rest {
    cell.begin();
    let mut work = cell.work().lock();
    if work.broken.is_none() {
        match contained(|| Ok(work.take_turn(cell, worker))) {
            Ok(rest) => return rest,
            Err(fault) => work.break_down(worker, &fault),
        }
    }
    work.stand_still(cell);
    Rest::Idle
}

impl Work {
    pub(crate) fn new(
        core: &Arc<Core>,
        installed: &Arc<Installed>,
        key: DriverKey,
        topics: impl IntoIterator<Item = Topic>,
    ) -> Self {
        let (settings, standing) = installed.standing(None);
        let mut driver = Driver::new(key, topics);
        driver.renewed(standing);
        Self {
            driver,
            settings,
            instance: None,
            layers: Arc::new(Layers::new(Arc::clone(&core.log), key)),
            seekers: Vec::new(),
            broken: None,
        }
    }

    fn take_turn(&mut self, cell: &Arc<Cell>, worker: &mut Worker) -> Rest {
        self.update(cell);
        self.read_mail(cell);
        let rest = self.advance(cell, worker);
        self.show(&mut cell.view().lock());
        if !self.driver.seeking() || self.driver.failed().is_some() {
            self.seekers.drain(..).for_each(|latch| latch.release());
        }
        rest
    }

    /// Takes over the version in charge.
    fn update(&mut self, cell: &Cell) {
        let installed = cell.installed();
        if installed.generation() != self.settings.generation {
            let (settings, standing) = installed.standing(Some(cell));
            self.settings = settings;
            self.instance = None;
            self.driver.renewed(standing);
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
        let had_proved = self.driver.has_proved();
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
                }
            }
        }
        if !had_proved && self.driver.has_proved() {
            self.prove(cell);
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
        let gate = cell.installed().gate(&self.settings);
        self.driver.step(cell.core().log.now_ms(), gate, &self.settings.config)
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
        view.trouble = self.driver.troubled().map(str::to_owned);
        view.drained = self.driver.is_drained();
    }
}
