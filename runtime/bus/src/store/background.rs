//! The store's own work: the committer's loop, checkpoints with retention, compaction; each on a thread of
//! its own, or step by step for a test. Threads are started and joined here only.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use thiserror::Error;

use super::{Background, Checkpoints, Inner, Shared, Store};
use crate::commit::{Committer, Stopped, Work, contained, words_of};
use crate::crash;
use crate::log::{Abort, Outcome};
use crate::notice::Notice;
use crate::tables::TreeError;

/// How long the committer sleeps when nothing comes; it is woken by what comes.
const IDLE: Duration = Duration::from_secs(1);

/// Why a store did not close cleanly. What was committed is kept all the same.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CloseError {
    /// The last checkpoint failed: the next opening replays more.
    #[error(transparent)]
    Tables(#[from] TreeError),
    /// The journal failed, now or before.
    #[error("closing the journal failed: {0}")]
    Journal(Arc<str>),
}

impl From<Stopped> for CloseError {
    fn from(stopped: Stopped) -> Self {
        Self::Journal(stopped.0)
    }
}

/// Keeps committer, checkpoints and compaction in step.
#[derive(Default)]
pub(crate) struct Pace {
    is_stopping: AtomicBool,
    /// Bytes written when the last checkpoint was sealed that is now on disk.
    persisted_bytes: AtomicU64,
    lock: Mutex<()>,
    /// The checkpoint thread should look.
    wanted: Condvar,
    /// A checkpoint is done.
    done: Condvar,
    /// The compaction thread should look.
    flushed: Condvar,
}

/// How far the tables on disk are behind what is committed.
#[derive(Clone, Copy, Debug)]
struct Behind {
    overlay_bytes: usize,
    journal_bytes: u64,
}

impl Behind {
    /// Whether a checkpoint is due, however short the time since the last.
    fn wants_checkpoint(self, bounds: &Checkpoints) -> bool {
        self.overlay_bytes >= bounds.bytes || self.is_far(bounds)
    }

    /// Whether commits must wait for one.
    fn is_far(self, bounds: &Checkpoints) -> bool {
        self.overlay_bytes >= bounds.bytes_max || self.journal_bytes >= bounds.journal_bytes_max
    }
}

/// Starts the threads, if the options ask for them.
pub(super) fn start(
    shared: &Arc<Shared>,
    committer: &Arc<Mutex<Committer>>,
) -> io::Result<Vec<JoinHandle<()>>> {
    if shared.options.background == Background::Manual {
        return Ok(Vec::new());
    }
    let spawn = |name: &str, work: fn(&Shared, &Mutex<Committer>)| {
        let (shared, committer) = (Arc::clone(shared), Arc::clone(committer));
        Builder::new().name(name.to_owned()).spawn(move || work(&shared, &committer))
    };
    Ok(vec![
        spawn("tidemill-commit", commit_loop)?,
        spawn("tidemill-check", checkpoint_loop)?,
        spawn("tidemill-compact", compact_loop)?,
    ])
}

fn commit_loop(shared: &Shared, committer: &Mutex<Committer>) {
    let work = || {
        while step(shared, committer, IDLE) {
            shared.wait_for_checkpoint();
        }
    };
    // Whoever waits must be told, so the thread goes on, with a store that takes nothing more.
    while let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        committer.lock().panicked(&words_of(&*panic));
    }
}

/// Does what is next; false when nothing will come any more.
fn step(shared: &Shared, committer: &Mutex<Committer>, idle: Duration) -> bool {
    let timeout = committer.lock().sync_due_in().map_or(idle, |due| due.min(idle));
    let mut refused = Vec::new();
    let work = shared.queue.take(timeout, &mut refused);
    for answer in refused {
        let refuse = || answer.send(Outcome::Aborted(Abort::Busy));
        contained(&shared.notices, "the receiver of an answer", refuse);
    }
    let mut committer = committer.lock();
    let goes_on = match work {
        Work::Admin(op, reply) => {
            // Nobody may be waiting any more.
            let _ = reply.send(committer.change(op));
            true
        }
        Work::Group(waiting) => {
            committer.commit(waiting);
            true
        }
        Work::Idle => true,
        Work::Closed => false,
    };
    if committer.sync_due_in().is_some_and(|due| due.is_zero()) {
        // A failure is remembered by the committer and said by a notice.
        let _ = committer.sync();
    }
    MutexGuard::unlock_fair(committer);
    goes_on
}

fn checkpoint_loop(shared: &Shared, committer: &Mutex<Committer>) {
    let mut settled = Instant::now();
    while !shared.pace.is_stopping.load(Ordering::Acquire) {
        {
            let mut lock = shared.pace.lock.lock();
            if !shared.pace.is_stopping.load(Ordering::Acquire)
                && !shared.behind().wants_checkpoint(&shared.options.checkpoints)
            {
                shared.pace.wanted.wait_for(&mut lock, shared.options.checkpoints.interval);
            }
        }
        if let Err(error) = shared.checkpoint(committer) {
            // That the journal stopped was said when it did.
            if let CloseError::Tables(error) = &error {
                shared.failed("a checkpoint", &error.to_string());
            }
            // The same error at once helps nobody.
            let mut lock = shared.pace.lock.lock();
            if !shared.pace.is_stopping.load(Ordering::Acquire) {
                shared.pace.wanted.wait_for(&mut lock, shared.options.checkpoints.interval);
            }
        }
        if let Err(error) = shared.retain(committer) {
            shared.failed("releasing segments", &error.to_string());
        }
        if settled.elapsed() >= shared.options.checkpoints.settle_interval && !shared.holds_all() {
            let looked = shared.settle(committer).inspect_err(|error| {
                shared.failed("settling segments", &error.to_string());
            });
            // Checkpoints come first.
            if !looked.is_ok_and(|looked| looked.has_more) {
                settled = Instant::now();
            }
        }
    }
}

fn compact_loop(shared: &Shared, _: &Mutex<Committer>) {
    while !shared.pace.is_stopping.load(Ordering::Acquire) {
        if let Err(error) = shared.view.tables.compact() {
            shared.failed("a compaction", &error.to_string());
        }
        let mut lock = shared.pace.lock.lock();
        if !shared.pace.is_stopping.load(Ordering::Acquire) {
            shared.pace.flushed.wait_for(&mut lock, shared.options.checkpoints.interval);
        }
    }
}

impl Shared {
    fn failed(&self, work: &'static str, what: &str) {
        self.notices.push(Notice::Failed { work, what: what.into() });
    }

    fn behind(&self) -> Behind {
        let written = self.meter.frame_bytes.get();
        Behind {
            overlay_bytes: self.view.tables.overlay_bytes(),
            journal_bytes: written - self.pace.persisted_bytes.load(Ordering::Acquire).min(written),
        }
    }

    /// Asks for a checkpoint if one is due, and waits for it if the tables are far behind.
    fn wait_for_checkpoint(&self) {
        let bounds = &self.options.checkpoints;
        if !self.behind().wants_checkpoint(bounds) {
            return;
        }
        let mut lock = self.pace.lock.lock();
        self.pace.wanted.notify_one();
        while self.behind().is_far(bounds) && !self.pace.is_stopping.load(Ordering::Acquire) {
            self.pace.done.wait_for(&mut lock, bounds.interval);
        }
    }

    /// Brings the tables on disk up to what is committed.
    fn checkpoint(&self, committer: &Mutex<Committer>) -> Result<(), CloseError> {
        let mut locked = committer.lock();
        let bytes = self.meter.frame_bytes.get();
        let checkpoint = locked.seal()?;
        drop(locked);
        let Some(checkpoint) = checkpoint else { return Ok(()) };
        crash::point("checkpoint");
        self.view.tables.flush(&checkpoint.sealed, checkpoint.living)?;
        self.meter.checkpoints.add(1);
        self.pace.persisted_bytes.store(bytes, Ordering::Release);
        let _lock = self.pace.lock.lock();
        self.pace.done.notify_all();
        self.pace.flushed.notify_all();
        Ok(())
    }
}

impl Store {
    /// Commits what waits, on the calling thread; for [`Background::Manual`].
    pub fn run(&self) {
        while self.inner.shared.queue.has_work() {
            step(&self.inner.shared, &self.inner.committer, Duration::ZERO);
        }
    }

    /// Brings the tables on disk up to what is committed. Waits for the disk.
    pub fn checkpoint(&self) -> Result<(), CloseError> {
        self.inner.shared.checkpoint(&self.inner.committer)
    }

    /// Syncs what is written, when `sync` is a duration. Waits for the disk.
    pub fn sync(&self) -> Result<(), CloseError> {
        Ok(self.inner.committer.lock().sync()?)
    }

    /// Ends the store cleanly: commits what waits, refuses what comes, brings the tables up to date and ends
    /// the journal with a closing frame. Waits for the disk. Reading goes on.
    pub fn close(&self) -> Result<(), CloseError> {
        self.inner.stop();
        self.checkpoint()?;
        Ok(self.inner.committer.lock().close()?)
    }
}

impl Inner {
    /// Commits what waits and ends the threads.
    fn stop(&self) {
        self.shared.queue.close();
        {
            let _lock = self.shared.pace.lock.lock();
            self.shared.pace.is_stopping.store(true, Ordering::Release);
            self.shared.pace.wanted.notify_all();
            self.shared.pace.done.notify_all();
            self.shared.pace.flushed.notify_all();
        }
        for thread in self.threads.lock().drain(..) {
            if thread.thread().id() == std::thread::current().id() {
                // The last clone was dropped by an answer, on the committer's own thread: it ends by itself.
                return;
            }
            // A panic there was reported there.
            drop(thread.join());
        }
        // Without threads it is done here.
        while step(&self.shared, &self.committer, Duration::ZERO) {}
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}
