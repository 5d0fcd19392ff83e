//! A handler in place: its settings and version in charge, its counters, its drivers. What many threads share of
//! it; decides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex, RwLock};
use tidemill_bus::log::AdminError;
use tidemill_bus::{HandlerId, Log, TopicId};

use crate::config::HandlerConfig;
use crate::driver::{Gate, Standing};
use crate::handler::Handler;
use crate::note::{self, Note};
use crate::pool::Cell;
use crate::scheduler::Slot;
use crate::tally::Tally;
use crate::trial::Trial;

/// One handler, from its installation to its removal.
pub(crate) struct Installed {
    /// Its id.
    pub(crate) id: HandlerId,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its place in the scheduler.
    pub(crate) slot: Slot,
    /// What it has done.
    pub(crate) tally: Tally,
    /// Topics created for its globs.
    pub(crate) topics_created: AtomicUsize,
    settings: RwLock<Arc<Settings>>,
    generation: AtomicU64,
    gate: AtomicU8,
    /// The `state-version` of its state, as in its note.
    state_version: AtomicU32,
    /// The trial of its newest version.
    pub(crate) trial: Trial,
    /// What the log remembers of it.
    note: Mutex<Note>,
    /// Its drivers, by partition.
    pub(crate) cells: RwLock<Vec<Arc<Cell>>>,
    /// Why an input that came back is not read.
    pub(crate) trouble: Mutex<Option<String>>,
    waiters: AtomicUsize,
    waiting: Mutex<()>,
    settled: Condvar,
}

/// A version of a handler with its settings.
pub(crate) struct Settings {
    /// Counts versions, from 1.
    pub(crate) generation: u64,
    /// How it is run.
    pub(crate) config: HandlerConfig,
    /// Its code.
    pub(crate) handler: Arc<dyn Handler>,
    /// The inputs as they were at its installation: only there does a new group start as configured; a topic
    /// that comes later is read from its beginning.
    pub(crate) first_inputs: Vec<TopicId>,
}

const OPEN: u8 = 0;
const PAUSED: u8 = 1;
const CLOSED: u8 = 2;
const GONE: u8 = 3;

impl Installed {
    /// A handler that takes events at once, unless its note says otherwise.
    pub(crate) fn new(id: HandlerId, slot: Slot, (settings, note, trial): (Settings, Note, Trial)) -> Self {
        Self {
            id,
            name: settings.config.name.as_str().into(),
            slot,
            tally: Tally::default(),
            topics_created: AtomicUsize::new(0),
            generation: AtomicU64::new(settings.generation),
            gate: AtomicU8::new(if note.paused_since.is_some() { PAUSED } else { OPEN }),
            state_version: AtomicU32::new(note.state_version),
            settings: RwLock::new(Arc::new(settings)),
            trial,
            note: Mutex::new(note),
            cells: RwLock::default(),
            trouble: Mutex::new(None),
            waiters: AtomicUsize::new(0),
            waiting: Mutex::new(()),
            settled: Condvar::new(),
        }
    }

    /// The version in charge.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }

    /// The number of the version in charge.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Has another version take the next calls; those under way end on theirs. It is on trial if there is a `former`
    /// one to come back. To be called by who changes handlers.
    pub(crate) fn replace(&self, settings: Settings, former: Option<Arc<Settings>>) {
        let mut current = self.settings.write();
        let generation = settings.generation;
        assert!(generation > current.generation, "versions of {} are counted upwards", self.name);
        match former {
            Some(former) => self.trial.begin(generation, former),
            None => self.trial.end(),
        }
        *current = Arc::new(settings);
        self.generation.store(generation, Ordering::Release);
    }

    /// Whether a driver that has `settings` may begin something new.
    pub(crate) fn gate(&self, settings: &Settings) -> Gate {
        let open = self.gate.load(Ordering::SeqCst) == OPEN && self.fits(settings);
        if open && !self.trial.has_failed(settings.generation) { Gate::Open } else { Gate::Closed }
    }

    /// Whether its state is of the version that `settings` want.
    fn fits(&self, settings: &Settings) -> bool {
        note::fits(self.state_version.load(Ordering::SeqCst), settings.config.state_version)
    }

    /// The version in charge and how it stands in the partition of `cell`, both as they are at one moment: a version on
    /// trial is never taken for one that is alone because the next has come in between.
    pub(crate) fn standing(&self, cell: Option<&Cell>) -> (Arc<Settings>, Standing) {
        let settings = self.settings.read();
        let standing = match cell {
            Some(cell) if cell.has_proved(settings.generation) => Standing::Proved,
            _ if self.trial.is_of(settings.generation) => Standing::OnTrial,
            _ => Standing::Alone,
        };
        (Arc::clone(&settings), standing)
    }

    /// Whether `version` is noted to be in charge.
    pub(crate) fn is_noted(&self, version: &str) -> bool {
        self.note.lock().version == version
    }

    /// Whether the version that it has is known to work: it had a commit somewhere, or was noted to be in charge.
    pub(crate) fn has_proved(&self) -> bool {
        let settings = self.settings();
        self.is_noted(settings.handler.version())
            || self.cells.read().iter().any(|cell| cell.has_proved(settings.generation))
    }

    /// Partitions in which the newest version has had no commit yet.
    pub(crate) fn unproved(&self) -> usize {
        let generation = self.generation();
        self.cells.read().iter().filter(|cell| !cell.has_proved(generation)).count()
    }

    /// Why its state cannot be used by the version that it has, if so.
    pub(crate) fn unfit(&self) -> Option<String> {
        let settings = self.settings();
        let (has, wants) = (self.state_version.load(Ordering::SeqCst), settings.config.state_version);
        (!self.fits(&settings)).then(|| {
            format!("its state is of state-version {has}, and it wants {wants}: reset its group, or adopt the state")
        })
    }

    /// Since when an operator has it paused, in milliseconds since the Unix epoch.
    pub(crate) fn paused_since(&self) -> Option<i64> {
        let paused = self.gate.load(Ordering::SeqCst) == PAUSED;
        self.note.lock().paused_since.filter(|_| paused)
    }

    /// Lets its drivers begin nothing new.
    pub(crate) fn pause(&self) {
        self.swap_gate(OPEN, PAUSED);
    }

    /// Lets its drivers go on.
    pub(crate) fn resume(&self) {
        self.swap_gate(PAUSED, OPEN);
    }

    /// What the log remembers of it.
    pub(crate) fn note(&self) -> Note {
        self.note.lock().clone()
    }

    /// Has `log` remember `note` of it. Waits for the disk; to be called by who changes handlers.
    pub(crate) fn set_note(&self, log: &dyn Log, note: Note) -> Result<(), AdminError> {
        if self.note() != note {
            log.set_note(self.id, &note.encode())?;
            self.state_version.store(note.state_version, Ordering::SeqCst);
            *self.note.lock() = note;
        }
        Ok(())
    }

    /// It is on its way out.
    pub(crate) fn close(&self) {
        self.gate.store(CLOSED, Ordering::SeqCst);
    }

    /// It is out: its drivers get no further turn.
    pub(crate) fn leave(&self) {
        self.gate.store(GONE, Ordering::SeqCst);
    }

    /// Whether it is out.
    pub(crate) fn is_gone(&self) -> bool {
        self.gate.load(Ordering::SeqCst) == GONE
    }

    /// A closed gate stays closed.
    fn swap_gate(&self, from: u8, to: u8) {
        // Another state than `from` is the one that was asked for, or final.
        let _ = self.gate.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Whether it names `topic` as an input.
    pub(crate) fn reads(&self, topic: &str) -> bool {
        self.settings.read().config.inputs.iter().any(|input| input == topic)
    }

    /// Why the log takes nothing more of one of its drivers, if so.
    pub(crate) fn failed(&self) -> Option<String> {
        self.cells.read().iter().find_map(|cell| cell.view().lock().failed.clone())
    }

    /// Why one of its drivers could make no call when it was last tried, if so.
    pub(crate) fn troubled(&self) -> Option<String> {
        self.cells.read().iter().find_map(|cell| cell.view().lock().trouble.clone())
    }

    /// Waits until `done` holds for every driver; asked again whenever one comes to rest.
    pub(crate) fn wait_for(&self, done: impl Fn(&Cell) -> bool) {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let mut waiting = self.waiting.lock();
        while !self.cells.read().iter().all(|cell| done(cell)) {
            self.settled.wait(&mut waiting);
        }
        self.waiters.fetch_sub(1, Ordering::SeqCst);
    }

    /// A driver has come to rest.
    pub(crate) fn changed(&self) {
        if self.waiters.load(Ordering::SeqCst) > 0 {
            drop(self.waiting.lock());
            self.settled.notify_all();
        }
    }
}

impl Settings {
    /// Whether an event may be emitted to `topic`.
    pub(crate) fn declares(&self, topic: &str) -> bool {
        self.config.outputs.iter().any(|pattern| crate::graph::matches(pattern, topic))
    }

    /// Where events go whose topic is not named.
    pub(crate) fn first_output(&self) -> Option<&str> {
        self.config.outputs.first().map(String::as_str).filter(|name| !name.contains('*'))
    }
}
