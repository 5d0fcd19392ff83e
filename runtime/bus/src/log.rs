//! The border to a cluster: what the flow may ask of a log, whatever keeps it.
//!
//! The embedded store is one implementation, a fake in the flow's tests another, Apache Kafka will be a
//! third. Nobody may assume offsets without gaps, that the next position is offset plus count, an order
//! between partitions, or that a commit is cheap.

use std::sync::Arc;

use thiserror::Error;

use crate::transaction::{Progress, Run};
use crate::{Batch, DriverKey, HandlerId, Offset, Partition, TopicId, TopicPartition, Transaction};

/// Where topics are read and transactions are committed.
pub trait Log: Send + Sync + 'static {
    /// The topic of that name, if it lives.
    fn topic(&self, name: &str) -> Option<Topic>;

    /// The living topic of that id, if it lives.
    fn topic_by_id(&self, id: TopicId) -> Option<Topic>;

    /// All living topics, by name.
    fn topics(&self) -> Vec<Topic>;

    /// Creates a topic, or returns the one that lives under that name. Waits for the disk.
    fn create_topic(&self, name: &str, partitions: Option<u32>) -> Result<Topic, AdminError>;

    /// The id of a handler's name, given to it now if it has none yet. Waits for the disk.
    fn handler_id(&self, name: &str) -> Result<HandlerId, AdminError>;

    /// What was last noted of a handler with [`Log::set_note`]; `None` if nothing was, or if its group was reset
    /// or deleted since.
    fn note(&self, handler: HandlerId) -> Result<Option<Vec<u8>>, AdminError>;

    /// Remembers `note` of a handler in place of what was noted before: a few bytes that are the flow's alone, and
    /// that go with the handler's group. Waits for the disk.
    fn set_note(&self, handler: HandlerId, note: &[u8]) -> Result<(), AdminError>;

    /// Appends to `batch` (which the caller has reset to `source`) what is readable from `from` on, up to
    /// `limit`; never past the high watermark. At least one event is returned if one is readable.
    fn read(
        &self,
        source: TopicPartition,
        from: Offset,
        limit: ReadLimit,
        batch: &mut Batch,
    ) -> Result<ReadEnd, ReadError>;

    /// The readable range of a partition: the oldest position that is kept and the high watermark.
    fn range(&self, source: TopicPartition) -> Result<PartitionRange, ReadError>;

    /// The first position whose append time is at or after `time_ms`; the high watermark if there is none.
    fn position_at(&self, source: TopicPartition, time_ms: i64) -> Result<Offset, ReadError>;

    /// The committed progress of a driver on a topic, if it has any.
    fn progress(&self, driver: DriverKey, topic: TopicId) -> Result<Option<Progress>, StateError>;

    /// The epoch of a driver: a number that moves on when one of its transactions is aborted, and when an
    /// operator changes its group. A transaction carries the epoch under which its driver read; if it has
    /// moved on since, the transaction is aborted as [`Abort::Fenced`].
    ///
    /// So an abort takes with it all that was in flight behind it. The rule for a driver: on an abort, drop
    /// all layers from the aborted transaction on, ask for the epoch, *then* read progress and state again,
    /// and go on from there; answers of the epoch before may still come, all of them aborts. Epochs begin at
    /// 0 with each opening of the log.
    fn epoch(&self, driver: DriverKey) -> u64;

    /// The committed values of a driver's state: appends one entry per key to `values`.
    fn state_get(
        &self,
        driver: DriverKey,
        keys: &mut dyn Iterator<Item = &[u8]>,
        values: &mut Vec<Option<Vec<u8>>>,
    ) -> Result<(), StateError>;

    /// Committed entries of a driver's state in key order: those that begin with `prefix` and lie after
    /// `after`, at most `limit` of them.
    fn state_scan(
        &self,
        driver: DriverKey,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StateError>;

    /// Hands a transaction in. Never waits for a commit: the answer comes later, on another thread, exactly once;
    /// only a closed log answers on the calling thread. Looks an idempotency key up first, which may read the disk.
    fn submit(&self, transaction: Transaction, answer: Answer);

    /// Calls `watcher` after each commit with the partitions whose high watermark moved.
    fn watch(&self, watcher: Arc<dyn Watcher>);

    /// The append time that an event would get now, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A living topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// Number of partitions.
    pub partitions: u32,
}

impl Topic {
    /// A partition of it.
    pub fn partition(&self, partition: Partition) -> TopicPartition {
        TopicPartition { topic: self.id, partition }
    }
}

/// How much a read may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Events at most.
    pub events: usize,
    /// Bytes of columns at most, but for the first event.
    pub bytes: usize,
}

/// Where a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadEnd {
    /// The position to read from next.
    pub next: Offset,
    /// The high watermark.
    pub end: Offset,
}

/// What can be read of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRange {
    /// The oldest position kept.
    pub start: Offset,
    /// The high watermark: the position after the last committed event.
    pub end: Offset,
}

/// Called when partitions have more to read. Must return at once. A panic ends the call and is said by a notice.
pub trait Watcher: Send + Sync {
    /// The high watermarks of `moved` have moved.
    fn moved(&self, moved: &[TopicPartition]);
}

/// Where the answer to a transaction goes: the receiver and what it knows the transaction by.
#[derive(Clone)]
pub struct Answer {
    /// Who is told.
    pub to: Arc<dyn Answered>,
    /// The receiver's own number for the transaction.
    pub token: u64,
}

impl Answer {
    /// Tells the receiver.
    pub fn send(&self, outcome: Outcome) {
        self.to.answered(self.token, outcome);
    }
}

/// Told how transactions ended. Must return at once: it is called by the committer. A panic ends the call and is
/// said by a notice; the outcome is not told again.
pub trait Answered: Send + Sync {
    /// The transaction known as `token` has ended so.
    fn answered(&self, token: u64, outcome: Outcome);
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed.
    Committed(Receipt),
    /// Nothing of it was done; a driver drops what it built on it, and rewinds.
    Aborted(Abort),
}

/// What a committed transaction appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// One entry per run of consecutive offsets, by partition and offset; filled for publishers only.
    pub runs: Vec<Run>,
    /// The commit had been made before: these are its runs, remembered under its idempotency key.
    pub repeated: bool,
}

/// Why a transaction was not committed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Abort {
    /// It reads from or appends to a topic that was deleted.
    #[error("topic {0} was deleted")]
    TopicGone(TopicId),
    /// The driver's epoch is over: an earlier transaction of it was aborted, or its handler's group was
    /// sought, reset or deleted since the driver read.
    #[error("the epoch of {0} is over: an earlier transaction was aborted, or an operator changed its group")]
    Fenced(DriverKey),
    /// The same idempotency key was used with another body.
    #[error("the idempotency key {0:?} was used before with another body")]
    KeyReused(String),
    /// The publish is not the next one of its producer, and none of the last.
    #[error("producer {producer:?}: {fault}")]
    Producer {
        /// The producer.
        producer: Arc<str>,
        /// What is wrong.
        fault: ProducerFault,
    },
    /// More in flight than the store takes; try again after what is there is done.
    #[error("the store is busy")]
    Busy,
    /// Above a limit of the store.
    #[error("the transaction has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// There is no room on the disk for the next segment. Nothing was written; try again when there is.
    #[error("the disk is full: {0}")]
    Full(Arc<str>),
    /// The tables could not be read to decide it.
    #[error("reading the tables failed: {0}")]
    Tables(Arc<str>),
    /// The store is closing.
    #[error("the store is closing")]
    Closing,
    /// The disk failed: the store takes nothing more until it is opened again.
    #[error("the store stopped after a failed write: {0}")]
    Poisoned(Arc<str>),
}

/// Why a numbered publish is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProducerFault {
    /// Another life of the producer has begun.
    #[error("epoch {epoch} is over, epoch {newest} has begun")]
    Fenced {
        /// The epoch of the publish.
        epoch: u32,
        /// The producer's newest.
        newest: u32,
    },
    /// Publishes before it are missing.
    #[error("sequence {sequence} comes before {expected} has")]
    Gap {
        /// The number of the publish.
        sequence: u64,
        /// The number that is next.
        expected: u64,
    },
    /// It was committed so long ago that its offsets are not remembered.
    #[error("sequence {sequence} was committed, and its offsets are forgotten")]
    Forgotten {
        /// The number of the publish.
        sequence: u64,
    },
}

/// Why a partition could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// No such topic or partition lives.
    #[error("{0} does not exist")]
    Unknown(TopicPartition),
    /// The position lies before the oldest event kept: retention was faster.
    #[error("{source_partition} is kept from offset {start} on, offset {asked} is gone")]
    Gone {
        /// The partition.
        source_partition: TopicPartition,
        /// The position asked for.
        asked: Offset,
        /// The oldest position kept.
        start: Offset,
    },
    /// A block is broken: nothing from there on is served.
    #[error("{source_partition} is broken at offset {offset}: {what}")]
    Broken {
        /// The partition.
        source_partition: TopicPartition,
        /// The first offset that cannot be read.
        offset: Offset,
        /// What was found.
        what: Arc<str>,
    },
    /// The disk failed.
    #[error("reading {source_partition} failed: {what}")]
    Disk {
        /// The partition.
        source_partition: TopicPartition,
        /// The system's error.
        what: Arc<str>,
    },
}

/// Why state or progress could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("reading the state of {driver} failed: {what}")]
pub struct StateError {
    /// Whose state.
    pub driver: DriverKey,
    /// What was found.
    pub what: Arc<str>,
}

/// Why metadata could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AdminError {
    /// The name breaks the rule for names.
    #[error("{name:?} is no valid topic name: {rule}")]
    InvalidName {
        /// The name.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// Nothing of that name lives.
    #[error("no topic {0:?}")]
    UnknownTopic(String),
    /// No group of that name has progress.
    #[error("no group {0:?}")]
    UnknownGroup(String),
    /// It lives already, and is not what was asked for.
    #[error("topic {name:?} exists with {partitions} partitions")]
    Exists {
        /// The topic.
        name: String,
        /// Partitions that it has.
        partitions: u32,
    },
    /// A number of partitions that is not allowed.
    #[error("topic {name:?} cannot have {asked} partitions: {rule}")]
    Partitions {
        /// The topic.
        name: String,
        /// Partitions asked for.
        asked: u32,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The topic is read by handlers whose state or order goes by key.
    #[error("topic {name:?} is read by {}: their keys would move to other partitions; force it if that may be", handlers.join(", "))]
    Bound {
        /// The topic.
        name: String,
        /// The handlers' names.
        handlers: Vec<String>,
    },
    /// The driver is stopped by a broken change; it is restored or reset first.
    #[error("{0} is stopped by a broken change: restore or reset the group first")]
    Stopped(DriverKey),
    /// The change was not committed.
    #[error(transparent)]
    Aborted(#[from] Abort),
}
