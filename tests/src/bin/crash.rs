//! `cargo xtask crash`: kills the real binary under load, or cuts its power, and checks that nothing is lost and
//! nothing twice.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::json;
use tidemill_tests::crash::{CrashOptions, Fault, Report, run};

/// Power cuts within which a built-in fault must be found.
const CONTROL_CUTS: u64 = 100;

/// Kills a runtime under load, again and again, and checks what is there after each restart.
#[derive(Parser)]
struct Arguments {
    /// How often to kill.
    #[arg(long, default_value_t = 200)]
    kills: u64,
    /// How often to cut the power, instead of killing.
    #[arg(long)]
    power_cuts: Option<u64>,
    /// Cuts the power with each of the built-in faults, and fails if one of them is not found.
    #[arg(long, conflicts_with = "power_cuts")]
    controls: bool,
    /// The seed of every choice; drawn if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Where to write the report as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
    /// The tidemill binary.
    #[arg(long)]
    binary: PathBuf,
    /// The directory of passthrough.wasm, aggregate.wasm and flaky.wasm.
    #[arg(long)]
    components: PathBuf,
    /// The power-cut library.
    #[arg(long)]
    library: PathBuf,
}

fn main() -> ExitCode {
    match crash(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn crash(arguments: &Arguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    if arguments.controls {
        return Fault::ALL.into_iter().try_for_each(|fault| control(arguments, seed, fault));
    }
    let scratch = tempfile::tempdir()?;
    let options = CrashOptions {
        binary: arguments.binary.clone(),
        components: arguments.components.clone(),
        scratch: scratch.path().to_owned(),
        blows: arguments.power_cuts.unwrap_or(arguments.kills),
        library: arguments.power_cuts.map(|_| arguments.library.clone()),
        fault: Fault::None,
        seed,
    };
    let started = Instant::now();
    let report = run(&options).inspect_err(|_| {
        println!("the store is kept in {}", scratch.keep().display());
    })?;
    print(&report, started.elapsed());
    if let Some(path) = &arguments.report {
        fs::write(path, as_json(&report, seed, started.elapsed()))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Runs with a fault, which must be found.
fn control(arguments: &Arguments, seed: u64, fault: Fault) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let options = CrashOptions {
        binary: arguments.binary.clone(),
        components: arguments.components.clone(),
        scratch: scratch.path().to_owned(),
        blows: CONTROL_CUTS,
        library: Some(arguments.library.clone()),
        fault,
        seed,
    };
    let started = Instant::now();
    match run(&options) {
        Ok(_) => bail!("{fault:?} was not found in {CONTROL_CUTS} power cuts: the harness proves nothing"),
        Err(error) => {
            let said = error.to_string();
            let last = said.lines().last().unwrap_or_default();
            println!(
                "{fault:?} was found after {:.1} s: {last}: {:#}",
                started.elapsed().as_secs_f64(),
                error.root_cause()
            );
            Ok(())
        }
    }
}

fn print(report: &Report, took: Duration) {
    for (point, kills) in &report.kills {
        let took = report.cycles.get(point).copied().unwrap_or_default();
        println!("{kills:>6} x {point}, {} ms each", took.as_millis() / u128::from(*kills));
    }
    if report.cuts > 0 {
        let power = &report.power;
        println!(
            "{} writes, {} syncs ({} made to fail), {} directory syncs",
            power.writes, power.syncs, power.failed_syncs, power.directory_syncs
        );
        println!(
            "at the cuts {} of {} unsynced pages and {} of {} unsynced changes of names were lost",
            power.pages_lost, power.pages, power.operations_lost, power.operations
        );
    }
    println!("{} settled segments were found, {} deaths left a copy behind", report.settled, report.copies);
    let checks = report.checks.as_millis() / report.recoveries.len().max(1) as u128;
    println!(
        "start to ready: p50 {} ms, p99 {} ms; then {checks} ms to check",
        recovery_ms(report, 50),
        recovery_ms(report, 99)
    );
    println!("{} events in {:.0} s: lost 0, doubled 0, out of order 0", report.events, took.as_secs_f64());
}

fn as_json(report: &Report, seed: u64, took: Duration) -> String {
    let power = &report.power;
    json!({
        "seed": seed,
        "seconds": took.as_secs_f64(),
        "kills": report.kills,
        "power_cuts": report.cuts,
        "writes": power.writes,
        "syncs": power.syncs,
        "failed_syncs": power.failed_syncs,
        "directory_syncs": power.directory_syncs,
        "unsynced_pages": power.pages,
        "lost_pages": power.pages_lost,
        "unsynced_names": power.operations,
        "lost_names": power.operations_lost,
        "start_to_ready_ms": { "p50": recovery_ms(report, 50), "p99": recovery_ms(report, 99) },
        "settled_segments": report.settled,
        "settled_copies_left": report.copies,
        "events": report.events,
    })
    .to_string()
}

/// A percentile of the time from start to ready.
fn recovery_ms(report: &Report, percent: usize) -> u128 {
    let mut recoveries = report.recoveries.clone();
    recoveries.sort_unstable();
    let at = recoveries.len().saturating_sub(1) * percent / 100;
    recoveries.get(at).map_or(0, Duration::as_millis)
}
