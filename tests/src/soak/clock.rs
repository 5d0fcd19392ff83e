//! The harness's own time, in microseconds since it began: what events carry, and what their latency is taken from.

use std::time::Instant;

/// One beginning, for publishers and followers alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Begins now.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since the beginning.
    pub(super) fn now_us(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Seconds since the beginning.
    pub(super) fn now_s(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
