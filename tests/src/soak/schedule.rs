//! When the events of a publisher are due: so many a second, whatever the runtime does. Pure; time is an argument.
//! An event's latency counts from when it was due, so that a runtime which answers late shows it.

/// Events at most in one request: some hundred KiB.
const REQUEST_EVENTS_MAX: u64 = 2_000;

/// Arrears that are not made up for, in microseconds: who was further behind stood still, as a process does that is
/// stopped, and would only measure how a backlog is worked off.
const ARREARS_MAX_US: u64 = 1_000_000;

/// What is due now: `count` events, the first at `first_us`, `step_us` between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Due {
    pub(super) first_us: f64,
    pub(super) step_us: f64,
    pub(super) count: u64,
}

impl Due {
    /// When the event `index` of them is due, in microseconds.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "microseconds of a run have less than 53 bits, and none is negative"
    )]
    pub(super) fn at_us(&self, index: u64) -> u64 {
        (self.first_us + self.step_us * index as f64) as u64
    }
}

/// A schedule of so many events a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    next_us: f64,
    step_us: f64,
}

impl Schedule {
    /// Begins at `now_us`.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a run have less than 53 bits")]
    pub(super) fn new(now_us: u64, events_per_second: f64) -> Self {
        Self { next_us: now_us as f64, step_us: 1e6 / events_per_second }
    }

    /// What is due at `now_us`, which is then taken to be done.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "microseconds of a run have less than 53 bits, and what would be negative is 0"
    )]
    pub(super) fn due(&mut self, now_us: u64) -> Due {
        self.next_us = self.next_us.max(now_us.saturating_sub(ARREARS_MAX_US) as f64);
        let count = ((now_us as f64 - self.next_us) / self.step_us).floor() as u64;
        let due = Due { first_us: self.next_us, step_us: self.step_us, count: count.min(REQUEST_EVENTS_MAX) };
        self.next_us += self.step_us * due.count as f64;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_at_their_rate_however_often_one_asks() {
        for pause_us in [100, 7_000, 90_000] {
            let mut schedule = Schedule::new(0, 5_000.0);
            let asked = (0..=2_000_000).step_by(pause_us);
            let count: u64 = asked.map(|now_us| schedule.due(now_us).count).sum();
            assert!((9_500..=10_000).contains(&count), "{count} with {pause_us} µs between");
        }
    }

    #[test]
    fn an_event_is_due_when_it_should_have_been_sent() {
        let mut schedule = Schedule::new(1_000, 1_000.0);
        let due = schedule.due(4_500);
        assert_eq!((due.count, due.at_us(0), due.at_us(2)), (3, 1_000, 3_000));
        assert_eq!(schedule.due(4_500).count, 0);
    }

    #[test]
    fn who_stood_still_does_not_make_up_for_it() {
        let mut schedule = Schedule::new(0, 1_000.0);
        let due = schedule.due(60_000_000);
        assert_eq!((due.at_us(0), due.count), (59_000_000, 1_000));
    }
}
