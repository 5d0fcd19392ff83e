//! `cargo xtask soak`: keeps the real binary busy with everything at once at half of its peak rate, for long, and checks
//! that nothing is lost or doubled and that memory, descriptors, disk and latency stay flat.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use tidemill_tests::soak::{Report, SERIES, Sample, SoakOptions, Verdict, csv, draw, run};

/// Seconds between two lines about how it goes.
const TELL_S: f64 = 10.0;

/// Runs a runtime for long with everything at work, and checks that nothing grows.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Arguments {
    /// How long, in minutes, not counting the peak rate.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Events a second; without it, half of the peak rate, which is measured first.
    #[arg(long)]
    rate: Option<f64>,
    /// The seed of what events say and of what is reloaded; drawn if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// What becomes of the events of the topic of counts: superseded ones go, or old ones as of all other topics.
    #[arg(long, default_value = "compact", value_parser = ["compact", "delete"])]
    policy: String,
    /// Where soak.svg and soak.csv go.
    #[arg(long)]
    report: PathBuf,
    /// The tidemill binary.
    #[arg(long)]
    binary: PathBuf,
    /// The directory of the handlers' components.
    #[arg(long)]
    components: PathBuf,
}

fn main() -> ExitCode {
    match soak(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak(arguments: Arguments) -> Result<()> {
    ensure!(arguments.minutes > 0.0, "--minutes must be more than nothing");
    ensure!(arguments.rate.is_none_or(|rate| rate > 0.0), "--rate must be more than nothing");
    fs::create_dir_all(&arguments.report)
        .with_context(|| format!("making {}", arguments.report.display()))?;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let scratch = tempfile::tempdir()?;
    let options = SoakOptions {
        binary: arguments.binary,
        components: arguments.components,
        scratch: scratch.path().to_owned(),
        length: Duration::from_secs_f64(arguments.minutes * 60.0),
        rate: arguments.rate,
        policy: arguments.policy,
        seed,
    };
    let samples = Mutex::new(Vec::new());
    let report = run(&options, &|sample| tell(sample, &samples));
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            println!("the store is kept in {}", scratch.keep().display());
            let samples = samples.into_inner().unwrap_or_else(PoisonError::into_inner);
            write(&arguments.report, &samples, "a run that failed")?;
            return Err(error);
        }
    };
    let grew = print(&report);
    write(&arguments.report, &report.samples, &title(&report, &grew))?;
    at_work(&report, &options.policy)?;
    if !grew.is_empty() {
        bail!("{} grew from the second third of the run to the last", grew.join(", "));
    }
    Ok(())
}

/// Keeps a sample, and prints a line now and then, so that somebody who watches sees that it goes on.
fn tell(sample: &Sample, samples: &Mutex<Vec<Sample>>) {
    samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample.clone());
    if sample.at_s % TELL_S < sample.interval_s {
        println!(
            "{:>6.0} s: {:>8.0} events/s, p50 {:>6.1} ms, p99 {:>6.1} ms, {:>7.0} wait, {:>5.0} MiB in memory, {:>5.0} on disk, \
             {:>3.0} descriptors",
            sample.at_s,
            sample.published,
            sample.p50_ms,
            sample.p99_ms,
            sample.lag,
            sample.resident_mib,
            sample.journal_mib + sample.tables_mib,
            sample.descriptors
        );
    }
}

/// Prints what happened and what was made of it; returns what grew.
fn print(report: &Report) -> Vec<&'static str> {
    if let Some(peak) = report.peak {
        println!("peak {peak:.0} events/s, ran at {:.0}", report.rate);
    }
    println!("{:<12} {:>10} {:>10} {:>10} {:>9}  ", "", "second 1/3", "last 1/3", "slope", "may grow");
    let mut grew = Vec::new();
    for series in &SERIES {
        let Some(judged) = series.judge(&report.samples) else { continue };
        let verdict = match judged.verdict {
            Verdict::Flat => "flat",
            Verdict::Grew => "GREW",
            Verdict::Unknown => "too few samples",
        };
        println!(
            "{:<12} {:>10.1} {:>10.1} {:>+10.1} {:>9.1}  {verdict} {}",
            series.name, judged.second, judged.last, judged.trend, judged.allowed, series.unit
        );
        if judged.verdict == Verdict::Grew {
            grew.push(series.name);
        }
    }
    if report.held_back > 0 {
        println!("publishers were held back {} times: it did not always keep up", report.held_back);
    }
    for (topic, missed) in report.missed.iter().filter(|(_, missed)| *missed > 0) {
        println!("{missed} events of {topic} went before they were followed");
    }
    let last = report.samples.last().cloned().unwrap_or_default();
    println!(
        "{} versions and {} broken files; {} checkpoints, {} segments released, {} settled; {} events given up, {} tried again; \
         retention took {} events, {} are left in the topic of counts",
        report.versions,
        report.broken,
        last.checkpoints,
        last.released,
        last.settled,
        last.dead_letters,
        last.retries,
        report.retired,
        report.counts
    );
    println!("{} events: lost 0, doubled 0, out of order 0", report.events);
    grew
}

/// A run in which something did not happen proves nothing about it.
fn at_work(report: &Report, policy: &str) -> Result<()> {
    let (Some(first), Some(last)) = (report.samples.first(), report.samples.last()) else {
        bail!("there are no samples");
    };
    let happened = [
        ("checkpoints", last.checkpoints - first.checkpoints),
        ("settling", last.settled - first.settled),
        ("dead letters", last.dead_letters),
        ("retries", last.retries),
        ("reloads", last.reloads),
    ];
    ensure!(report.retired > 0, "retention took nothing in this run: it must be longer, or faster");
    // Without a compacted topic whole segments go, and there may be nothing to settle.
    let is_due = |name: &str| name != "settling" || policy == "compact";
    let idle = happened.iter().filter(|(name, count)| *count <= 0.0 && is_due(name));
    let idle: Vec<_> = idle.map(|(name, _)| *name).collect();
    ensure!(idle.is_empty(), "there was no {} in this run: it must be longer, or faster", idle.join(", no "));
    Ok(())
}

/// What stands above the plots.
fn title(report: &Report, grew: &[&str]) -> String {
    let verdict = if grew.is_empty() { "flat".to_owned() } else { format!("grew: {}", grew.join(", ")) };
    let minutes = report.samples.last().map_or(0.0, |sample| sample.at_s / 60.0);
    format!(
        "tidemill soak: {minutes:.0} minutes at {:.0} events/s, {verdict}\n{} events, {} versions of handlers and {} broken \
         files; the grey part is warm-up and is not judged",
        report.rate, report.events, report.versions, report.broken
    )
}

fn write(directory: &Path, samples: &[Sample], title: &str) -> Result<()> {
    for (name, text) in [("soak.svg", draw(samples, title)?), ("soak.csv", csv(samples))] {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}
