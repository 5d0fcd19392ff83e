//! The developer's commands: `cargo xtask COMMAND`.

mod audit;
mod bench;
#[path = "../../tests/guests/bomb.rs"]
mod bomb;
mod ci;
mod crash;
mod demo;
mod fuzz;
mod plugins;
mod replace;
mod shell;
mod soak;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

/// The developer's commands of Tidemill.
#[derive(Parser)]
#[command(name = "cargo xtask", arg_required_else_help = true)]
enum Command {
    /// Real earthquakes through sandboxed handlers: builds everything, runs it, shows what came out.
    Demo,
    /// Everything that CI runs: format, lints, plugins, tests, docs, audit.
    Ci,
    /// Every test of the workspace, with the plugins and guests that they need.
    Test,
    /// Kills the real binary, or cuts its power, again and again under load and checks that nothing is lost and
    /// nothing twice.
    #[command(disable_help_flag = true)]
    Crash {
        /// `--kills N` (200) or `--power-cuts N` or `--controls`; `--seed N`, `--report FILE`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Replaces a handler of the real binary again and again under load, by good versions and bad ones, and checks that
    /// nothing is lost, nothing comes twice and nothing is given up.
    #[command(disable_help_flag = true)]
    Replace {
        /// `--replacements N` (1,000); `--seed N`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Keeps the real binary busy with everything at once for long, at half of its peak rate, and checks that nothing is
    /// lost or doubled and that memory, descriptors, disk and latency stay flat.
    #[command(disable_help_flag = true)]
    Soak {
        /// `--minutes N` (30); `--rate EVENTS/S`, `--seed N`, `--report DIR` (`target/soak`).
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Builds the release binary and runs `tidemill bench` with it.
    #[command(disable_help_flag = true)]
    Bench {
        /// Those of `tidemill bench`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Builds the first-party plugins, ready to run, into `target/plugins`.
    Plugins,
    /// Every fuzz target for some seconds; those of the server build the engine once more.
    Fuzz {
        /// The crates whose targets are fuzzed.
        #[arg(default_values = ["bus", "flow", "server"])]
        crates: Vec<String>,
        /// Seconds for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Licences and duplicate versions of the dependencies.
    Audit,
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Demo => demo::demo(),
        Command::Crash { arguments } => crash::crash(&arguments),
        Command::Replace { arguments } => replace::replace(&arguments),
        Command::Soak { arguments } => soak::soak(&arguments),
        Command::Bench { arguments } => bench::bench(&arguments),
        Command::Ci => ci::all(),
        Command::Test => ci::test(),
        Command::Fuzz { crates, seconds } => {
            fuzz::fuzz(&crates.iter().map(String::as_str).collect::<Vec<_>>(), seconds)
        }
        Command::Plugins => plugins::plugins().map(drop),
        Command::Audit => audit::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
