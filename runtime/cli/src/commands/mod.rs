//! One file for each command.

mod build;
mod check;
mod dead_letters;
mod groups;
mod handlers;
mod publish;
mod run;
mod tail;
mod topics;

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::args::{Args, Command};
use crate::bench;
use crate::client::Client;

/// Does what the command line says.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let (output, url) = (args.output, args.url);
    match args.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::check(&args, output),
        Command::Compile(args) => Ok(tidemill_server::compile(args.cpu_seconds, args.memory_bytes)),
        Command::Build(args) => build::build(args, output),
        Command::Publish(args) => remote(&url, async |client| publish::publish(client, args, output).await),
        Command::Tail(args) => remote(&url, async |client| tail::tail(client, args, output).await),
        Command::Topics { command } => {
            remote(&url, async |client| topics::topics(client, command, output).await)
        }
        Command::Handlers { command } => {
            remote(&url, async |client| handlers::handlers(client, command, output).await)
        }
        Command::Groups { command } => {
            remote(&url, async |client| groups::groups(client, command, output).await)
        }
        Command::DeadLetters { command } => {
            remote(&url, async |client| dead_letters::dead_letters(client, command, output).await)
        }
        Command::Bench(args) => wait(bench::bench(&args, output)),
    }
}

/// Runs a command that speaks to a runtime.
fn remote(url: &str, command: impl AsyncFnOnce(&Client) -> Result<()>) -> Result<ExitCode> {
    let client = Client::new(url)?;
    wait(command(&client))
}

/// Waits for a command that speaks HTTP.
fn wait(command: impl Future<Output = Result<()>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the threads of the client")?;
    runtime.block_on(command)?;
    Ok(ExitCode::SUCCESS)
}
