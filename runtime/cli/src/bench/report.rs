//! What a benchmark prints. Rates are per second, times of percentiles in milliseconds.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::Run;
use crate::output::Output;

/// What is printed of a workload.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    name: &'static str,
    events: u64,
    /// Of the median run.
    #[serde(serialize_with = "whole")]
    events_per_second: f64,
    /// Of the best run.
    #[serde(serialize_with = "whole")]
    best_events_per_second: f64,
    /// Of the median run, all threads of the runtime.
    #[serde(serialize_with = "thousandths")]
    cpu_us_per_event: f64,
    /// Syncs of the journal in the median run.
    syncs: u64,
    /// Records of the same size that the disk takes, in groups of 1 MiB with a checksum and a sync each, per
    /// second: the median of measurements before each run.
    #[serde(serialize_with = "whole")]
    pub(super) floor: f64,
    /// `events_per_second` over `floor`.
    #[serde(serialize_with = "thousandths")]
    ratio: f64,
    /// From sending an event to seeing what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latency_ms: Option<Percentiles>,
    /// A write of 64 KiB with its sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sync_ms: Option<Percentiles>,
    /// Resident memory of an instance beyond the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_per_instance: Option<u64>,
    /// The rate of the last tenth of the events over that of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_tenth: Option<f64>,
    /// What a vice beside leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    beside: Option<BesideVice>,
}

/// What a handler keeps beside a vice, over what it has alone.
#[derive(Clone, Copy, Debug, Serialize)]
struct BesideVice {
    /// Of its rate.
    #[serde(serialize_with = "thousandths")]
    rate_ratio: f64,
    /// Of its 99th percentile of latency.
    #[serde(serialize_with = "thousandths")]
    p99_ratio: f64,
}

/// Percentiles of times, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Percentiles {
    #[serde(serialize_with = "thousandths")]
    p50: f64,
    #[serde(serialize_with = "thousandths")]
    p99: f64,
    #[serde(serialize_with = "thousandths")]
    p999: f64,
}

impl Percentiles {
    /// Of these times; `None` if there are none.
    pub(super) fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let at = |per_mille: usize| {
            let index = (times.len() * per_mille).div_ceil(1000).max(1) - 1;
            times.get(index).map(|time| time.as_secs_f64() * 1e3)
        };
        Some(Self { p50: at(500)?, p99: at(990)?, p999: at(999)? })
    }
}

impl Measured {
    /// What one run gave; its floor is filled in later.
    pub(super) fn new(name: &'static str, run: Run) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people: 53 bits are plenty")]
        let events = run.events as f64;
        let rate = events / run.seconds;
        Self {
            name,
            events: run.events,
            events_per_second: rate,
            best_events_per_second: rate,
            cpu_us_per_event: run.usage.cpu_seconds * 1e6 / events,
            syncs: run.usage.syncs,
            floor: 0.0,
            ratio: 0.0,
            latency_ms: None,
            sync_ms: None,
            bytes_per_instance: None,
            last_tenth: None,
            beside: None,
        }
    }

    /// The median of several runs, by rate or where it is the point by latency, beside the median of the floors.
    pub(super) fn median(mut runs: Vec<Self>) -> Self {
        let mut floors: Vec<f64> = runs.iter().map(|run| run.floor).collect();
        floors.sort_by(f64::total_cmp);
        let floor = floors[floors.len() / 2];
        let best = runs.iter().map(|run| run.events_per_second).fold(0.0, f64::max);
        let badness = |run: &Self| run.latency_ms.map_or(-run.events_per_second, |latency| latency.p99);
        runs.sort_by(|one, two| badness(one).total_cmp(&badness(two)));
        let median = runs.swap_remove(runs.len() / 2);
        let ratio = median.events_per_second / floor;
        Self { best_events_per_second: best, floor, ratio, ..median }
    }

    /// Notes what is left of the rate and the latency that the same work has `alone`.
    pub(super) fn compare_with(&mut self, alone: &Self) {
        let rate_ratio = self.events_per_second / alone.events_per_second;
        self.beside = self
            .latency_ms
            .zip(alone.latency_ms)
            .map(|(latency, alone)| BesideVice { rate_ratio, p99_ratio: latency.p99 / alone.p99 });
    }

    /// What a workload is about, if that is not its rate.
    fn remark(&self) -> String {
        let percentiles =
            |of: Percentiles| format!("p50 {:.2}, p99 {:.2}, p99.9 {:.2} ms", of.p50, of.p99, of.p999);
        let mut parts = Vec::new();
        parts.extend(self.beside.map(|beside| {
            format!("{:.2} of the rate alone, {:.2} of its p99", beside.rate_ratio, beside.p99_ratio)
        }));
        parts.extend(self.latency_ms.map(percentiles));
        parts.extend(self.sync_ms.map(|sync| format!("sync of 64 KiB {}", percentiles(sync))));
        parts.extend(self.bytes_per_instance.map(|bytes| format!("{} KiB per instance", bytes >> 10)));
        parts.extend(self.last_tenth.map(|ratio| format!("last tenth {ratio:.2} of the first")));
        parts.join("; ")
    }
}

/// Prints what was measured.
pub(super) fn show(measured: &[Measured], output: Output) -> Result<()> {
    let mut rows = serde_json::to_value(measured)?;
    if output == Output::Table {
        let objects = rows.as_array_mut().into_iter().flatten();
        objects.zip(measured).for_each(|(row, measured)| row["remark"] = measured.remark().into());
    }
    output.rows(
        &rows,
        &[
            ("WORKLOAD", "/name"),
            ("EVENTS", "/events"),
            ("EVENTS/S", "/events_per_second"),
            ("BEST", "/best_events_per_second"),
            ("CPU US/EVENT", "/cpu_us_per_event"),
            ("SYNCS", "/syncs"),
            ("FLOOR", "/floor"),
            ("RATIO", "/ratio"),
            ("", "/remark"),
        ],
    )
}

/// A rate without its fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::trivially_copy_pass_by_ref,
    reason = "rates are positive and far below 2^53; serde passes a reference"
)]
fn whole<S: serde::Serializer>(rate: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(rate.round() as u64)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn thousandths<S: serde::Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((value * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::super::Usage;
    use super::*;

    fn run(seconds: f64) -> Measured {
        let usage = Usage { cpu_seconds: 2.0, syncs: 5 };
        Measured { floor: 10.0 * seconds, ..Measured::new("w1", Run::new(1_000_000, seconds, usage)) }
    }

    #[test]
    fn the_median_run_counts_beside_the_median_floor() {
        let median = Measured::median(vec![run(4.0), run(1.0), run(2.0)]);
        let row = serde_json::to_value(&median).unwrap();
        assert_eq!(row["events_per_second"], 500_000);
        assert_eq!(row["best_events_per_second"], 1_000_000);
        assert_eq!((&row["floor"], &row["ratio"]), (&20.into(), &25_000.0.into()));
        assert_eq!((&row["cpu_us_per_event"], &row["syncs"]), (&2.0.into(), &5.into()));
    }

    #[test]
    fn what_is_kept_beside_a_vice_is_told_over_what_is_had_alone() {
        let with_p99 = |seconds: f64, p99: f64| Measured {
            latency_ms: Some(Percentiles { p50: 1.0, p99, p999: 9.0 }),
            ..run(seconds)
        };
        let mut beside = with_p99(2.0, 3.0);
        beside.compare_with(&with_p99(1.0, 2.0));
        let row = serde_json::to_value(&beside).unwrap();
        assert_eq!(row["beside"], serde_json::json!({ "rate_ratio": 0.5, "p99_ratio": 1.5 }));
        assert!(beside.remark().starts_with("0.50 of the rate alone, 1.50 of its p99; "));
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times = (1..=1000).map(Duration::from_millis).collect();
        let found = serde_json::to_value(Percentiles::of(times)).unwrap();
        assert_eq!(found, serde_json::json!({ "p50": 500.0, "p99": 990.0, "p999": 999.0 }));
        assert!(Percentiles::of(Vec::new()).is_none());
    }
}
