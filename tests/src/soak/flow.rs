//! What the threads of a run share: how fast to publish, what was published and seen, and when to end.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hdrhistogram::Histogram;

use super::clock::Clock;

/// Latencies up to this are told apart, in microseconds: two minutes.
const LATENCY_MAX_US: u64 = 120_000_000;

/// Events that may wait for a handler while the peak rate is measured: enough that every handler always has work.
const PEAK_WAITING_MAX: u64 = 50_000;

/// Seconds of events that may wait for a handler at a given rate. A runtime that is so far behind does not keep up; that
/// its disk fills would prove nothing more.
const WAITING_MAX_S: f64 = 20.0;

/// What the threads share.
pub(super) struct Flow {
    pub(super) clock: Clock,
    /// Events a second of all publishers together, as bits of a float; infinite is as fast as may be.
    rate: AtomicU64,
    /// Events published, acknowledged.
    published: AtomicU64,
    /// Events that the slowest handler has settled, when somebody last looked.
    settled: AtomicU64,
    /// Outputs seen by the followers of the first handler.
    seen: AtomicU64,
    /// Moments in which a publisher was due and did not publish, for too much was waiting.
    held_back: AtomicU64,
    /// Latencies in microseconds since somebody last took them, each follower's.
    latencies: Vec<Mutex<Histogram<u64>>>,
    /// No more is to be published.
    enough: AtomicBool,
    /// Nothing more will come: followers may go.
    over: AtomicBool,
}

impl Flow {
    /// Of a run with so many followers that note latencies.
    pub(super) fn new(followers: usize) -> Self {
        Self {
            clock: Clock::start(),
            rate: AtomicU64::new(f64::INFINITY.to_bits()),
            published: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            held_back: AtomicU64::new(0),
            latencies: (0..followers).map(|_| Mutex::new(histogram())).collect(),
            enough: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    /// How many events a second are to be published; infinite is as fast as may be.
    pub(super) fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Ordering::Relaxed))
    }

    /// From now on so many events a second.
    pub(super) fn set_rate(&self, events_per_second: f64) {
        self.rate.store(events_per_second.to_bits(), Ordering::Relaxed);
    }

    /// Whether so much waits for a handler that nothing may be published now.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive, and a limit may be rounded"
    )]
    pub(super) fn is_full(&self) -> bool {
        let rate = self.rate();
        let most = if rate.is_finite() { (rate * WAITING_MAX_S) as u64 } else { PEAK_WAITING_MAX };
        self.published().saturating_sub(self.settled()) > most.max(PEAK_WAITING_MAX)
    }

    /// A publisher was due and held back.
    pub(super) fn hold_back(&self) {
        self.held_back.fetch_add(1, Ordering::Relaxed);
    }

    /// How often publishers were held back.
    pub(super) fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::Relaxed)
    }

    /// So many events were acknowledged.
    pub(super) fn publish(&self, events: u64) {
        self.published.fetch_add(events, Ordering::Relaxed);
    }

    /// Events acknowledged so far.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// The slowest handler has settled so many events.
    pub(super) fn settle(&self, events: u64) {
        self.settled.store(events, Ordering::Relaxed);
    }

    /// Events that the slowest handler had settled when somebody last looked.
    pub(super) fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    /// A follower saw an output, so long after its event was due.
    pub(super) fn see(&self, follower: usize, latency_us: u64) {
        self.seen.fetch_add(1, Ordering::Relaxed);
        let mut latencies = self.latencies[follower].lock().unwrap_or_else(PoisonError::into_inner);
        latencies.saturating_record(latency_us);
    }

    /// Outputs seen so far.
    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// The latencies since this was last asked, of all followers.
    pub(super) fn take_latencies(&self) -> Histogram<u64> {
        let mut all = histogram();
        for latencies in &self.latencies {
            let mut latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
            all.add(&*latencies).expect("they have the same range");
            latencies.reset();
        }
        all
    }

    /// Publishers end.
    pub(super) fn end_publishing(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    /// Whether publishers are to end.
    pub(super) fn is_enough(&self) -> bool {
        self.enough.load(Ordering::Relaxed)
    }

    /// All threads end.
    pub(super) fn end(&self) {
        self.end_publishing();
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether all threads are to end.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("these are bounds as it wants them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_of_all_followers_are_taken_once() {
        let flow = Flow::new(2);
        (1..=99).for_each(|ms| flow.see(0, ms * 1_000));
        flow.see(1, 1_000_000_000);
        let latencies = flow.take_latencies();
        let p50_ms = latencies.value_at_quantile(0.5) / 1_000;
        assert_eq!((latencies.len(), p50_ms, flow.seen()), (100, 50, 100));
        assert!(latencies.max() >= LATENCY_MAX_US);
        assert_eq!(flow.take_latencies().len(), 0);
    }

    #[test]
    fn publishing_waits_for_the_slowest_handler() {
        let flow = Flow::new(0);
        flow.publish(PEAK_WAITING_MAX + 1);
        assert!(flow.is_full());
        flow.settle(1);
        assert!(!flow.is_full());
        flow.publish(100);
        flow.set_rate(1e6);
        assert!(!flow.is_full());
    }
}
