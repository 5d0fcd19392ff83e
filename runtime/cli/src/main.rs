//! The `tidemill` command: reads the command line, does what it says, and ends with the right code.

mod args;
mod bench;
mod client;
mod commands;
mod exit;
mod output;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let output = args.output;
    match commands::run(args) {
        Ok(code) => code,
        Err(error) if exit::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            exit::code(&error)
        }
    }
}
