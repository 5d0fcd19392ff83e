//! `cargo xtask crash`: kills the real binary under load and checks that nothing is lost and nothing twice.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tidemill_tests::crash::{CrashOptions, run};

/// Kills a runtime under load, again and again, and checks what is there after each restart.
#[derive(Parser)]
struct Arguments {
    /// How often to kill.
    #[arg(long, default_value_t = 200)]
    kills: u64,
    /// The seed of every choice; drawn if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// The tidemill binary.
    #[arg(long)]
    binary: PathBuf,
    /// The directory of passthrough.wasm, aggregate.wasm and flaky.wasm.
    #[arg(long)]
    components: PathBuf,
}

fn main() -> ExitCode {
    match crash(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn crash(arguments: Arguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let scratch = tempfile::tempdir()?;
    let options = CrashOptions {
        binary: arguments.binary,
        components: arguments.components,
        scratch: scratch.path().to_owned(),
        kills: arguments.kills,
        seed,
    };
    let mut report = match run(&options) {
        Ok(report) => report,
        Err(error) => {
            println!("the store is kept in {}", scratch.keep().display());
            return Err(error);
        }
    };
    for (point, kills) in &report.kills {
        println!("{kills:>6} kills at {point}");
    }
    report.recoveries.sort();
    let at = |share: usize| report.recoveries[(report.recoveries.len() - 1) * share / 100].as_millis();
    println!("start to ready: p50 {} ms, p99 {} ms", at(50), at(99));
    println!("{} events: lost 0, doubled 0, out of order 0", report.events);
    Ok(())
}
