//! What an operator can see of a handler: a copy of numbers, taken without stopping anything. Counts nothing.

use std::sync::Arc;

use tidemill_bus::{HandlerId, Offset, Partition, TopicId};

/// One installed handler at the moment it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerStatus {
    /// Its name, and that of its consumer group.
    pub name: Arc<str>,
    /// Its id.
    pub id: HandlerId,
    /// Whether it runs.
    pub state: HandlerState,
    /// The version that takes events, as [`crate::handler::Handler::version`] names it.
    pub version: Arc<str>,
    /// The version that is in charge, also after a restart: another one than `version` while that is on trial, `None`
    /// before any has settled an event.
    pub in_charge: Option<Arc<str>>,
    /// Partitions in which `version` has had no commit yet; until it has, a fault there brings back the version in
    /// charge. `None` if it is not on trial.
    pub on_trial: Option<usize>,
    /// The last version that failed while it was on trial.
    pub refused: Option<RefusedVersion>,
    /// How many versions of it have run since the flow started, from 1.
    pub generation: u64,
    /// The topics that it reads, by name.
    pub inputs: Vec<Arc<str>>,
    /// The topics that it may emit to, as they are declared.
    pub outputs: Vec<String>,
    /// Where it stands in every partition of every input.
    pub partitions: Vec<PartitionStatus>,
    /// What it has done since the flow started.
    pub counters: Counters,
    /// Instances alive.
    pub instances: usize,
    /// Bytes of linear memory of all its instances, as they were after their last call.
    pub memory_bytes: usize,
}

/// A version that failed before its first commit in a partition, and went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedVersion {
    /// The version, as [`crate::handler::Handler::version`] names it.
    pub version: Arc<str>,
    /// How it failed.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// Whether a handler runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandlerState {
    /// It takes events.
    Running,
    /// At least one partition waits to be tried again, longer each time, by no fault of an event: the handler cannot
    /// be instantiated, or the host or the log could not do its part. This is the first reason.
    Retrying(String),
    /// An operator paused it.
    Paused {
        /// When, in milliseconds since the Unix epoch.
        since: i64,
    },
    /// At least one partition stands still until an operator resumes or seeks; this is the first reason.
    Stopped(String),
    /// The log takes nothing more of it, or Tidemill itself failed at one of its partitions.
    Failed(String),
}

/// Where a handler stands in one partition of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: Partition,
    /// The next position that it will read, committed.
    pub position: Offset,
    /// The high watermark.
    pub end: Offset,
    /// Offsets between the two: the number of events waiting, where offsets have no gaps.
    pub lag: u64,
    /// Failed attempts at the event at `position`.
    pub attempts: u32,
    /// Not to be tried again before this time, in milliseconds since the Unix epoch; 0 is at once.
    pub not_before: i64,
    /// Offsets that retention had removed before they were read.
    pub lost: u64,
    /// Why this partition stands still, if it does.
    pub stopped: Option<String>,
}

/// What a handler has done since the flow started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Input events settled, in committed transactions.
    pub events_in: u64,
    /// Events emitted, in committed transactions.
    pub events_out: u64,
    /// Calls made, failed ones included.
    pub batches: u64,
    /// Transactions that the log aborted.
    pub aborts: u64,
    /// Attempts that ended in another attempt.
    pub retries: u64,
    /// Events sent to the dead letters, in committed transactions.
    pub dead_letters: u64,
    /// Events dropped by policy, in committed transactions.
    pub dropped: u64,
    /// Offsets that retention had removed before they were read.
    pub lost: u64,
    /// Calls that failed as a whole, by [`crate::handler::Fault::kind`].
    pub faults: Vec<(&'static str, u64)>,
    /// Calls by number of events.
    pub batch_events: Histogram,
    /// Calls by time, in microseconds.
    pub call_us: Histogram,
    /// Transactions by time from handing in to answer, in microseconds.
    pub commit_us: Histogram,
}

/// Numbers by size, in classes that double: class `i` counts what is at most 2^i and more than 2^(i−1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many in each class; the last also counts everything above.
    pub classes: [u64; Self::CLASSES],
    /// The sum of all numbers.
    pub sum: u64,
}

impl Histogram {
    /// Number of classes: up to 2^31, which is 36 minutes in microseconds.
    pub const CLASSES: usize = 32;

    /// How many numbers were counted.
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// The class of a number.
    pub(crate) fn class_of(number: u64) -> usize {
        let class = u64::BITS - number.saturating_sub(1).leading_zeros();
        (class as usize).min(Self::CLASSES - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_what_is_at_most_its_power_of_two() {
        for (number, class) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1 << 31, 31), (u64::MAX, 31)]
        {
            assert_eq!(Histogram::class_of(number), class, "{number}");
        }
    }
}
