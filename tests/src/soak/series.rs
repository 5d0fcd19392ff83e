//! The quantities of a sample by name: what the table, the files and the plots show, and how far each may grow from the
//! second third of a run to the last, with the reason.

use std::fmt::Write;

use super::sample::Sample;
use super::verdict::{Bound, Judgement, judge};

/// A sample that took longer to come, in seconds, is not judged: the harness, the runtime or both stood still.
pub(super) const GAP_S: f64 = 3.0;

/// One quantity.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Its value in a sample; not a number if there was none.
    pub value: fn(&Sample) -> f64,
    /// How far it may grow; without a bound it is shown only.
    pub bound: Option<Bound>,
}

impl Series {
    /// What is made of this quantity in a run; nothing if it has no bound.
    pub fn judge(&self, samples: &[Sample]) -> Option<Judgement> {
        let judged = samples.iter().filter(|sample| sample.interval_s < GAP_S);
        let points: Vec<_> = judged
            .map(|sample| (sample.at_s, (self.value)(sample)))
            .filter(|(_, value)| value.is_finite())
            .collect();
        let length_s = samples.last().map_or(0.0, |sample| sample.at_s);
        Some(judge(&points, length_s, self.bound?))
    }
}

const fn shown(name: &'static str, unit: &'static str, value: fn(&Sample) -> f64) -> Series {
    Series { name, unit, value, bound: None }
}

const fn judged(name: &'static str, unit: &'static str, value: fn(&Sample) -> f64, bound: Bound) -> Series {
    Series { name, unit, value, bound: Some(bound) }
}

/// Memory: a twentieth, for the allocator keeps what the busiest moment needed; and 8 MiB, the blocks that pass while
/// one thread stands still.
const MEMORY: Bound = Bound { share: 0.05, slack: 8.0, quartile: 2 };

/// Descriptors: those of a handful of segments and table files more, as a compaction has them open at once.
const DESCRIPTORS: Bound = Bound { share: 0.1, slack: 8.0, quartile: 2 };

/// Threads: all are there from the beginning, but for those that wait for the disk for a request, one for each of the
/// harness's connections when a busy machine lets all overlap, and those of one compilation.
const THREADS: Bound = Bound { share: 0.0, slack: 20.0, quartile: 2 };

/// The journal: what retention keeps, and a few segments of 4 MiB more or less for what waits for a checkpoint.
const JOURNAL: Bound = Bound { share: 0.05, slack: 16.0, quartile: 2 };

/// The tables: a levelled tree is a saw, what was deleted goes with the next compaction of its level.
const TABLES: Bound = Bound { share: 0.25, slack: 16.0, quartile: 2 };

/// Files: segments as the journal, and tables as the saw.
const FILES: Bound = Bound { share: 0.1, slack: 16.0, quartile: 2 };

/// Latency: of the quieter intervals, half as much again. What grows with the length of the run grows by two thirds
/// from the middle of the second third to that of the last if it began at nothing. The slack is that of syncs on a disk
/// which others use.
const P50: Bound = Bound { share: 0.5, slack: 3.0, quartile: 1 };

/// The same of the slowest in a hundred, among which are those that met a reload or a checkpoint.
const P99: Bound = Bound { share: 0.5, slack: 15.0, quartile: 1 };

/// What waits: as latency; the slack is a moment's events at the usual rates.
const LAG: Bound = Bound { share: 0.5, slack: 5_000.0, quartile: 1 };

/// Processor time of an event: caches of the processor and a disk that others use make a quarter.
const PROCESSOR: Bound = Bound { share: 0.25, slack: 2.0, quartile: 1 };

/// All quantities.
pub const SERIES: [Series; 21] = [
    shown("published", "events/s", |sample| sample.published),
    shown("seen", "events/s", |sample| sample.seen),
    judged("p50", "ms", |sample| sample.p50_ms, P50),
    judged("p99", "ms", |sample| sample.p99_ms, P99),
    judged("lag", "events", |sample| sample.lag, LAG),
    judged("memory", "MiB", |sample| sample.resident_mib, MEMORY),
    judged("anonymous", "MiB", |sample| sample.anonymous_mib, MEMORY),
    judged("descriptors", "", |sample| sample.descriptors, DESCRIPTORS),
    judged("threads", "", |sample| sample.threads, THREADS),
    judged("processor", "µs/event", |sample| sample.cpu_us, PROCESSOR),
    judged("journal", "MiB", |sample| sample.journal_mib, JOURNAL),
    judged("tables", "MiB", |sample| sample.tables_mib, TABLES),
    judged("files", "", |sample| sample.files, FILES),
    // A hundred compiled components are kept, which a run of less than ten minutes does not have.
    shown("cache", "MiB", |sample| sample.cache_mib),
    shown("dead-letters", "", |sample| sample.dead_letters),
    shown("retries", "", |sample| sample.retries),
    shown("reloads", "", |sample| sample.reloads),
    shown("checkpoints", "", |sample| sample.checkpoints),
    shown("released", "segments", |sample| sample.released),
    shown("settled", "segments", |sample| sample.settled),
    shown("load", "", |sample| sample.load),
];

/// The samples as comma-separated values, with a line of names.
pub fn csv(samples: &[Sample]) -> String {
    let mut text = String::from("seconds,interval");
    for series in &SERIES {
        write!(text, ",{}", series.name).expect("writing to memory does not fail");
    }
    for sample in samples {
        write!(text, "\n{:.3},{:.3}", sample.at_s, sample.interval_s)
            .expect("writing to memory does not fail");
        for series in &SERIES {
            let value = (series.value)(sample);
            let value = if value.is_finite() { format!("{value:.3}") } else { String::new() };
            write!(text, ",{value}").expect("writing to memory does not fail");
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Verdict;
    use super::*;

    fn samples(change: impl Fn(f64, &mut Sample)) -> Vec<Sample> {
        let sample = |second: u32| {
            let at_s = f64::from(second);
            let mut sample =
                Sample { at_s, interval_s: 1.0, anonymous_mib: 200.0, p50_ms: 4.0, ..Sample::default() };
            change(at_s, &mut sample);
            sample
        };
        (1..=600).map(sample).collect()
    }

    fn grew(samples: &[Sample]) -> Vec<&'static str> {
        let grew =
            |series: &&Series| series.judge(samples).is_some_and(|found| found.verdict == Verdict::Grew);
        SERIES.iter().filter(grew).map(|series| series.name).collect()
    }

    #[test]
    fn each_leak_is_found_and_named() {
        assert!(grew(&samples(|_, _| {})).is_empty());
        // 10 MiB a minute, a descriptor in four seconds, the disk by 1 MiB a second, latency from the run's length.
        assert_eq!(grew(&samples(|at, sample| sample.anonymous_mib += at / 6.0)), ["anonymous"]);
        assert_eq!(grew(&samples(|at, sample| sample.descriptors += (at / 4.0).floor())), ["descriptors"]);
        assert_eq!(grew(&samples(|at, sample| sample.journal_mib += at)), ["journal"]);
        assert_eq!(grew(&samples(|at, sample| sample.p50_ms += at / 10.0)), ["p50"]);
    }

    #[test]
    fn what_stood_still_is_not_judged() {
        let stopped = samples(|at, sample| {
            if at > 300.0 && at % 2.0 < 1.0 {
                (sample.interval_s, sample.p50_ms) = (30.0, 30_000.0);
            }
        });
        assert!(grew(&stopped).is_empty());
    }

    #[test]
    fn every_sample_is_a_line_with_every_quantity() {
        let text = csv(&samples(|_, sample| sample.p99_ms = f64::NAN)[..2]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.split(',').count() == SERIES.len() + 2), "{text}");
        assert!(lines[1].starts_with("1.000,1.000,0.000,0.000,4.000,,"), "{text}");
    }
}
