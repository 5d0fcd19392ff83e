//! `tidemill bench`: how fast this machine runs Tidemill, each workload beside what its disk allows. Every
//! figure comes from a `tidemill run` of this same binary, durable and exactly-once, driven over HTTP.

mod child;
mod events;
mod floor;
mod publish;
mod w1;

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::output::Output;

/// What to measure, and how much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Workloads to run; all if none is named.
    #[arg(value_enum, value_name = "WORKLOAD")]
    pub(crate) workloads: Vec<Workload>,
    /// The component that passes every event on, as `cargo xtask plugins` builds it.
    #[arg(long, value_name = "FILE", default_value = "target/plugins/passthrough.wasm")]
    pub(crate) passthrough: PathBuf,
    /// Events of each run.
    #[arg(long, value_name = "COUNT", default_value_t = 4_000_000)]
    pub(crate) events: u64,
    /// Runs of each workload; the median counts.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub(crate) runs: usize,
    /// Where the stores of the runs are kept while they run: the disk that is measured.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) scratch: PathBuf,
}

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Workload {
    /// Publish over HTTP as NDJSON, each answer durable.
    Publish,
    /// Topic to guest to topic, event by event, over 16 partitions.
    W1,
    /// The same over 1 partition.
    #[value(name = "w1-1")]
    W1One,
    /// The same over 64 partitions.
    #[value(name = "w1-64")]
    W1Some,
    /// The same over 1,000 partitions.
    #[value(name = "w1-1000")]
    W1Many,
}

impl Workload {
    const ALL: [Self; 5] = [Self::Publish, Self::W1, Self::W1One, Self::W1Some, Self::W1Many];

    fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::W1 => "w1",
            Self::W1One => "w1-1",
            Self::W1Some => "w1-64",
            Self::W1Many => "w1-1000",
        }
    }
}

/// One run of a workload.
pub(super) struct Run {
    /// Wall time, in seconds.
    seconds: f64,
    /// Processor time of all threads of the runtime, in seconds.
    cpu_seconds: f64,
}

/// What is printed of a workload.
#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    events: u64,
    /// Of the median run.
    events_per_second: u64,
    /// Of the best run.
    best_events_per_second: u64,
    /// Of the median run, all threads of the runtime.
    cpu_us_per_event: f64,
    /// Records of the same size that the disk takes, in groups of 1 MiB with a checksum and a sync each, per
    /// second: the median of measurements before each run.
    floor: u64,
    /// `events_per_second` over `floor`.
    ratio: f64,
}

/// Runs the workloads one after the other and prints what came out.
pub(crate) async fn bench(args: &BenchArgs, output: Output) -> Result<()> {
    let workloads = if args.workloads.is_empty() { &Workload::ALL[..] } else { &args.workloads };
    let mut measured = Vec::new();
    for &workload in workloads {
        measured
            .push(measure(workload, args).await.with_context(|| format!("workload {}", workload.name()))?);
    }
    let rows = serde_json::to_value(&measured)?;
    output.rows(
        &rows,
        &[
            ("WORKLOAD", "/name"),
            ("EVENTS", "/events"),
            ("EVENTS/S", "/events_per_second"),
            ("BEST", "/best_events_per_second"),
            ("CPU US/EVENT", "/cpu_us_per_event"),
            ("FLOOR", "/floor"),
            ("RATIO", "/ratio"),
        ],
    )
}

async fn measure(workload: Workload, args: &BenchArgs) -> Result<Measured> {
    let (mut runs, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..args.runs.max(1) {
        floors.push(floor::records_per_second(&args.scratch)?);
        runs.push(match workload {
            Workload::Publish => publish::run(args).await?,
            Workload::W1 => w1::run(args, 16).await?,
            Workload::W1One => w1::run(args, 1).await?,
            Workload::W1Some => w1::run(args, 64).await?,
            Workload::W1Many => w1::run(args, 1_000).await?,
        });
    }
    runs.sort_by(|one, two| one.seconds.total_cmp(&two.seconds));
    floors.sort_by(f64::total_cmp);
    let (median, best) = (&runs[runs.len() / 2], &runs[0]);
    let floor = floors[floors.len() / 2];
    #[expect(clippy::cast_precision_loss, reason = "a rate for people: 53 bits are plenty")]
    let events = args.events as f64;
    let thousandths = |value: f64| (value * 1e3).round() / 1e3;
    Ok(Measured {
        name: workload.name(),
        events: args.events,
        events_per_second: whole(events / median.seconds),
        best_events_per_second: whole(events / best.seconds),
        cpu_us_per_event: thousandths(median.cpu_seconds * 1e6 / events),
        floor: whole(floor),
        ratio: thousandths(events / median.seconds / floor),
    })
}

/// A rate without its fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are positive and far below 2^53"
)]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}
