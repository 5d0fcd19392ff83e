//! The threads: each takes a driver and a permit, gives it a turn, and puts it back. Knows no event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tidemill_bus::{Batch, Partition, TopicId, TopicPartition};

use super::Core;
use super::core::Used;
use super::permits::Permit;
use super::turn::turn;
use crate::handler::Pace;
use crate::outcome::{Scatter, Target};
use crate::scheduler::Slot;

/// What a worker keeps between turns, so that a batch costs no memory of its own.
pub(crate) struct Worker {
    /// The batch in hand.
    pub(super) batch: Batch,
    /// The tables by which events are scattered.
    pub(super) scatter: Scatter,
    /// Where the topics of the output in hand lead.
    pub(super) targets: Vec<Target>,
    /// The pace of the call in hand.
    pub(super) pace: Arc<WorkerPace>,
}

impl Worker {
    /// A worker of `core`.
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self::at(Arc::new(WorkerPace {
            core: Arc::clone(core),
            slot: AtomicUsize::new(0),
            slow: AtomicBool::new(false),
            waited_ns: AtomicU64::new(0),
        }))
    }

    fn at(pace: Arc<WorkerPace>) -> Self {
        let nowhere = TopicPartition { topic: TopicId(0), partition: Partition(0) };
        Self { batch: Batch::new(nowhere), scatter: Scatter::default(), targets: Vec::new(), pace }
    }

    /// Throws away what a panic may have left half done.
    pub(super) fn renew(&mut self) {
        *self = Self::at(Arc::clone(&self.pace));
    }
}

/// Starts `count` workers.
///
/// # Panics
///
/// When the system has no thread left.
pub(crate) fn spawn(core: &Arc<Core>, count: usize) -> Vec<JoinHandle<()>> {
    let start = |number| {
        let core = Arc::clone(core);
        std::thread::Builder::new()
            .name(format!("tidemill-worker-{number}"))
            .spawn(move || work(&core))
            .expect("the system has a thread for each worker")
    };
    (0..count).map(start).collect()
}

fn work(core: &Arc<Core>) {
    let mut worker = Worker::new(core);
    while let Some(job) = core.next() {
        worker.pace.begin(job.cell.slot());
        let rest = turn(&job.cell, &mut worker);
        let used = worker.pace.used();
        core.finish(job, rest, Some(used));
    }
}

/// The pace of a worker's calls.
pub(super) struct WorkerPace {
    core: Arc<Core>,
    slot: AtomicUsize,
    slow: AtomicBool,
    waited_ns: AtomicU64,
}

impl WorkerPace {
    fn begin(&self, slot: Slot) {
        self.slot.store(slot.0, Ordering::Relaxed);
        self.slow.store(false, Ordering::Relaxed);
        self.waited_ns.store(0, Ordering::Relaxed);
    }

    /// How long the turn has waited for a slow permit.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited_ns.load(Ordering::Relaxed))
    }

    fn used(&self) -> Used {
        let permit = if self.slow.load(Ordering::Relaxed) { Permit::Slow } else { Permit::Quick };
        Used { permit, waited: self.waited() }
    }
}

impl Pace for WorkerPace {
    fn slow(&self) {
        if !self.slow.swap(true, Ordering::Relaxed) {
            let waited = self.core.slow(Slot(self.slot.load(Ordering::Relaxed)));
            self.waited_ns.store(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}
