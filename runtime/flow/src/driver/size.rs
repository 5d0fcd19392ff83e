//! How many events a driver asks for: as many as take a few milliseconds, by what was measured. Pure.

use std::time::Duration;

use crate::limits;

/// What a driver has learnt about its events.
#[derive(Clone, Debug, Default)]
pub(crate) struct BatchSize {
    /// Nanoseconds that an event takes, as a moving mean; `None` before the first call.
    event_ns: Option<u64>,
    /// Bytes of columns that an event has, as a moving mean.
    event_bytes: u64,
    /// The largest batch measured.
    largest: usize,
}

impl BatchSize {
    /// Events that the next batch should have, at most `most`.
    pub(crate) fn events(&self, most: usize) -> usize {
        let Some(event_ns) = self.event_ns else {
            return limits::FIRST_BATCH_EVENTS.min(most).max(1);
        };
        let in_time = nanos(limits::BATCH_TIME) / event_ns.max(1);
        let in_time = usize::try_from(in_time).unwrap_or(usize::MAX);
        in_time.min(self.largest.saturating_mul(limits::BATCH_GROWTH)).min(most).max(1)
    }

    /// A call with `count` events of `bytes` took `elapsed`.
    pub(crate) fn measured(&mut self, count: usize, bytes: usize, elapsed: Duration) {
        let count = count.max(1) as u64;
        let event_ns = nanos(elapsed) / count;
        self.event_ns = Some(self.event_ns.map_or(event_ns, |mean| moved(mean, event_ns)));
        let event_bytes = bytes as u64 / count;
        self.event_bytes = if self.largest == 0 { event_bytes } else { moved(self.event_bytes, event_bytes) };
        self.largest = self.largest.max(usize::try_from(count).unwrap_or(usize::MAX));
    }

    /// How long a call with `count` events should take, if any was measured.
    pub(crate) fn expected(&self, count: usize) -> Option<Duration> {
        self.event_ns.map(|event_ns| Duration::from_nanos(event_ns.saturating_mul(count as u64)))
    }

    /// Bytes that `events` events should have.
    pub(crate) fn bytes(&self, events: u64) -> u64 {
        self.event_bytes.saturating_mul(events)
    }
}

/// A moving mean to which each new figure adds a quarter.
fn moved(mean: u64, new: u64) -> u64 {
    mean - mean / 4 + new / 4
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_grows_until_it_takes_the_time_that_it_should() {
        let mut size = BatchSize::default();
        let mut sizes = Vec::new();
        for _ in 0..8 {
            let events = size.events(1_000_000);
            sizes.push(events);
            size.measured(events, events * 100, Duration::from_micros(events as u64));
        }
        assert_eq!(sizes, [64, 256, 1_024, 4_000, 4_000, 4_000, 4_000, 4_000]);
        assert_eq!(size.events(100), 100);
        assert_eq!(size.expected(10), Some(Duration::from_micros(10)));
        assert_eq!(size.bytes(3), 300);
    }

    #[test]
    fn a_slow_event_still_makes_a_batch_of_one() {
        let mut size = BatchSize::default();
        size.measured(1, 1, Duration::from_secs(3));
        assert_eq!(size.events(100), 1);
        size.measured(1, 1, Duration::ZERO);
        assert!(size.events(100) >= 1);
    }
}
