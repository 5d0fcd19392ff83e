//! What the owner of a store may choose.

use std::path::PathBuf;
use std::time::Duration;

use crate::journal::JournalOptions;
use crate::limits;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The data directory; created if it is missing.
    pub dir: PathBuf,
    /// When a commit counts as done.
    pub sync: Sync,
    /// How long events are kept.
    pub retention: Retention,
    /// Sizes of the journal.
    pub journal: JournalOptions,
    /// Bytes of publishers' transactions that may wait for the committer; who comes beyond is told that the
    /// store is busy.
    pub publishers_bytes: usize,
    /// How far the tables on disk may fall behind what is committed.
    pub checkpoints: Checkpoints,
    /// Who does the store's work.
    pub background: Background,
    /// A fault that a test asks for, to see that it is found.
    #[doc(hidden)]
    pub control: Control,
}

impl StoreOptions {
    /// The defaults, in the data directory `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            sync: Sync::default(),
            retention: Retention::default(),
            journal: JournalOptions::default(),
            publishers_bytes: limits::PUBLISHERS_BYTES_MAX,
            checkpoints: Checkpoints::default(),
            background: Background::default(),
            control: Control::default(),
        }
    }
}

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// When it is on the disk.
    #[default]
    Always,
    /// When it is written; it is on the disk after this time at the latest. A power cut may take what came
    /// since, and it takes the end only.
    Every(Duration),
}

/// How long events are kept. Whole segments go, the oldest first, when all their events may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events older than this may go, by append time; `None` keeps them however old.
    pub age: Option<Duration>,
    /// While the journal has more bytes than this, the oldest events may go; `None` keeps them.
    pub bytes: Option<u64>,
    /// What keeps them all the same.
    pub hold: Hold,
}

impl Default for Retention {
    /// Seven days, as Kafka has it; no bound of bytes; groups are waited for.
    fn default() -> Self {
        Self { age: Some(Duration::from_hours(7 * 24)), bytes: None, hold: Hold::default() }
    }
}

/// What retention waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// Every group that has progress on the partition, whether its handler runs or not.
    #[default]
    Handlers,
    /// Nothing; what a group loses is counted.
    None,
}

/// How far the tables on disk may fall behind what is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// Longest time between two checkpoints while there is something to flush.
    pub interval: Duration,
    /// Bytes of changes in memory at which a checkpoint begins at once.
    pub bytes: usize,
    /// Bytes of changes in memory at which commits wait for it.
    pub bytes_max: usize,
    /// Bytes of journal that are not in the tables at which commits wait for it: they bound the time to open.
    pub journal_bytes_max: u64,
    /// Time between two looks for segments that are worth being rewritten.
    pub settle_interval: Duration,
    /// Bytes of segments after which such a look ends, and goes on after the next checkpoint.
    pub settle_bytes: u64,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self {
            interval: limits::CHECKPOINT_INTERVAL,
            bytes: limits::OVERLAY_BYTES_CHECKPOINT,
            bytes_max: limits::OVERLAY_BYTES_MAX,
            journal_bytes_max: limits::UNPERSISTED_BYTES_MAX,
            settle_interval: limits::SETTLE_INTERVAL,
            settle_bytes: limits::SETTLE_BYTES_MAX,
        }
    }
}

/// Who does the store's work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Background {
    /// Threads of its own: the committer, the checkpoints with retention, the compaction.
    #[default]
    Threads,
    /// Whoever calls [`Store::run`](super::Store::run), [`Store::checkpoint`](super::Store::checkpoint) and
    /// [`Store::retain`](super::Store::retain), so that a test sees the same calls every time.
    Manual,
}

/// Faults built in on purpose: a test that does not find them proves nothing.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Control {
    /// None.
    #[default]
    Sound,
    /// Commits are answered before they are synced.
    AnswerBeforeSync,
    /// Segments are released when they are in the tables' memory, not on their disk.
    ReleaseAtApplied,
    /// What frames held that cannot be read is taken for nothing.
    ServePastLost,
}
