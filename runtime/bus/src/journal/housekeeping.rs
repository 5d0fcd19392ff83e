//! What happens to segment files beside the writing: zeros ahead of need, footers, and a second life.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Housekeeping;
use super::format::SegmentNumbers;
use super::sealed::Sealed;
use super::segment::{Segment, Shared};
use crate::disk::DiskFile;
use crate::limits::HOUSEKEEPING_JOBS_MAX;

/// How often a released segment with a reader in it is looked at again, and the thread that is waited for.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A segment file that is ready to be written: complete, synced, and in its place.
pub(super) struct Prepared {
    pub(super) number: u64,
    pub(super) byte_len: u64,
    pub(super) file: Arc<dyn DiskFile>,
}

enum Job {
    /// Make the file of segment `number`, with at least `byte_len` bytes.
    Prepare { number: u64, byte_len: u64 },
    /// Go on making it: the writer has come further.
    GoOn,
    /// Write the footer of a segment whose frames are synced.
    Seal(Arc<Segment>),
    /// Free the file of a segment that is no longer in use.
    Retire(Arc<Segment>),
}

/// The next segment, on its way.
#[derive(Default)]
enum Next {
    #[default]
    None,
    Asked,
    Ready(Prepared),
    Failed(io::Error),
}

/// Where the worker leaves what the writer waits for.
#[derive(Default)]
struct Desk {
    state: Mutex<DeskState>,
    changed: Condvar,
    filling: Filling,
}

/// How the zeros of the next segment keep pace with the frames in the current one. Written at once they took the whole
/// disk for a tenth of a second, and every sync of that time waited for them.
#[derive(Default)]
struct Filling {
    /// How much of the current segment is written, in parts of [`WHOLE`]; as much or more: the next one is wanted now.
    progress: AtomicU64,
    /// The progress that the worker waits for; 0 if it waits for none.
    awaited: AtomicU64,
    /// Bytes of the next segment that are zero so far.
    zeros: AtomicU64,
}

/// All of a segment, as progress counts it.
const WHOLE: u64 = 1 << 16;

/// Progress counts so many times: the next segment is ready long before the current one is full.
const AHEAD: u64 = 2;

/// Bytes of zeros that are written in one go at least.
const FILL_BYTES: u64 = 256 << 10;

impl Filling {
    /// Up to which byte of `byte_len` the zeros may go.
    fn goal(&self, byte_len: u64) -> u64 {
        let progress = self.progress.load(Ordering::SeqCst).saturating_mul(AHEAD).min(WHOLE);
        u64::try_from(u128::from(byte_len) * u128::from(progress) / u128::from(WHOLE)).unwrap_or(byte_len)
    }

    /// The progress at which byte `goal` of `byte_len` may be reached.
    fn needed(goal: u64, byte_len: u64) -> u64 {
        let parts = u128::from(goal) * u128::from(WHOLE) / (u128::from(byte_len.max(1)) * u128::from(AHEAD));
        u64::try_from(parts).unwrap_or(WHOLE) + 1
    }

    /// The writer has come to `progress`; true if the worker waits for that.
    fn advance(&self, progress: u64) -> bool {
        self.progress.store(progress, Ordering::SeqCst);
        let awaited = self.awaited.load(Ordering::SeqCst);
        awaited > 0 && progress >= awaited
    }
}

#[derive(Default)]
struct DeskState {
    next: Next,
    fault: Option<Arc<str>>,
}

/// The writer's side.
pub(super) struct Housekeeper {
    desk: Arc<Desk>,
    means: Means,
}

enum Means {
    Inline(Box<Worker>),
    Thread { jobs: Option<SyncSender<Job>>, thread: Option<JoinHandle<()>> },
}

impl Housekeeper {
    /// Starts it; `ready` is a segment that was found prepared.
    pub(super) fn start(shared: Arc<Shared>, way: Housekeeping, ready: Option<Prepared>) -> io::Result<Self> {
        let next = ready.map_or(Next::None, Next::Ready);
        let desk = Desk { state: Mutex::new(DeskState { next, fault: None }), ..Desk::default() };
        let desk = Arc::new(desk);
        let mut worker = Worker { shared, desk: Arc::clone(&desk), retired: VecDeque::new(), jobs: None };
        let means = match way {
            Housekeeping::Inline => Means::Inline(Box::new(worker)),
            Housekeeping::Thread => {
                let (jobs, received) = sync_channel(HOUSEKEEPING_JOBS_MAX);
                worker.jobs = Some(received);
                let name = "journal-segments".to_owned();
                let thread = std::thread::Builder::new().name(name).spawn(move || worker.run())?;
                Means::Thread { jobs: Some(jobs), thread: Some(thread) }
            }
        };
        Ok(Self { desk, means })
    }

    /// Asks for segment `number` ahead of need, if there is someone to do it meanwhile.
    pub(super) fn expect(&mut self, number: u64, byte_len: u64) {
        if matches!(self.means, Means::Thread { .. }) && matches!(self.desk.state.lock().next, Next::None) {
            self.ask(number, byte_len);
        }
    }

    /// Waits for segment `number` with at least `needed` bytes; a new one gets `byte_len` or what is needed.
    pub(super) fn take(&mut self, number: u64, needed: u64, byte_len: u64) -> io::Result<Prepared> {
        if matches!(self.desk.state.lock().next, Next::Failed(_)) {
            self.desk.state.lock().next = Next::None;
        }
        loop {
            let mut state = self.desk.state.lock();
            match std::mem::take(&mut state.next) {
                Next::Ready(prepared) if prepared.number == number && prepared.byte_len >= needed => {
                    return Ok(prepared);
                }
                Next::Failed(error) => return Err(error),
                Next::Asked if self.is_gone() => {
                    return Err(io::Error::other("the thread that prepares segments has ended"));
                }
                Next::Asked => {
                    state.next = Next::Asked;
                    self.advance(WHOLE);
                    self.desk.changed.wait_for(&mut state, LOOK_AGAIN_AFTER);
                }
                Next::None | Next::Ready(_) => {
                    drop(state);
                    self.ask(number, byte_len.max(needed));
                }
            }
        }
    }

    /// The current segment of `byte_len` bytes is written up to `end`.
    pub(super) fn written(&mut self, end: u64, byte_len: u64) {
        let parts = u128::from(end) * u128::from(WHOLE) / u128::from(byte_len.max(1));
        self.advance(u64::try_from(parts).unwrap_or(WHOLE));
    }

    fn advance(&self, progress: u64) {
        if self.desk.filling.advance(progress)
            && let Means::Thread { jobs: Some(jobs), .. } = &self.means
        {
            // With so many jobs waiting it looks at the progress anyway.
            let _ = jobs.try_send(Job::GoOn);
        }
    }

    /// Whether the next segment is ready.
    pub(super) fn has_ready(&self) -> bool {
        matches!(self.desk.state.lock().next, Next::Ready(_))
    }

    /// Bytes that the disk has given already to the next segment, which is not ready yet.
    pub(super) fn filled_bytes(&self) -> u64 {
        self.desk.filling.zeros.load(Ordering::SeqCst)
    }

    /// Seals a segment whose frames are synced.
    pub(super) fn seal(&mut self, segment: Arc<Segment>) {
        self.send(Job::Seal(segment));
    }

    /// Frees the file of a segment that was taken out of use; segments come oldest first.
    pub(super) fn retire(&mut self, segment: Arc<Segment>) {
        self.send(Job::Retire(segment));
    }

    /// What went wrong with a footer or a released file; nothing more is freed after that.
    pub(super) fn fault(&self) -> Option<Arc<str>> {
        self.desk.state.lock().fault.clone()
    }

    /// Whether a panic has ended the thread, so that nothing more is to be waited for.
    fn is_gone(&self) -> bool {
        match &self.means {
            Means::Inline(_) => false,
            Means::Thread { thread, .. } => thread.as_ref().is_none_or(JoinHandle::is_finished),
        }
    }

    fn ask(&mut self, number: u64, byte_len: u64) {
        self.desk.state.lock().next = Next::Asked;
        self.send(Job::Prepare { number, byte_len });
    }

    fn send(&mut self, job: Job) {
        match &mut self.means {
            Means::Inline(worker) => worker.work(job),
            Means::Thread { jobs, .. } => {
                if !matches!(jobs.as_ref().map(|jobs| jobs.send(job)), Some(Ok(()))) {
                    let gone = || "the thread that prepares segments has ended".into();
                    self.desk.state.lock().fault.get_or_insert_with(gone);
                }
            }
        }
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        if let Means::Thread { jobs, thread } = &mut self.means {
            drop(jobs.take());
            if let Some(thread) = thread.take() {
                // A panic of the thread was reported by its own hook.
                let _ = thread.join();
            }
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    /// Segments out of use whose files are still there, oldest first. They have lost their names, so it does not matter
    /// when they go.
    retired: VecDeque<Arc<Segment>>,
    /// What comes from the writer's thread; without it the writer does the work itself.
    jobs: Option<Receiver<Job>>,
}

impl Worker {
    fn run(mut self) {
        while let Ok(job) = self.next() {
            self.work(job);
        }
    }

    /// Waits for a job; an error if the writer is gone.
    fn next(&mut self) -> Result<Job, RecvError> {
        loop {
            let jobs = self.jobs.as_ref().ok_or(RecvError)?;
            if self.retired.len() <= 1 {
                return jobs.recv();
            }
            match jobs.recv_timeout(LOOK_AGAIN_AFTER) {
                Ok(job) => return Ok(job),
                Err(RecvTimeoutError::Timeout) => {
                    let freed = self.free();
                    self.note(freed);
                }
                Err(RecvTimeoutError::Disconnected) => return Err(RecvError),
            }
        }
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Prepare { number, byte_len } => {
                let next = match self.prepare(number, byte_len) {
                    Ok(prepared) => Next::Ready(prepared),
                    Err(error) => Next::Failed(error),
                };
                self.desk.filling.zeros.store(0, Ordering::SeqCst);
                self.desk.state.lock().next = next;
                self.desk.changed.notify_all();
            }
            Job::GoOn => {}
            Job::Seal(segment) => {
                let sealed = self.seal(&segment);
                self.note(sealed);
            }
            Job::Retire(segment) => {
                self.retired.push_back(segment);
                let freed = self.free();
                self.note(freed);
            }
        }
    }

    /// Waits until more than `filled` bytes of a file of `byte_len` may be zero, and does meanwhile what else there is
    /// to do; returns how many may.
    fn pace(&mut self, filled: u64, byte_len: u64) -> io::Result<u64> {
        let filling = &Arc::clone(&self.desk).filling;
        filling.zeros.store(filled, Ordering::SeqCst);
        if self.jobs.is_none() {
            return Ok(byte_len);
        }
        let next = (filled + FILL_BYTES).min(byte_len);
        filling.awaited.store(Filling::needed(next, byte_len), Ordering::SeqCst);
        while filling.goal(byte_len) < next {
            let gone = |_| io::Error::new(io::ErrorKind::Interrupted, "the journal is being closed");
            let job = self.next().map_err(gone)?;
            self.work(job);
        }
        filling.awaited.store(0, Ordering::SeqCst);
        Ok(filling.goal(byte_len))
    }

    fn note(&self, result: io::Result<()>) {
        if let Err(error) = result {
            self.desk.state.lock().fault.get_or_insert_with(|| error.to_string().into());
        }
    }

    /// Puts a file in place: a released one, or zeros. It has its name only when it is complete and synced.
    fn prepare(&mut self, number: u64, byte_len: u64) -> io::Result<Prepared> {
        let disk = &self.shared.disk;
        let name = SegmentNumbers::one(number).name();
        let (file, byte_len) = if let Some(released) = self.reusable(byte_len) {
            let file = disk.open(&released.numbers.released_name())?;
            disk.rename(&released.numbers.released_name(), &name)?;
            self.retired.pop_front();
            (file, released.byte_len)
        } else {
            (self.create(number, byte_len)?, byte_len)
        };
        self.shared.disk.sync_directory()?;
        Ok(Prepared { number, byte_len, file })
    }

    fn create(&mut self, number: u64, byte_len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let disk = Arc::clone(&self.shared.disk);
        let numbers = SegmentNumbers::one(number);
        let new_name = numbers.new_name();
        let file = disk.create_paced(&new_name, byte_len, &mut |filled| self.pace(filled, byte_len));
        let created = file.and_then(|file| {
            file.sync_data()?;
            disk.rename(&new_name, &numbers.name())?;
            Ok(file)
        });
        if created.is_err() {
            // A full disk must get back what was taken. If that fails too, the next opening does it.
            let _ = disk.remove(&new_name);
        }
        created
    }

    /// The oldest released segment, if nobody reads it and its size is right (one made for an outsized
    /// frame is not kept).
    fn reusable(&self, byte_len: u64) -> Option<Arc<Segment>> {
        let oldest = self.retired.front()?;
        let fits = (byte_len..=byte_len.saturating_mul(2)).contains(&oldest.byte_len);
        (fits && Arc::strong_count(oldest) == 1).then(|| Arc::clone(oldest))
    }

    fn seal(&self, segment: &Segment) -> io::Result<()> {
        let sealed = {
            let open = segment.open.read();
            let Some(open) = &*open else { return Ok(()) };
            let trailer = open.last.trailer(self.shared.store, segment.numbers.first);
            Sealed::write(Arc::clone(&open.file), segment.byte_len, trailer, open.index.sorted())?
        };
        self.shared.keep(segment, Arc::new(sealed));
        *segment.open.write() = None;
        Ok(())
    }

    /// Removes released files that nobody reads, but for the last one, which the next segment can be.
    fn free(&mut self) -> io::Result<()> {
        while self.retired.len() > 1
            && self.retired.front().is_some_and(|oldest| Arc::strong_count(oldest) == 1)
        {
            let Some(oldest) = self.retired.pop_front() else { break };
            self.shared.disk.remove(&oldest.numbers.released_name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_waited_for_is_the_first_progress_that_is_enough(
            byte_len in 1..=(4_u64 << 30),
            part in 0.0..=1.0_f64,
        ) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let next = ((byte_len as f64 * part) as u64).clamp(1, byte_len);
            let (filling, needed) = (Filling::default(), Filling::needed(next, byte_len));
            filling.awaited.store(needed, Ordering::SeqCst);
            prop_assert!(filling.advance(needed) && filling.goal(byte_len) >= next);
            // One part less may be enough by rounding, two are not.
            prop_assert!(needed < 3 || (!filling.advance(needed - 2) && filling.goal(byte_len) < next));
            prop_assert!(filling.advance(WHOLE) && filling.goal(byte_len) == byte_len);
        }
    }
}
