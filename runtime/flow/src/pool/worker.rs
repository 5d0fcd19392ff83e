//! The threads: each takes a driver and a permit, gives it a turn, and puts it back. One that ran a slow call gave way to
//! the others, which it could take back only with privileges: another thread takes its place. Knows no event.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tidemill_bus::{Batch, Partition, TopicId, TopicPartition};

use super::Core;
use super::core::{Used, Worth};
use super::permits::Permit;
use super::turn::turn;
use crate::handler::Pace;
use crate::limits;
use crate::outcome::{Scatter, Target};
use crate::scheduler::Slot;

/// How long to wait for a thread that the system does not have.
const NO_THREAD_PAUSE: Duration = Duration::from_millis(10);

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
            wasted: AtomicBool::new(false),
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

/// Starts `count` workers, and the thread that looks after them: it ends when they have.
///
/// # Panics
///
/// When the system has no thread left.
pub(crate) fn spawn(core: &Arc<Core>, count: usize) -> JoinHandle<()> {
    let (ended, successions) = mpsc::sync_channel(count);
    let start = |number| begin(core, Ended { number, back: ended.clone() });
    let workers: io::Result<Vec<_>> = (0..count).map(start).collect();
    let workers = workers.expect("the system has a thread for each worker");
    let core = Arc::clone(core);
    std::thread::Builder::new()
        .name("tidemill-workers".to_owned())
        .spawn(move || replace(&core, workers, &successions))
        .expect("the system has a thread for the workers' own")
}

/// A worker that is to be replaced. All have an end of the channel, which has room for all, and closes with the last one.
struct Ended {
    number: usize,
    back: mpsc::SyncSender<Ended>,
}

/// Puts another thread in the place of each that ended: from here, since a thread begins with the priority of
/// whoever starts it.
fn replace(core: &Arc<Core>, mut workers: Vec<JoinHandle<()>>, successions: &mpsc::Receiver<Ended>) {
    while let Ok(ended) = successions.recv() {
        let number = ended.number;
        let successor = loop {
            match begin(core, Ended { number, back: ended.back.clone() }) {
                Ok(successor) => break successor,
                // There is one again when something else on this system ends.
                Err(_) => std::thread::sleep(NO_THREAD_PAUSE),
            }
        };
        join(std::mem::replace(&mut workers[number], successor));
    }
    workers.into_iter().for_each(join);
}

fn join(worker: JoinHandle<()>) {
    worker.join().expect("a thread of the flow does not panic");
}

fn begin(core: &Arc<Core>, own: Ended) -> io::Result<JoinHandle<()>> {
    let core = Arc::clone(core);
    let name = format!("tidemill-worker-{}", own.number);
    std::thread::Builder::new().name(name).spawn(move || work(&core, own))
}

fn work(core: &Arc<Core>, own: Ended) {
    let mut worker = Worker::new(core);
    while let Some(job) = core.next() {
        worker.pace.begin(job.cell.slot());
        let rest = turn(&job.cell, &mut worker);
        let used = worker.pace.used();
        core.finish(job, rest, Some(used));
        if used.permit == Permit::Slow {
            let back = own.back.clone();
            // Whoever replaces the workers does so until the last of them has ended.
            return back.send(own).unwrap_or(());
        }
    }
}

/// The pace of a worker's calls.
pub(super) struct WorkerPace {
    core: Arc<Core>,
    slot: AtomicUsize,
    slow: AtomicBool,
    wasted: AtomicBool,
    waited_ns: AtomicU64,
}

impl WorkerPace {
    fn begin(&self, slot: Slot) {
        self.slot.store(slot.0, Ordering::Relaxed);
        self.slow.store(false, Ordering::Relaxed);
        self.wasted.store(false, Ordering::Relaxed);
        self.waited_ns.store(0, Ordering::Relaxed);
    }

    /// How long the turn has waited for a slow permit.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited_ns.load(Ordering::Relaxed))
    }

    /// The call in hand failed as a whole.
    pub(super) fn wasted(&self) {
        self.wasted.store(true, Ordering::Relaxed);
    }

    fn used(&self) -> Used {
        let permit = if self.slow.load(Ordering::Relaxed) { Permit::Slow } else { Permit::Quick };
        let worth = if self.wasted.load(Ordering::Relaxed) { Worth::Wasted } else { Worth::Fair };
        Used { permit, waited: self.waited(), worth }
    }
}

impl Pace for WorkerPace {
    fn slow(&self) {
        if !self.slow.swap(true, Ordering::Relaxed) {
            let waited = self.core.slow(Slot(self.slot.load(Ordering::Relaxed)));
            self.waited_ns.store(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            // Where it is refused, the thread goes on as one of many.
            let _ = rustix::process::nice(limits::SLOW_NICENESS);
        }
    }
}
