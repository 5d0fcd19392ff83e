//! `tidemill bench`: how fast this machine runs Tidemill, each workload beside what its disk allows. Every
//! figure comes from a `tidemill run` of this same binary, durable and exactly-once, driven over HTTP.

mod child;
mod events;
mod floor;
mod latency;
mod memory;
mod publish;
mod report;
mod through;
mod vices;
mod workload;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::output::Output;

use child::Usage;
use report::{Measured, Percentiles};
use workload::Workload;

/// What to measure, and how much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Workloads to run; all but `vices` if none is named.
    #[arg(value_enum, value_name = "WORKLOAD")]
    pub(crate) workloads: Vec<Workload>,
    /// The first-party plugins, as `cargo xtask plugins` builds them.
    #[arg(long, value_name = "DIR", default_value = "target/plugins")]
    pub(crate) plugins: PathBuf,
    /// The guests that misbehave, for `vices`, as `cargo xtask bench` builds them.
    #[arg(long, value_name = "DIR", default_value = "target/guests")]
    pub(crate) guests: PathBuf,
    /// Events of each run; `backlog` takes five times as many, `latency` at most half a minute's.
    #[arg(long, value_name = "COUNT", default_value_t = 4_000_000)]
    pub(crate) events: u64,
    /// Runs of each workload; the median counts.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub(crate) runs: usize,
    /// Where the stores of the runs are kept while they run: the disk that is measured.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) scratch: PathBuf,
}

/// One run of a workload.
#[derive(Clone, Copy, Debug)]
struct Run {
    events: u64,
    /// Wall time, in seconds.
    seconds: f64,
    /// What the runtime used.
    usage: Usage,
}

impl Run {
    fn new(events: u64, seconds: f64, usage: Usage) -> Self {
        Self { events, seconds, usage }
    }
}

/// Runs the workloads one after the other and prints what came out.
pub(crate) async fn bench(args: &BenchArgs, output: Output) -> Result<()> {
    let workloads = if args.workloads.is_empty() { &Workload::ALL[..] } else { &args.workloads };
    let mut measured = Vec::new();
    for &workload in workloads {
        let name = workload.name();
        measured.extend(workload.measure(args).await.with_context(|| format!("workload {name}"))?);
    }
    report::show(&measured, output)
}
