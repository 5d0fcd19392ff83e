//! Which events of a failed batch are tried next: halves, left to right, until the guilty one stands alone.
//! Pure; knows counts of events, not what they are.

use crate::limits;

/// The parts of a failed batch that are still to be tried, in order. Empty when nothing is suspected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Isolation {
    /// Events of each part, the next one last. Halving a batch leaves one part for each halving.
    parts: Vec<usize>,
}

/// What a failed call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// It was called with one event: that is the guilty one.
    Guilty,
    /// One of several: they are tried in parts.
    Halved,
}

impl Isolation {
    /// Events of the next part, if some are suspected.
    pub(crate) fn part(&self) -> Option<usize> {
        self.parts.last().copied()
    }

    /// A call with `count` events, the next of those suspected if any are, failed as a whole.
    pub(crate) fn failed(&mut self, count: usize) -> Suspicion {
        assert!(count > 0, "a call has at least one event");
        if count == 1 {
            return Suspicion::Guilty;
        }
        self.settled(count);
        let left = count / 2;
        self.parts.push(count - left);
        self.parts.push(left);
        Suspicion::Halved
    }

    /// The next `count` events are behind us: done, given up or dropped.
    pub(crate) fn settled(&mut self, mut count: usize) {
        while let Some(part) = self.parts.last_mut() {
            if *part > count {
                *part -= count;
                return;
            }
            count -= *part;
            self.parts.pop();
        }
    }

    /// The driver goes elsewhere: nothing is suspected any more.
    pub(crate) fn clear(&mut self) {
        self.parts.clear();
    }
}

/// How long a part of `count` events may run: a multiple of what it should take, so that a looping event is
/// found soon; a lone event, or a part without history, has the whole deadline.
pub(crate) fn part_deadline(
    whole: std::time::Duration,
    count: usize,
    expected: Option<std::time::Duration>,
) -> std::time::Duration {
    match expected {
        Some(expected) if count > 1 => {
            expected.saturating_mul(limits::PART_DEADLINE_FACTOR).max(limits::PART_DEADLINE_MIN).min(whole)
        }
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_the_guilty_are_found_in_order(
            guilty in proptest::collection::vec(any::<bool>(), 1..200),
            short_reads in proptest::collection::vec(1..300_usize, 1..8),
        ) {
            let mut isolation = Isolation::default();
            let (mut at, mut found, mut calls) = (0, Vec::new(), 0);
            while at < guilty.len() {
                calls += 1;
                let short = short_reads[calls % short_reads.len()];
                let count = isolation.part().unwrap_or(usize::MAX).min(guilty.len() - at).min(short);
                if guilty[at..at + count].contains(&true) {
                    if isolation.failed(count) == Suspicion::Halved {
                        continue;
                    }
                    found.push(at);
                }
                isolation.settled(count);
                at += count;
            }
            let expected: Vec<_> = (0..guilty.len()).filter(|&index| guilty[index]).collect();
            let most = (2 * expected.len() + 2) * 9 + guilty.len();
            prop_assert_eq!(found, expected);
            prop_assert!(calls <= most, "{} calls", calls);
            prop_assert_eq!(isolation.part(), None);
        }
    }

    #[test]
    fn one_guilty_event_of_4096_is_found_in_two_calls_per_halving() {
        let mut isolation = Isolation::default();
        let (mut at, mut calls) = (0, 0);
        while at < 4096 {
            calls += 1;
            let count = isolation.part().unwrap_or(4096 - at);
            if (at..at + count).contains(&3_000) && isolation.failed(count) == Suspicion::Halved {
                continue;
            }
            isolation.settled(count);
            at += count;
        }
        assert!(calls <= 1 + 2 * 12, "{calls}");
    }

    #[test]
    fn a_part_has_a_short_deadline_and_a_lone_event_the_whole() {
        let whole = Duration::from_secs(5);
        let ms = Duration::from_millis;
        assert_eq!(part_deadline(whole, 1, Some(ms(1))), whole);
        assert_eq!(part_deadline(whole, 9, None), whole);
        assert_eq!(part_deadline(whole, 9, Some(ms(1))), ms(20));
        assert_eq!(part_deadline(whole, 9, Some(ms(10))), ms(80));
        assert_eq!(part_deadline(ms(50), 9, Some(ms(10))), ms(50));
    }
}
