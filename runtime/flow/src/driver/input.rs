//! Where a driver stands in each of its inputs, and what moves it there: the log's record, operators, topics that
//! come and go.

use tidemill_bus::log::Topic;
use tidemill_bus::transaction::Progress;
use tidemill_bus::{Offset, TopicId, TopicPartition};

use super::Driver;
use super::machine::Life;
use crate::config::{Retry, Then};
use crate::isolation::Isolation;

/// The driver's partition of one input topic.
pub(crate) struct Input {
    /// The topic.
    pub(crate) topic: Topic,
    /// The partition.
    pub(crate) source: TopicPartition,
    /// What is committed.
    pub(crate) committed: Progress,
    /// Where the driver is, with what is in flight.
    pub(super) at: Progress,
    /// The high watermark when it was last seen.
    pub(super) end: Offset,
    /// Whether there may be more to read.
    pub(super) more: bool,
    pub(super) isolation: Isolation,
    /// Why nothing is read of it until an operator resumes or seeks.
    pub(crate) stopped: Option<String>,
    /// Where an operator wants it, until that is committed.
    pub(super) sought: Option<Offset>,
    /// Whether `at` must be committed before anything is read.
    pub(super) announce: bool,
    /// Offsets that were gone before they were read.
    pub(crate) lost: u64,
}

/// Whether a group has been at an input before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It has, or begins at the oldest event, which needs no record.
    Known,
    /// It has not, and where it begins must be committed before anything else.
    New,
}

impl Driver {
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
