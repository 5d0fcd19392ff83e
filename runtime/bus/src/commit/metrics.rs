//! What the store counts. Counters only; knows no name of a metric.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of commit latency, in microseconds; the last bucket has none.
pub const LATENCY_BOUNDS_US: [u64; 13] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A snapshot of the store's counters, since it was opened.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Metrics {
            $($(#[$doc])* pub $name: u64,)*
            /// Transactions by the time from hand-in to answer: one count per bound, one for the rest.
            pub commit_latency: [u64; LATENCY_BOUNDS_US.len() + 1],
            /// Sum of these times, in microseconds.
            pub commit_latency_sum_us: u64,
            /// The last frame in the tables' memory.
            pub applied_frame: u64,
            /// The last frame in the tables on disk.
            pub persisted_frame: u64,
            /// Bytes of rows that wait for a checkpoint, by estimate.
            pub overlay_bytes: u64,
            /// Bytes of recent blocks in memory.
            pub tail_bytes: u64,
            /// Bytes of all segments, when retention last looked.
            pub journal_bytes: u64,
            /// Transactions that wait.
            pub queued: u64,
            /// Bytes of transactions that wait.
            pub queued_bytes: u64,
        }

        /// The counters.
        #[derive(Debug, Default)]
        pub(crate) struct Meter {
            $(pub(crate) $name: Count,)*
            /// Bytes of all segments, when retention last looked.
            pub(crate) journal_bytes: AtomicU64,
            latency: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
            latency_sum_us: AtomicU64,
        }

        impl Meter {
            /// The counters' part of a snapshot.
            pub(crate) fn snapshot(&self) -> Metrics {
                Metrics {
                    $($name: self.$name.get(),)*
                    commit_latency: std::array::from_fn(|at| self.latency[at].load(Ordering::Relaxed)),
                    journal_bytes: self.journal_bytes.load(Ordering::Relaxed),
                    commit_latency_sum_us: self.latency_sum_us.load(Ordering::Relaxed),
                    ..Metrics::default()
                }
            }
        }
    };
}

metrics! {
    /// Frames written.
    frames,
    /// Bytes of blocks and deltas written.
    frame_bytes,
    /// Syncs of the journal.
    syncs,
    /// Time that syncs took, in microseconds.
    sync_us,
    /// Transactions committed.
    committed,
    /// Transactions aborted.
    aborted,
    /// Events committed.
    events,
    /// Checkpoints written.
    checkpoints,
    /// Segments released.
    segments_released,
    /// Segments rewritten without what may go.
    segments_settled,
    /// Segments that were joined with the one before.
    segments_joined,
    /// Events that retention removed before a group had read them.
    events_lost,
    /// Blocks read from the disk.
    disk_reads,
}

/// A counter.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Meter {
    /// Counts a commit that took `time`.
    pub(crate) fn latency(&self, time: Duration) {
        let us = micros(time);
        let bucket = LATENCY_BOUNDS_US.partition_point(|&bound| bound < us);
        self.latency[bucket].fetch_add(1, Ordering::Relaxed);
        self.latency_sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_counted_in_the_first_bucket_that_holds_it() {
        let meter = Meter::default();
        for us in [1, 100, 101, 6_000_000] {
            meter.latency(Duration::from_micros(us));
        }
        let metrics = meter.snapshot();
        assert_eq!(metrics.commit_latency[..2], [2, 1]);
        assert_eq!(metrics.commit_latency.last(), Some(&1));
        assert_eq!(metrics.commit_latency_sum_us, 6_000_202);
    }
}
