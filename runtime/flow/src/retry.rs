//! When an event is tried again: exponential backoff with full jitter. Pure: the same event and attempt give
//! the same pause, in every process.

use std::time::Duration;

use tidemill_bus::{DriverKey, Offset};

use crate::config::Retry;
use crate::limits;

/// The event whose pause is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed {
    /// Who failed at it.
    pub(crate) driver: DriverKey,
    /// Its place.
    pub(crate) offset: Offset,
    /// Attempts made at it, this one included.
    pub(crate) attempts: u32,
    /// What the guest asked for, in milliseconds. Under guest control.
    pub(crate) after_ms: Option<u64>,
}

/// How long to wait before the next attempt, in milliseconds: drawn between 0 and the doubled backoff, or what
/// the guest asked for if that is longer.
pub(crate) fn pause_ms(retry: &Retry, failed: Failed) -> i64 {
    let ceiling = millis(backoff(retry.backoff, retry.max_backoff, failed.attempts));
    let drawn = fastrand::Rng::with_seed(seed(failed)).u64(0..=ceiling);
    let asked = failed.after_ms.unwrap_or(0).min(millis(limits::RETRY_AFTER_MAX));
    i64::try_from(drawn.max(asked)).unwrap_or(i64::MAX)
}

/// The backoff after `attempts` failures: `first` doubled with each but the first, at most `most`.
pub(crate) fn backoff(first: Duration, most: Duration, attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(30);
    first.saturating_mul(1 << doublings).min(most)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Mixes what names the attempt into a seed (the finalizer of Steele et al., "Fast splittable pseudorandom
/// number generators", for each part).
fn seed(failed: Failed) -> u64 {
    let parts = [
        failed.driver.handler.0,
        failed.driver.partition.0.into(),
        failed.driver.lane.0.into(),
        failed.offset.0,
        failed.attempts.into(),
    ];
    parts.iter().fold(0, |seed: u64, part| {
        let mixed = (seed ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidemill_bus::{HandlerId, Lane, Partition};

    fn failed(offset: u64, attempts: u32, after_ms: Option<u64>) -> Failed {
        let driver = DriverKey { handler: HandlerId(3), partition: Partition(1), lane: Lane(0) };
        Failed { driver, offset: Offset(offset), attempts, after_ms }
    }

    proptest! {
        #[test]
        fn a_pause_lies_below_the_doubled_backoff_and_above_what_the_guest_asks(
            offset: u64, attempts: u32, after_ms: Option<u64>,
        ) {
            let retry = Retry::default();
            let pause = pause_ms(&retry, failed(offset, attempts, after_ms));
            let asked = i64::try_from(after_ms.unwrap_or(0).min(millis(limits::RETRY_AFTER_MAX))).unwrap();
            let ceiling = i64::try_from(backoff(retry.backoff, retry.max_backoff, attempts).as_millis()).unwrap();
            prop_assert!(pause >= asked && pause <= asked.max(ceiling));
        }
    }

    #[test]
    fn the_backoff_doubles_up_to_its_end() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(1));
        let pauses: Vec<_> = (1..=6).map(|attempts| backoff(first, most, attempts).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff(first, most, u32::MAX), most);
    }

    #[test]
    fn jitter_is_full_and_the_same_after_a_restart() {
        let retry = Retry { max_backoff: Duration::from_secs(10), ..Retry::default() };
        let pauses: Vec<_> = (0..1_000).map(|offset| pause_ms(&retry, failed(offset, 4, None))).collect();
        let again: Vec<_> = (0..1_000).map(|offset| pause_ms(&retry, failed(offset, 4, None))).collect();
        assert_eq!(pauses, again);
        for quarter in 0..4 {
            let inside = pauses.iter().filter(|&&pause| pause / 200 == quarter).count();
            assert!((150..350).contains(&inside), "{inside} of 1,000 in quarter {quarter}");
        }
    }
}
