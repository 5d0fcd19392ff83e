//! Time: the only reader of the wall clock, and the rule by which append times follow it. Knows no
//! partition: that append times never fall within one is kept here, for the whole store at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::limits::CLOCK_LEAP_MAX;
use crate::notice::{Notice, Notices};

/// The two clocks of a machine.
pub trait Clock: Send + Sync + 'static {
    /// What the wall clock says, in milliseconds since the Unix epoch. May jump.
    fn wall_ms(&self) -> i64;

    /// Milliseconds since some moment. Never falls, never jumps.
    fn monotonic_ms(&self) -> i64;
}

/// The clocks of this machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one module that reads the wall clock")]
    fn wall_ms(&self) -> i64 {
        let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        }
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// Clocks that stand still until a test moves them.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall: AtomicI64,
    monotonic: AtomicI64,
}

impl ManualClock {
    /// Clocks whose wall says `wall_ms`.
    pub fn at(wall_ms: i64) -> Self {
        Self { wall: AtomicI64::new(wall_ms), monotonic: AtomicI64::new(0) }
    }

    /// Lets `ms` milliseconds pass on both clocks.
    pub fn pass(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::Relaxed);
        self.monotonic.fetch_add(ms, Ordering::Relaxed);
    }

    /// Sets the wall clock, as an operator or a time server does.
    pub fn set_wall(&self, wall_ms: i64) {
        self.wall.store(wall_ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> i64 {
        self.wall.load(Ordering::Relaxed)
    }

    fn monotonic_ms(&self) -> i64 {
        self.monotonic.load(Ordering::Relaxed)
    }
}

/// The clock of append times: follows the wall clock, never falls, and does not follow a leap.
pub(crate) struct AppendClock {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// The latest wall time that was followed, and the monotonic time then.
    followed: (i64, i64),
    /// The highest time that was given or was found in the store.
    last: i64,
    /// Whether the wall clock is ahead and was said to be.
    leaping: bool,
}

impl AppendClock {
    /// A clock whose times are `last` or later.
    pub(crate) fn new(clock: Arc<dyn Clock>, last: i64) -> Self {
        let followed = (clock.wall_ms(), clock.monotonic_ms());
        Self { clock, state: Mutex::new(State { followed, last, leaping: false }) }
    }

    /// The append time of now, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self, notices: &Notices) -> i64 {
        let (wall, monotonic) = (self.clock.wall_ms(), self.clock.monotonic_ms());
        let mut state = self.state.lock();
        let expected = state.followed.0.saturating_add(monotonic - state.followed.1);
        let leap_ms = wall.saturating_sub(expected);
        if leap_ms > leap_ms_max() {
            if !state.leaping {
                notices.push(Notice::ClockLeapt { wall_ms: wall, expected_ms: expected });
            }
            state.leaping = true;
            state.last = state.last.max(expected);
            return state.last;
        }
        state.leaping = false;
        // The base never falls, so that a clock that steps back and then forward again has not leapt.
        if leap_ms >= 0 {
            state.followed = (wall, monotonic);
        }
        state.last = state.last.max(wall);
        state.last
    }
}

fn leap_ms_max() -> i64 {
    i64::try_from(CLOCK_LEAP_MAX.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn clock_at(wall_ms: i64, last: i64) -> (Arc<ManualClock>, AppendClock, Notices) {
        let manual = Arc::new(ManualClock::at(wall_ms));
        let clock = AppendClock::new(Arc::clone(&manual) as Arc<dyn Clock>, last);
        (manual, clock, Notices::default())
    }

    #[test]
    fn append_time_does_not_fall_when_the_wall_clock_steps_back() {
        let (manual, clock, notices) = clock_at(10 * HOUR, 0);
        assert_eq!(clock.now_ms(&notices), 10 * HOUR);
        manual.set_wall(8 * HOUR);
        assert_eq!(clock.now_ms(&notices), 10 * HOUR);
        manual.set_wall(10 * HOUR + 5);
        assert_eq!(clock.now_ms(&notices), 10 * HOUR + 5);
        assert!(notices.take().is_empty());
    }

    #[test]
    fn a_leap_of_more_than_an_hour_is_not_followed_and_said_once() {
        let (manual, clock, notices) = clock_at(10 * HOUR, 0);
        manual.set_wall(100 * HOUR);
        assert_eq!(clock.now_ms(&notices), 10 * HOUR);
        manual.pass(7);
        assert_eq!(clock.now_ms(&notices), 10 * HOUR + 7);
        assert_eq!(notices.take().len(), 1);
        manual.set_wall(10 * HOUR + 9);
        assert_eq!(clock.now_ms(&notices), 10 * HOUR + 9);
        let leap_ms = i64::try_from(CLOCK_LEAP_MAX.as_millis()).unwrap();
        manual.set_wall(10 * HOUR + 9 + leap_ms);
        assert_eq!(clock.now_ms(&notices), 10 * HOUR + 9 + leap_ms);
    }

    #[test]
    fn a_long_quiet_time_is_no_leap() {
        let (manual, clock, notices) = clock_at(10 * HOUR, 0);
        manual.pass(50 * HOUR);
        assert_eq!(clock.now_ms(&notices), 60 * HOUR);
        assert!(notices.take().is_empty());
    }

    #[test]
    fn append_time_begins_where_the_store_ended() {
        let (_, clock, notices) = clock_at(10 * HOUR, 11 * HOUR);
        assert_eq!(clock.now_ms(&notices), 11 * HOUR);
    }
}
