//! `cargo xtask replace`: replaces a handler of the real binary again and again under load, and checks that nothing is
//! lost, nothing comes twice, and no bad version gives an event up.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tidemill_tests::replace::{ReplaceOptions, Report, run};

/// Replaces a handler under load, again and again, and checks what comes out.
#[derive(Parser)]
struct Arguments {
    /// How often to replace it.
    #[arg(long, default_value_t = 1_000)]
    replacements: u64,
    /// The seed of the order of versions; drawn if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// The tidemill binary.
    #[arg(long)]
    binary: PathBuf,
    /// The directory of aggregate.wasm and vices.wasm.
    #[arg(long)]
    components: PathBuf,
}

fn main() -> ExitCode {
    match replace(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn replace(arguments: Arguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let scratch = tempfile::tempdir()?;
    let options = ReplaceOptions {
        binary: arguments.binary,
        components: arguments.components,
        scratch: scratch.path().to_owned(),
        replacements: arguments.replacements,
        seed,
    };
    let report = run(&options).inspect_err(|_| {
        println!("the store is kept in {}", scratch.keep().display());
    })?;
    print(&report);
    Ok(())
}

fn print(report: &Report) {
    for (kind, (count, longest)) in &report.kinds {
        println!("{count:>6} x {}, dealt with in {} ms at most", kind.name(), longest.as_millis());
    }
    for (partition, pauses) in report.pauses.iter().enumerate() {
        let [before, replacing, stopped] = pauses.map(|pause| pause.as_millis());
        println!(
            "partition {partition}: longest pause {replacing} ms, before the first replacement {before} ms; stopped for \
             other state {stopped} ms"
        );
    }
    let seconds = report.took.as_secs_f64();
    println!("{} events in {seconds:.0} s: lost 0, doubled 0, out of order 0, given up 0", report.events);
}
