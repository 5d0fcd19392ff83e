//! `tidemill run`: a runtime until it is told to stop.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, Result};
use tidemill_server::config::LogFormat;
use tidemill_server::{Config, Runtime, StartError};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::args::{self, RunArgs};
use crate::commands::check;
use crate::exit::{Failure, failed};
use crate::output::line;

pub(crate) fn run(args: RunArgs) -> Result<ExitCode> {
    let config = config(args)?;
    start_log(&config)?;
    let runtime = Runtime::start(&config).map_err(|error| match error {
        StartError::Config(error) => failed(Failure::Invalid, error.to_string()),
        error => anyhow::Error::new(error).context("cannot start"),
    })?;
    introduce(&config, &runtime)?;
    let name = wait_for_signal()?;
    tracing::info!("{name}: taking no more requests, finishing those under way");
    runtime.stop().context("stopping was not clean; what was acknowledged is kept")?;
    tracing::info!("stopped; everything is on disk");
    Ok(ExitCode::SUCCESS)
}

fn config(args: RunArgs) -> Result<Config> {
    let mut config = check::config(&args.config)?;
    config.data = args.data.unwrap_or(config.data);
    config.http.listen = args.listen.unwrap_or(config.http.listen);
    config.http.insecure |= args.insecure;
    config.log.format = args
        .log
        .map(|format| match format {
            args::LogFormat::Text => LogFormat::Text,
            args::LogFormat::Json => LogFormat::Json,
        })
        .or(config.log.format);
    Ok(config)
}

/// The runtime's log goes to standard error: text on a terminal, JSON elsewhere, unless told.
fn start_log(config: &Config) -> Result<()> {
    let level = &config.log.level;
    let filter = EnvFilter::try_new(level)
        .map_err(|error| failed(Failure::Invalid, format!("log.level = {level:?} is no filter: {error}")))?;
    let is_text = match config.log.format {
        Some(format) => format == LogFormat::Text,
        None => io::stderr().is_terminal(),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if is_text {
        log.with_ansi(io::stderr().is_terminal()).with_target(false).init();
    } else {
        log.json().flatten_event(true).init();
    }
    Ok(())
}

/// Says what it is, where everything is, and what to do next.
fn introduce(config: &Config, runtime: &Runtime) -> Result<()> {
    let url = format!("http://{}", runtime.address());
    line(&format!("tidemill {} listens on {url}", env!("CARGO_PKG_VERSION")))?;
    line(&format!("  data      {}", config.data.display()))?;
    line(&format!("  recovery  {}", recovery(runtime)))?;
    line(&format!("  plugins   {}", config.plugins.display()))?;
    for (name, plugin) in runtime.plugins().all() {
        let version = plugin.version.as_ref().map_or("not loaded", |version| &version.sha256[..12]);
        let error = plugin.error.map(|error| format!("  {error}")).unwrap_or_default();
        line(&format!("  handler   {name}  {version}{error}"))?;
    }
    line(&format!(
        "next: tidemill --url {url} publish TOPIC FILE, or put a .wasm file into {}",
        config.plugins.display()
    ))
}

fn recovery(runtime: &Runtime) -> String {
    let found = runtime.store().recovery();
    if found.created {
        return "a new store".to_owned();
    }
    let how = if found.clean { "closed cleanly" } else { "not closed: what was acknowledged is there" };
    let cut = found.cut.as_ref().map(|cut| {
        format!(
            "; an unfinished write at frame {} was cut off ({} bytes, never acknowledged)",
            cut.frame, cut.bytes
        )
    });
    format!("{how}, {} frames replayed{}", found.frames_replayed, cut.unwrap_or_default())
}

/// Waits for SIGTERM or SIGINT, and tells which.
fn wait_for_signal() -> Result<&'static str> {
    let waiting = "cannot wait for signals";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(waiting)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context(waiting)?;
        let mut interrupt = signal(SignalKind::interrupt()).context(waiting)?;
        Ok(tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        })
    })
}
