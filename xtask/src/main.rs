//! The developer's commands: `cargo xtask COMMAND`.

mod audit;
mod ci;
mod plugins;
mod shell;

use std::process::ExitCode;

use clap::Parser;

/// The developer's commands of Tidemill.
#[derive(Parser)]
#[command(name = "cargo xtask", arg_required_else_help = true)]
enum Command {
    /// Everything that CI runs: format, lints, plugins, tests, docs, audit.
    Ci,
    /// Every test of the workspace, with the plugins and guests that they need.
    Test,
    /// Builds the first-party plugins, ready to run, into `target/plugins`.
    Plugins,
    /// Licences and duplicate versions of the dependencies.
    Audit,
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Ci => ci::all(),
        Command::Test => ci::test(),
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
