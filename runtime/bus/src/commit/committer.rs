//! One group at a time: check, place, write, sync, and then let it be seen and answer. Owns the journal.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::admin::{self, AdminDone, AdminOp};
use super::check::check;
use super::contain::contained;
use super::handed_in::HandedIn;
use super::metrics::micros;
use super::once::Known;
use super::queue::Waiting;
use super::room::Mark;
use crate::block::Compressed;
use crate::journal::{
    AppendError, Delta, FrameParts, Journal, PlacedBlock, ReleaseError, SegmentSummary, Settled,
};
use crate::log::{Abort, AdminError, Answer, Outcome, Receipt};
use crate::notice::Notice;
use crate::store::{Control, Shared, Sync};
use crate::tables::{Checkpoint, Deltas, OnceRow, ProducerRow, ProgressRow, TableId, is_expired, topic_rest};
use crate::transaction::{IdempotencyKey, ProducerSequence, Run};
use crate::{DriverKey, FrameNumber, Offset, TopicPartition, Transaction, crash};

/// The store took a failed write or sync, and nothing more after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store stopped after a failed write: {0}")]
pub(crate) struct Stopped(pub(crate) Arc<str>);

pub(crate) struct Committer {
    shared: Arc<Shared>,
    /// Gone when the store was closed.
    journal: Option<Journal>,
    stopped: Option<Stopped>,
    /// When the oldest frame that is not synced yet was written; with `Sync::Every` only.
    unsynced_since: Option<Instant>,
    group: Group,
    /// The segment that was the next one when the room on the disk was looked at.
    looked_at: u64,
}

/// The group that is being made; its memory is used again.
#[derive(Default)]
struct Group {
    /// What is still to be checked, and who is told of the one that is being checked.
    waiting: std::vec::IntoIter<Waiting>,
    checking: Option<Answer>,
    blocks: Vec<PlacedBlock>,
    /// Sections of deltas: owner, and the place in `bytes`.
    sections: Vec<(DriverKey, Range<usize>)>,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Idempotency keys of this group: the hash of the body, and the index of the entry.
    once: HashMap<String, ([u8; 32], usize)>,
    /// Producers that publish in this group, as they will be after it.
    producers: HashMap<String, ProducerRow>,
}

/// One transaction of the group: whom to tell what, if the group is written.
struct Entry {
    answer: Answer,
    since: Instant,
    driver: Option<DriverKey>,
    outcome: Outcome,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, journal: Journal) -> Self {
        shared.meter.journal_bytes.store(journal.bytes(), Ordering::Relaxed);
        let (stopped, unsynced_since, group) = (None, None, Group::default());
        Self { shared, journal: Some(journal), stopped, unsynced_since, group, looked_at: 0 }
    }

    /// The append time of now.
    pub(crate) fn now_ms(&self) -> i64 {
        self.shared.clock.now_ms(&self.shared.notices)
    }

    /// Commits a group and answers all of it.
    pub(crate) fn commit(&mut self, waiting: Vec<Waiting>) {
        self.group.waiting = waiting.into_iter();
        self.look_at_room();
        let now_ms = self.now_ms();
        while let Some(waiting) = self.group.waiting.next() {
            self.group.checking = Some(waiting.answer.clone());
            let entry = self.prepare(waiting, now_ms);
            self.group.entries.push(entry);
            self.group.checking = None;
        }
        if !(self.group.blocks.is_empty() && self.group.sections.is_empty()) {
            match self.write() {
                Ok(frame) => self.apply(frame),
                Err(abort) => self.abort_all(&abort),
            }
        }
        self.answer();
    }

    /// Segments that still fit on the disk.
    pub(crate) fn room(&self) -> std::io::Result<u64> {
        self.journal.as_ref().map_or(Ok(u64::MAX), Journal::room)
    }

    /// Looks at the room on the disk when a segment was begun, and every time when there is little.
    fn look_at_room(&mut self) {
        let Some(journal) = &self.journal else { return };
        let next = journal.next_segment();
        if next == self.looked_at && self.shared.room.mark() == Mark::Free {
            return;
        }
        self.looked_at = next;
        // A disk that cannot tell says so when it is written to.
        if let Ok(segments) = journal.room() {
            self.shared.look_at_room(segments);
        }
    }

    /// Checks a transaction and gives it its place in the group.
    fn prepare(&mut self, waiting: Waiting, now_ms: i64) -> Entry {
        let Waiting { handed_in: HandedIn { transaction, known, compressed }, answer, bytes, since } =
            waiting;
        let driver = transaction.driver;
        let outcome = match self.admit(&transaction, known.as_ref(), (bytes, now_ms)) {
            Ok(Some(repeated)) => Outcome::Committed(repeated),
            Ok(None) => Outcome::Committed(self.place(transaction, compressed, now_ms)),
            Err(abort) => {
                // What the driver built on this one must not be committed either. An epoch ends once.
                let groups = &self.shared.view.groups;
                if let Some(driver) = driver.filter(|&driver| groups.epoch(driver) == transaction.epoch) {
                    groups.aborted(driver);
                }
                Outcome::Aborted(abort)
            }
        };
        Entry { answer, since, driver, outcome }
    }

    /// Whether a transaction may be committed; a receipt if it was before.
    fn admit(
        &mut self,
        transaction: &Transaction,
        known: Option<&Known>,
        (bytes, now_ms): (usize, i64),
    ) -> Result<Option<Receipt>, Abort> {
        if let Some(Stopped(why)) = &self.stopped {
            return Err(Abort::Poisoned(Arc::clone(why)));
        }
        check(&self.shared.view, transaction, bytes)?;
        let mut repeated = match &transaction.once {
            Some(once) => self.remembered(once, known, now_ms)?,
            None => None,
        };
        if let (Some(publish), None) = (&transaction.producer, &repeated) {
            repeated = self.numbered(publish, known, now_ms)?;
        }
        if repeated.is_none() {
            self.shared.room.admit(transaction.driver)?;
        }
        Ok(repeated)
    }

    /// The receipt of a publish that its producer numbered so before.
    fn numbered(
        &mut self,
        publish: &ProducerSequence,
        known: Option<&Known>,
        now_ms: i64,
    ) -> Result<Option<Receipt>, Abort> {
        if let Some(row) = self.group.producers.get(&publish.producer) {
            return row.admit(publish);
        }
        let row = self.shared.view.producer(&publish.producer, known)?;
        let row = row.filter(|row| !row.is_expired(now_ms)).unwrap_or_default();
        let admitted = row.admit(publish)?;
        self.group.producers.insert(publish.producer.clone(), row);
        Ok(admitted)
    }

    /// The receipt of a publish that was committed before, or is in this group.
    fn remembered(
        &self,
        once: &IdempotencyKey,
        known: Option<&Known>,
        now_ms: i64,
    ) -> Result<Option<Receipt>, Abort> {
        let reused = || Abort::KeyReused(once.key.clone());
        if let Some(&(body, index)) = self.group.once.get(&once.key) {
            return match &self.group.entries[index].outcome {
                Outcome::Committed(first) if body == once.body => {
                    Ok(Some(Receipt { repeated: true, ..first.clone() }))
                }
                _ => Err(reused()),
            };
        }
        match self.shared.view.once(&once.key, known)? {
            Some(row) if is_expired(row.time_ms, now_ms) => Ok(None),
            Some(row) if row.body == once.body => Ok(Some(Receipt { runs: row.runs, repeated: true })),
            Some(_) => Err(reused()),
            None => Ok(None),
        }
    }

    /// Gives the blocks their offsets and writes the deltas.
    fn place(
        &mut self,
        transaction: Transaction,
        compressed: Vec<Option<Compressed>>,
        append_time: i64,
    ) -> Receipt {
        let Transaction { driver, blocks, progress, state, once, producer, .. } = transaction;
        let mut runs = Vec::new();
        let compressed = compressed.into_iter().chain(std::iter::repeat(None));
        for (block, compressed) in blocks.into_iter().zip(compressed) {
            if block.columns.is_empty() {
                continue;
            }
            let first = self.shared.view.tails.place(block.target, block.columns.len());
            if driver.is_none() {
                let count = u32::try_from(block.columns.len()).expect("a block is bounded far below 2^32");
                runs.push(Run { partition: block.target.partition, offset: first, count });
            }
            self.group.blocks.push(PlacedBlock { block, first, append_time, compressed });
        }
        join(&mut runs);
        if progress.is_none() && state.is_empty() && once.is_none() && producer.is_none() {
            return Receipt { runs, repeated: false };
        }
        let start = self.group.bytes.len();
        let bytes = &mut self.group.bytes;
        if let Some(update) = progress {
            let row = ProgressRow(update.progress).encode();
            Deltas::push(bytes, TableId::Progress, &topic_rest(update.topic), Some(&row));
        }
        Deltas::push_state(bytes, &state);
        if let Some(once) = once {
            let row = OnceRow { time_ms: append_time, body: once.body, runs: runs.clone() };
            Deltas::push(bytes, TableId::Once, once.key.as_bytes(), Some(&row.encode()));
            self.group.once.insert(once.key, (once.body, self.group.entries.len()));
        }
        if let Some(publish) = producer {
            let row = self.group.producers.entry(publish.producer.clone()).or_default();
            row.take(&publish, runs.clone(), append_time);
            Deltas::push(bytes, TableId::Producers, publish.producer.as_bytes(), Some(&row.encode()));
        }
        let end = self.group.bytes.len();
        self.group.sections.push((driver.unwrap_or(DriverKey::PUBLISHERS), start..end));
        Receipt { runs, repeated: false }
    }

    /// Writes the group as one frame, and syncs it if that is asked for.
    fn write(&mut self) -> Result<FrameNumber, Abort> {
        let Some(journal) = &mut self.journal else { return Err(Abort::Closing) };
        let deltas: Vec<Delta<'_>> = self
            .group
            .sections
            .iter()
            .map(|(owner, range)| Delta { owner: *owner, bytes: &self.group.bytes[range.clone()] })
            .collect();
        let parts = FrameParts { blocks: &self.group.blocks, deltas: &deltas };
        let frame = match journal.append(parts) {
            Ok(frame) => frame,
            Err(AppendError::Poisoned(what)) => return Err(self.stop(what)),
            Err(AppendError::TooLarge { bytes, limit }) => {
                let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
                return Err(Abort::TooLarge { bytes: size(bytes), limit: size(limit) });
            }
            Err(AppendError::Prepare(error)) => return Err(Abort::Full(error.to_string().into())),
        };
        let blocks: usize = self.group.blocks.iter().map(PlacedBlock::body_len).sum();
        self.shared.meter.frames.add(1);
        self.shared.meter.frame_bytes.add((blocks + self.group.bytes.len()) as u64);
        self.unsynced_since.get_or_insert_with(Instant::now);
        match (self.shared.options.sync, self.shared.options.control) {
            (_, Control::AnswerBeforeSync) | (Sync::Every(_), _) => Ok(frame),
            (Sync::Always, _) => self.sync().map(|()| frame).map_err(|Stopped(why)| Abort::Poisoned(why)),
        }
    }

    /// Waits until every frame is on the disk.
    pub(crate) fn sync(&mut self) -> Result<(), Stopped> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let start = Instant::now();
        if let Err(error) = journal.sync() {
            self.stop(error.0);
            return self.stopped.clone().map_or(Ok(()), Err);
        }
        self.shared.meter.syncs.add(1);
        self.shared.meter.sync_us.add(micros(start.elapsed()));
        self.unsynced_since = None;
        Ok(())
    }

    /// How long the next sync may still wait; `None` if nothing waits for it.
    pub(crate) fn sync_due_in(&self) -> Option<Duration> {
        let Sync::Every(interval) = self.shared.options.sync else { return None };
        self.unsynced_since.map(|since| interval.saturating_sub(since.elapsed()))
    }

    fn stop(&mut self, what: Arc<str>) -> Abort {
        // Nothing is ever synced again.
        self.unsynced_since = None;
        if self.stopped.is_none() {
            self.shared.notices.push(Notice::Poisoned(Arc::clone(&what)));
            self.stopped = Some(Stopped(Arc::clone(&what)));
        }
        Abort::Poisoned(what)
    }

    /// Takes nothing more after a panic of the committer itself, and says so to whoever waits for the group.
    pub(crate) fn panicked(&mut self, what: &str) {
        let abort = self.stop(format!("the committer panicked: {what}").into());
        self.abort_all(&abort);
        self.answer();
        let rest = std::mem::take(&mut self.group.waiting).map(|waiting| waiting.answer);
        for answer in self.group.checking.take().into_iter().chain(rest) {
            let tell = || answer.send(Outcome::Aborted(abort.clone()));
            contained(&self.shared.notices, "the receiver of an answer", tell);
        }
    }

    /// Lets the written group be seen: tables first, then what is readable, then whoever waits for it.
    fn apply(&mut self, frame: FrameNumber) {
        let view = &self.shared.view;
        for (owner, range) in &self.group.sections {
            view.apply(*owner, &self.group.bytes[range.clone()])
                .expect("deltas are what was encoded just now");
        }
        view.tables.set_applied(frame.0);
        let mut events = 0;
        for placed in &self.group.blocks {
            view.tails.publish(placed);
            events += placed.block.columns.len() as u64;
        }
        self.shared.meter.events.add(events);
        let mut moved: Vec<_> = self.group.blocks.iter().map(|placed| placed.block.target).collect();
        if !moved.is_empty() {
            moved.sort_unstable();
            moved.dedup();
            for watcher in &*self.shared.watchers.read() {
                contained(&self.shared.notices, "a watcher", || watcher.moved(&moved));
            }
        }
    }

    /// Takes back what was placed: nothing of the group was done.
    fn abort_all(&mut self, abort: &Abort) {
        for placed in &self.group.blocks {
            self.shared.view.tails.unplace(placed.block.target);
        }
        for entry in &mut self.group.entries {
            if matches!(entry.outcome, Outcome::Committed(_)) {
                if let Some(driver) = entry.driver {
                    self.shared.view.groups.aborted(driver);
                }
                entry.outcome = Outcome::Aborted(abort.clone());
            }
        }
    }

    fn answer(&mut self) {
        self.group.blocks.clear();
        self.group.sections.clear();
        self.group.bytes.clear();
        self.group.once.clear();
        self.group.producers.clear();
        let meter = &self.shared.meter;
        for Entry { answer, since, outcome, .. } in self.group.entries.drain(..) {
            match &outcome {
                Outcome::Committed(_) => meter.committed.add(1),
                Outcome::Aborted(_) => meter.aborted.add(1),
            }
            meter.latency(since.elapsed());
            contained(&self.shared.notices, "the receiver of an answer", || answer.send(outcome));
        }
    }

    /// Commits an operator's change, alone.
    pub(crate) fn change(&mut self, op: AdminOp) -> Result<AdminDone, AdminError> {
        if let Some(Stopped(why)) = &self.stopped {
            return Err(Abort::Poisoned(Arc::clone(why)).into());
        }
        let change = admin::decide(&self.shared.view, op, self.now_ms())?;
        for (owner, section) in &change.sections {
            let start = self.group.bytes.len();
            self.group.bytes.extend_from_slice(section);
            self.group.sections.push((*owner, start..self.group.bytes.len()));
        }
        let written = if change.sections.is_empty() { Ok(()) } else { self.write().map(|f| self.apply(f)) };
        self.answer();
        written?;
        // An epoch that begins now sees the change; one that began before can no longer commit.
        if let Some(handler) = change.fences {
            self.shared.view.groups.changed(handler);
        }
        Ok(change.done)
    }

    /// Closes the overlay at a frame that is synced, for a checkpoint; `None` if there is nothing to flush.
    pub(crate) fn seal(&mut self) -> Result<Option<Checkpoint>, Stopped> {
        if let Some(stopped) = &self.stopped {
            // What is applied may never have been synced.
            return Err(stopped.clone());
        }
        if self.unsynced_since.is_some() && self.shared.options.control != Control::AnswerBeforeSync {
            self.sync()?;
        }
        Ok(self.shared.view.seal(self.now_ms()))
    }

    /// Gives up segments as [`Journal::release`] does, none that is not in the tables. Everything is synced
    /// first: what lets a segment go (progress, a deletion, the next segment's beginning) must outlast it.
    pub(crate) fn release(
        &mut self,
        may_drop: &mut dyn FnMut(&SegmentSummary, u64) -> bool,
    ) -> Result<u64, ReleaseError> {
        if self.stopped.is_some() {
            return Ok(0);
        }
        if self.unsynced_since.is_some() && self.shared.options.control != Control::AnswerBeforeSync {
            self.sync().map_err(|Stopped(why)| ReleaseError::Stopped(why))?;
        }
        let (tables, tails) = (&self.shared.view.tables, &self.shared.view.tails);
        let until = match self.shared.options.control {
            Control::ReleaseAtApplied => tables.applied(),
            _ if crash::is_without("waiting-for-tables") => tables.applied(),
            _ => tables.persisted(),
        };
        let Some(journal) = &mut self.journal else { return Ok(0) };
        let mut left = journal.bytes();
        let released = journal.release(FrameNumber(until), &mut |segment| {
            let drops = may_drop(segment, left);
            if drops {
                left -= segment.bytes;
                segment.partitions.iter().for_each(|end| tails.release(end.source, end.end));
            }
            drops
        });
        self.shared.meter.journal_bytes.store(journal.bytes(), Ordering::Relaxed);
        self.looked_at = 0;
        self.look_at_room();
        released
    }

    /// Puts a settled copy in the place of its segment, after everything that lets its blocks go is synced. `ends` is
    /// where the partitions begin that went.
    pub(crate) fn put(
        &mut self,
        settled: Settled,
        ends: &[(TopicPartition, Offset)],
    ) -> Result<bool, Stopped> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        if self.unsynced_since.is_some() {
            self.sync()?;
        }
        let Some(journal) = &mut self.journal else { return Ok(false) };
        for (source, end) in ends {
            self.shared.view.tails.release(*source, *end);
        }
        let put = journal.put(settled);
        self.shared.meter.journal_bytes.store(journal.bytes(), Ordering::Relaxed);
        // Half done, nobody knows which of the two files an opening would find.
        put.map_err(|error| {
            self.stop(error.to_string().into());
            Stopped(error.to_string().into())
        })
    }

    /// Ends the journal cleanly. Nothing can be written any more.
    pub(crate) fn close(&mut self) -> Result<(), Stopped> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        match self.journal.take() {
            Some(journal) => journal.close().map_err(|error| Stopped(error.to_string().into())),
            None => Ok(()),
        }
    }
}

/// Sorts runs by partition and offset, and joins those that follow one another.
fn join(runs: &mut Vec<Run>) {
    runs.sort_unstable_by_key(|run| (run.partition, run.offset));
    runs.dedup_by(|next, run| {
        let follows = next.partition == run.partition && next.offset == run.offset.plus(run.count.into());
        if follows {
            run.count += next.count;
        }
        follows
    });
}
