//! The running time of a call: when it is slow, when it is over. Asked by the epoch callback; knows no guest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;
use tidemill_flow::handler::Pace;
use tidemill_flow::limits::{SLOW_AFTER, WAITING_AFTER};

use crate::limits::EPOCH_TICK;

/// A guest that ran past its deadline; travels through the guest's frames to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("ran past its deadline of {0:?}")]
pub(crate) struct Overrun(pub(crate) Duration);

/// Ticks until a look that never comes: 70 years, far from the end of the epoch's 64 bits.
const FOREVER_TICKS: u64 = 1 << 40;

/// The clock of one call, or of an instantiation, all on one thread.
pub(crate) struct Clock {
    started: Instant,
    /// Processor time that the thread had used when it started.
    used_before: Duration,
    deadline: Duration,
    /// Spent in [`Pace::slow`], which does not count.
    waited: Duration,
    /// To be told once when the call is slow.
    pace: Option<Arc<dyn Pace>>,
}

/// What a call has taken so far.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// By the clock, without what the pace made it wait.
    time: Duration,
    /// Of the processor.
    used: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start(deadline: Duration, pace: Option<Arc<dyn Pace>>) -> Self {
        let used_before = if pace.is_some() { thread_time() } else { Duration::ZERO };
        Self { started: Instant::now(), used_before, deadline, waited: Duration::ZERO, pace }
    }

    /// Looks at the clock: tells the pace if the call has become slow, and fails if its time is up. Returns
    /// after how many ticks to look again.
    pub(crate) fn look(&mut self) -> Result<u64, Overrun> {
        let taken = self.taken();
        if taken.time >= self.deadline {
            return Err(Overrun(self.deadline));
        }
        if taken.is_slow()
            && let Some(pace) = self.pace.take()
        {
            let before = Instant::now();
            pace.slow();
            self.waited += before.elapsed();
        }
        Ok(self.ticks(taken))
    }

    /// Ticks until the first look.
    pub(crate) fn first_look(&self) -> u64 {
        self.ticks(Taken::default())
    }

    fn taken(&self) -> Taken {
        let time = self.started.elapsed().saturating_sub(self.waited);
        let used = if self.pace.is_some() { thread_time().saturating_sub(self.used_before) } else { time };
        Taken { time, used }
    }

    fn ticks(&self, taken: Taken) -> u64 {
        let end = self.deadline.saturating_sub(taken.time);
        let next = if self.pace.is_some() { taken.until_slow().min(end) } else { end };
        // Rounded up: a look that comes too early only costs another one, but never 0, which is always past.
        let ticks = next.as_millis().div_ceil(EPOCH_TICK.as_millis());
        u64::try_from(ticks).unwrap_or(FOREVER_TICKS).clamp(1, FOREVER_TICKS)
    }
}

impl Taken {
    fn is_slow(self) -> bool {
        self.until_slow().is_zero()
    }

    /// When it is slow at the earliest: if it has a core from now on.
    fn until_slow(self) -> Duration {
        SLOW_AFTER.saturating_sub(self.used).min(WAITING_AFTER.saturating_sub(self.time))
    }
}

/// Processor time that this thread has used.
fn thread_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    struct Told(Mutex<u32>);

    impl Pace for Told {
        fn slow(&self) {
            *self.0.lock() += 1;
        }
    }

    /// A clock that was started `ran` ago.
    fn clock(ran: Duration, deadline: Duration, pace: Option<Arc<dyn Pace>>) -> Clock {
        let started = Instant::now().checked_sub(ran).expect("the machine runs for a minute");
        Clock { started, ..Clock::start(deadline, pace) }
    }

    #[test]
    fn a_slow_call_is_told_once_and_goes_on() {
        let told = Arc::new(Told(Mutex::new(0)));
        let mut clock = Clock::start(Duration::from_mins(1), Some(told.clone()));
        let turn = thread_time();
        while thread_time() < turn + SLOW_AFTER {
            assert!(*told.0.lock() <= 1);
            assert!(clock.look().is_ok());
        }
        assert!(clock.look().is_ok());
        assert!(clock.look().is_ok());
        assert_eq!(*told.0.lock(), 1);
    }

    #[test]
    fn a_call_is_slow_by_the_processor_time_it_used_or_by_a_long_wait() {
        let millis = Duration::from_millis;
        let taken = |time, used| Taken { time: millis(time), used: millis(used) };
        assert!(taken(10, 10).is_slow());
        assert!(!taken(99, 9).is_slow());
        assert!(taken(100, 0).is_slow());
        assert_eq!(taken(50, 4).until_slow(), millis(6));
        assert_eq!(taken(98, 4).until_slow(), millis(2));
        // One that got no core for a while is looked at again when it may have used its time.
        let clock = Clock::start(Duration::from_mins(1), Some(Arc::new(Told(Mutex::new(0)))));
        assert_eq!(u128::from(clock.ticks(taken(50, 4))), 6 / EPOCH_TICK.as_millis());
    }

    #[test]
    fn waiting_does_not_count_toward_the_deadline() {
        let mut clock = clock(Duration::from_secs(50), Duration::from_secs(10), None);
        clock.waited = Duration::from_secs(49);
        assert!(clock.look().is_ok());
        clock.waited = Duration::ZERO;
        assert_eq!(clock.look(), Err(Overrun(Duration::from_secs(10))));
    }

    #[test]
    fn the_first_look_comes_when_the_call_may_be_slow() {
        let told: Arc<dyn Pace> = Arc::new(Told(Mutex::new(0)));
        let slow_ticks = SLOW_AFTER.as_millis() / EPOCH_TICK.as_millis();
        assert_eq!(u128::from(Clock::start(Duration::from_secs(5), Some(told)).first_look()), slow_ticks);
        assert_eq!(Clock::start(Duration::from_millis(1), None).first_look(), 1);
        assert!(Clock::start(Duration::MAX, None).first_look() == FOREVER_TICKS);
    }
}
