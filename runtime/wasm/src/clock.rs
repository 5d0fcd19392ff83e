//! The running time of a call: when it is slow, when it is over. Asked by the epoch callback; knows no guest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tidemill_flow::handler::Pace;
use tidemill_flow::limits::SLOW_AFTER;

use crate::limits::EPOCH_TICK;

/// A guest that ran past its deadline; travels through the guest's frames to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("ran past its deadline of {0:?}")]
pub(crate) struct Overrun(pub(crate) Duration);

/// Ticks until a look that never comes: 70 years, far from the end of the epoch's 64 bits.
const FOREVER_TICKS: u64 = 1 << 40;

/// The clock of one call, or of an instantiation.
pub(crate) struct Clock {
    started: Instant,
    deadline: Duration,
    /// Spent in [`Pace::slow`], which does not count.
    waited: Duration,
    /// To be told once when the call is slow.
    pace: Option<Arc<dyn Pace>>,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start(deadline: Duration, pace: Option<Arc<dyn Pace>>) -> Self {
        Self { started: Instant::now(), deadline, waited: Duration::ZERO, pace }
    }

    /// Looks at the clock: tells the pace if the call has become slow, and fails if its time is up. Returns
    /// after how many ticks to look again.
    pub(crate) fn look(&mut self) -> Result<u64, Overrun> {
        let ran = self.ran();
        if ran >= self.deadline {
            return Err(Overrun(self.deadline));
        }
        if ran >= SLOW_AFTER
            && let Some(pace) = self.pace.take()
        {
            let before = Instant::now();
            pace.slow();
            self.waited += before.elapsed();
        }
        Ok(self.ticks(ran))
    }

    /// Ticks until the first look.
    pub(crate) fn first_look(&self) -> u64 {
        self.ticks(Duration::ZERO)
    }

    fn ran(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.waited)
    }

    fn ticks(&self, ran: Duration) -> u64 {
        let next = if self.pace.is_some() { SLOW_AFTER.min(self.deadline) } else { self.deadline };
        let left = next.saturating_sub(ran).as_millis();
        // Rounded up: a look that comes too early only costs another one, but never 0, which is always past.
        u64::try_from(left.div_ceil(EPOCH_TICK.as_millis())).unwrap_or(FOREVER_TICKS).clamp(1, FOREVER_TICKS)
    }
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
        Clock { started, deadline, waited: Duration::ZERO, pace }
    }

    #[test]
    fn a_slow_call_is_told_once_and_goes_on() {
        let told = Arc::new(Told(Mutex::new(0)));
        let mut clock = clock(SLOW_AFTER, Duration::from_mins(1), Some(told.clone()));
        assert!(clock.look().is_ok());
        assert!(clock.look().is_ok());
        assert_eq!(*told.0.lock(), 1);
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
