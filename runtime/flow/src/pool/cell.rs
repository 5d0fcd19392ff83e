//! What a driver lives in: who may touch it when, its mail, and what others may see of it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tidemill_bus::log::{Answered, Outcome, Topic};
use tidemill_bus::transaction::Progress;
use tidemill_bus::{DriverKey, TopicId};

use super::Core;
use super::mail::{Command, Launched, Mailbox};
use super::turn::Work;
use crate::config::Start;
use crate::installed::Installed;
use crate::scheduler::{Slot, Timer};

/// Nothing to do.
const RESTING: u8 = 0;
/// In the run queue, or waiting for bytes.
const QUEUED: u8 = 1;
/// A worker has it.
const RUNNING: u8 = 2;
/// A worker has it, and it was woken meanwhile.
const WOKEN: u8 = 3;

/// A driver and its surroundings. Always behind an `Arc`: it is the receiver of its transactions' answers.
pub(crate) struct Cell {
    me: Weak<Cell>,
    key: DriverKey,
    core: Arc<Core>,
    installed: Arc<Installed>,
    run: AtomicU8,
    moved: AtomicBool,
    mailbox: Mutex<Mailbox>,
    work: Mutex<Work>,
    view: Mutex<View>,
    timer: Mutex<Option<Timer>>,
    /// The generation that had the last commit here that settled an event.
    proved: AtomicU64,
}

/// What others may see of a driver, as it was after its last turn; before its first, as the log has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Its inputs.
    pub(crate) inputs: Vec<InputView>,
    /// Bytes of its instance.
    pub(crate) memory_bytes: usize,
    /// Instances that it has: one or none.
    pub(crate) instances: usize,
    /// Why the log takes nothing more, if so.
    pub(crate) failed: Option<String>,
    /// Why no call could be made when it was last tried, if so.
    pub(crate) trouble: Option<String>,
    /// Whether nothing is in flight.
    pub(crate) drained: bool,
}

/// What others may see of a driver's input.
#[derive(Clone, Debug)]
pub(crate) struct InputView {
    pub(crate) topic: TopicId,
    pub(crate) committed: Progress,
    pub(crate) lost: u64,
    pub(crate) stopped: Option<String>,
}

impl Cell {
    /// A driver of `installed` that reads its partition of `topic`.
    pub(crate) fn new(
        core: &Arc<Core>,
        installed: &Arc<Installed>,
        key: DriverKey,
        topic: &Topic,
    ) -> Arc<Self> {
        let cell = Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            key,
            core: Arc::clone(core),
            installed: Arc::clone(installed),
            run: AtomicU8::new(RESTING),
            moved: AtomicBool::new(true),
            mailbox: Mutex::default(),
            work: Mutex::new(Work::new(core, installed, key, [topic.clone()])),
            view: Mutex::new(View { drained: true, ..View::default() }),
            timer: Mutex::new(None),
            proved: AtomicU64::new(0),
        });
        cell.announce(topic);
        cell
    }

    /// Shows an input that it reads from now on, where the log has it: its first turn may be long in coming.
    fn announce(&self, topic: &Topic) {
        let log = &self.core.log;
        let known = log.progress(self.key, topic.id).ok().flatten();
        let Ok(range) = log.range(topic.partition(self.key.partition)) else { return };
        let settings = self.installed.settings();
        let begins_later =
            settings.first_inputs.contains(&topic.id) && settings.config.start != Start::Earliest;
        let next = if begins_later { range.end } else { range.start };
        let committed = known.unwrap_or(Progress { next, ..Progress::default() });
        let input = InputView { topic: topic.id, committed, lost: 0, stopped: None };
        let mut view = self.view.lock();
        if view.inputs.iter().all(|seen| seen.topic != topic.id) {
            view.inputs.push(input);
        }
    }

    /// Has it read this topic, too.
    pub(crate) fn add(self: &Arc<Self>, topic: &Topic) {
        self.announce(topic);
        self.command(Command::Add(topic.clone()));
    }

    pub(crate) fn key(&self) -> DriverKey {
        self.key
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn installed(&self) -> &Arc<Installed> {
        &self.installed
    }

    pub(crate) fn slot(&self) -> Slot {
        self.installed.slot
    }

    pub(super) fn work(&self) -> &Mutex<Work> {
        &self.work
    }

    pub(super) fn mailbox(&self) -> &Mutex<Mailbox> {
        &self.mailbox
    }

    pub(crate) fn view(&self) -> &Mutex<View> {
        &self.view
    }

    /// Makes sure that it gets a turn after this moment. True: the caller must put it in the queue.
    pub(crate) fn wake(&self) -> bool {
        let woken = |run| match run {
            RESTING => Some(QUEUED),
            RUNNING => Some(WOKEN),
            _ => None,
        };
        self.run.fetch_update(Ordering::SeqCst, Ordering::SeqCst, woken) == Ok(RESTING)
    }

    /// More can be read; otherwise as [`Cell::wake`].
    pub(crate) fn wake_moved(&self) -> bool {
        self.moved.store(true, Ordering::SeqCst);
        self.wake()
    }

    /// Whether more could be read since it was asked last.
    pub(super) fn take_moved(&self) -> bool {
        self.moved.swap(false, Ordering::SeqCst)
    }

    /// A worker begins its turn.
    pub(super) fn begin(&self) {
        let before = self.run.swap(RUNNING, Ordering::SeqCst);
        assert_eq!(before, QUEUED, "{} has one turn at a time", self.key);
    }

    /// Its turn is over and it goes back into the queue.
    pub(super) fn requeue(&self) {
        self.run.store(QUEUED, Ordering::SeqCst);
    }

    /// Its turn is over and it has nothing to do. False: it was woken meanwhile, and goes into the queue.
    pub(super) fn rest(&self) -> bool {
        let rested = |run| Some(if run == RUNNING { RESTING } else { QUEUED });
        self.run.fetch_update(Ordering::SeqCst, Ordering::SeqCst, rested) == Ok(RUNNING)
    }

    /// Whether it rests with nothing in flight.
    pub(crate) fn is_quiet(&self) -> bool {
        let drained = self.view.lock().drained;
        drained && self.run.load(Ordering::SeqCst) == RESTING
    }

    pub(super) fn set_timer(&self, set: impl FnOnce(Option<Timer>) -> Timer) {
        let mut timer = self.timer.lock();
        *timer = Some(set(timer.take()));
    }

    /// Whether `generation` has had a commit here.
    pub(crate) fn has_proved(&self, generation: u64) -> bool {
        self.proved.load(Ordering::Acquire) == generation
    }

    /// `generation` has had its first commit here.
    pub(super) fn prove(&self, generation: u64) {
        self.proved.store(generation, Ordering::Release);
    }

    /// Hands a command in and sees that it is read.
    pub(crate) fn command(self: &Arc<Self>, command: Command) {
        self.mailbox.lock().commands.push(command);
        self.rouse();
    }

    /// Wakes it and puts it in the queue.
    pub(crate) fn rouse(self: &Arc<Self>) {
        if self.wake() {
            self.core.enqueue([Arc::clone(self)]);
        }
    }
}

impl Answered for Cell {
    fn answered(&self, token: u64, outcome: Outcome) {
        let launched: Launched = {
            let mut mailbox = self.mailbox.lock();
            mailbox.answers.push((token, outcome));
            mailbox.launched.pop_front().expect("an answer belongs to a transaction")
        };
        assert_eq!(launched.token, token, "answers of {} come in the order of its calls", self.key);
        let now = self.core.clock.now();
        self.installed.tally.answered(now.saturating_sub(launched.at));
        if let Some(me) = self.me.upgrade() {
            me.rouse();
        }
        self.core.landed(launched.bytes);
    }
}
