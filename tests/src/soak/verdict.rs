//! Whether a quantity stayed flat. Pure.
//!
//! The first third of a run is warm-up: caches fill, the disk fills to what retention keeps. The second third is
//! compared with the last one, by two measures which are blind to different things: a quartile of the samples, which
//! no outlier moves, and the slope after Theil and Sen (the median of the slopes between all pairs of samples), which no
//! single step makes. Only what both see counts as growth: a machine that was busy for a while is no leak.

/// By how much a quantity may be larger in the last third than in the second.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// This part of what it was.
    pub share: f64,
    /// And this much besides, in its own unit.
    pub slack: f64,
    /// Which quartile is compared: 2 is the median. Of what other work on the machine only makes worse the first, the
    /// quieter moments, which both thirds have.
    pub quartile: usize,
}

/// What was made of a quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// The quartile in the second third of the run.
    pub second: f64,
    /// The quartile in the last third.
    pub last: f64,
    /// The growth from the middle of the one to that of the other, by the slope.
    pub trend: f64,
    /// How much it may grow.
    pub allowed: f64,
    /// What this comes to.
    pub verdict: Verdict,
}

/// What a judgement comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did not grow by more than it may.
    Flat,
    /// It grew.
    Grew,
    /// There are too few samples to tell.
    Unknown,
}

/// Samples of a third at least: fewer say nothing.
const SAMPLES_MIN: usize = 10;

/// Samples that slopes are taken between: a slope of so many is as good, and all pairs of more take long.
const SLOPE_SAMPLES_MAX: usize = 1_000;

/// Judges samples of a quantity, `(seconds, value)` in the order of time, of a run of `length_s` seconds.
pub(super) fn judge(samples: &[(f64, f64)], length_s: f64, bound: Bound) -> Judgement {
    let third = length_s / 3.0;
    let between = |from: f64, to: f64| samples.iter().filter(move |(at, _)| (from..to).contains(at)).copied();
    let values = |from, to| between(from, to).map(|(_, value)| value).collect::<Vec<_>>();
    let (second, last) = (values(third, 2.0 * third), values(2.0 * third, f64::INFINITY));
    let enough = second.len().min(last.len()) >= SAMPLES_MIN;
    let (second, last) = (quartile(second, bound.quartile), quartile(last, bound.quartile));
    let trend = slope(&between(third, f64::INFINITY).collect::<Vec<_>>()) * third;
    let allowed = second.abs() * bound.share + bound.slack;
    let grew = last - second > allowed && trend > allowed;
    let verdict = match (enough, grew) {
        (false, _) => Verdict::Unknown,
        (true, true) => Verdict::Grew,
        (true, false) => Verdict::Flat,
    };
    Judgement { second, last, trend, allowed, verdict }
}

/// The quartile of these values, the one below if it lies between two; 0 of none.
fn quartile(mut values: Vec<f64>, quartile: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = values.len().saturating_sub(1) * quartile / 4;
    values.get(at).copied().unwrap_or(0.0)
}

/// The slope after Theil and Sen; 0 of fewer than two samples.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let step = samples.len().div_ceil(SLOPE_SAMPLES_MAX).max(1);
    let samples: Vec<_> = samples.iter().step_by(step).collect();
    let pairs = samples.iter().enumerate().flat_map(|(index, one)| {
        samples[index + 1..].iter().filter(|two| two.0 > one.0).map(|two| (two.1 - one.1) / (two.0 - one.0))
    });
    quartile(pairs.collect(), 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound { share: 0.1, slack: 5.0, quartile: 2 };

    /// A sample each second of ten minutes.
    fn series(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..600).map(|second| (f64::from(second), value(f64::from(second)))).collect()
    }

    fn verdict(samples: &[(f64, f64)]) -> Verdict {
        judge(samples, 600.0, BOUND).verdict
    }

    /// Numbers between -1 and 1 that look like chance.
    fn noise(at: f64) -> f64 {
        (at * 12.9898).sin() * (at * 78.233).cos()
    }

    #[test]
    fn a_growing_series_is_found() {
        assert_eq!(verdict(&series(|at| 100.0 + at / 10.0)), Verdict::Grew);
        assert_eq!(verdict(&series(|at| 100.0 + at / 10.0 + 30.0 * noise(at))), Verdict::Grew);
        // From nothing on, as a queue that is never emptied.
        assert_eq!(verdict(&series(|at| at)), Verdict::Grew);
        // In steps, as a table that is doubled when it is full.
        assert_eq!(verdict(&series(|at| 100.0 + 15.0 * (at / 100.0).floor())), Verdict::Grew);
    }

    #[test]
    fn what_grew_by_less_than_it_may_is_flat() {
        let judgement = judge(&series(|at| 100.0 + at / 20.0), 600.0, BOUND);
        assert_eq!(judgement.verdict, Verdict::Flat, "{judgement:?}");
        assert!((judgement.last - judgement.second - 10.0).abs() < 0.1, "{judgement:?}");
        assert!((judgement.trend - 10.0).abs() < 0.1, "{judgement:?}");
    }

    #[test]
    fn warming_up_noise_and_a_saw_are_flat() {
        assert_eq!(verdict(&series(|at| 100.0 * (at / 150.0).min(1.0))), Verdict::Flat);
        assert_eq!(verdict(&series(|at| 100.0 + 60.0 * noise(at))), Verdict::Flat);
        assert_eq!(verdict(&series(|at| 100.0 + at % 37.0)), Verdict::Flat);
        assert_eq!(verdict(&series(|at| 500.0 - at / 2.0)), Verdict::Flat);
    }

    #[test]
    fn a_machine_that_is_busy_for_a_while_is_no_growth() {
        assert_eq!(verdict(&series(|at| if at < 500.0 { 10.0 } else { 80.0 })), Verdict::Flat);
        assert_eq!(verdict(&series(|at| if at % 50.0 < 1.0 { 10_000.0 } else { 10.0 })), Verdict::Flat);
    }

    #[test]
    fn a_gap_in_the_samples_is_no_growth() {
        let samples: Vec<_> = series(|at| 100.0 + 3.0 * noise(at))
            .into_iter()
            .filter(|(at, _)| !(250.0..310.0).contains(at))
            .collect();
        assert_eq!(verdict(&samples), Verdict::Flat);
    }

    #[test]
    fn too_few_samples_say_nothing() {
        assert_eq!(verdict(&[]), Verdict::Unknown);
        let few: Vec<_> = series(|at| at).into_iter().step_by(60).collect();
        assert_eq!(verdict(&few), Verdict::Unknown);
    }
}
