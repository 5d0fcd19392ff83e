//! `tidemill check`: is the configuration valid, and every plugin; is a store whole? Starts nothing, leaves nothing
//! behind.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;
use tidemill_server::Config;
use tidemill_server::config::CompileProgram;
use tidemill_server::runtime::{PluginReport, check_plugins};

use crate::args::{CheckArgs, ConfigArgs};
use crate::exit::{Failure, failed};
use crate::output::{Column, Output, line};

const REPORT: &[Column] = &[
    ("plugin", "/path"),
    ("handler", "/handler"),
    ("inputs", "/inputs"),
    ("outputs", "/outputs"),
    ("result", "/result"),
];

const FAULTS: &[Column] = &[("not as it was written", "/fault")];

/// The file that is read where none is named, if it is there.
const DEFAULT_FILE: &str = "tidemill.toml";

/// The configuration that the arguments name, with what they say themselves.
pub(crate) fn config(args: &ConfigArgs) -> Result<Config> {
    let default = Path::new(DEFAULT_FILE);
    let file = args.config.as_deref().or_else(|| default.exists().then_some(default));
    let read = file.map(Config::read).transpose();
    let mut config = read.map_err(|error| failed(Failure::Invalid, error.to_string()))?.unwrap_or_default();
    if let Some(plugins) = &args.plugins {
        config.plugins.clone_from(plugins);
    }
    config.compile.program = Some(compiler()?);
    Ok(config)
}

/// This very program as the one that compiles, also when its file was replaced since it was started: what it compiles
/// must fit.
fn compiler() -> Result<CompileProgram> {
    let link = PathBuf::from("/proc/self/exe");
    let path = if link.exists() { link } else { std::env::current_exe().context("finding this program")? };
    // Our allocator takes a GiB of address space at its start, which the limit of memory would count.
    let environment = vec![("MIMALLOC_ARENA_RESERVE".into(), "0".into())];
    Ok(CompileProgram { path, arguments: vec!["compile".into()], environment })
}

pub(crate) fn check(args: &CheckArgs, output: Output) -> Result<ExitCode> {
    if let Some(data) = &args.data {
        return check_store(data, output);
    }
    let config = config(&args.config)?;
    config.check().map_err(|error| failed(Failure::Invalid, error.to_string()))?;
    let reports = check_plugins(&config)?;
    let rows: Vec<_> = reports.iter().map(row).collect();
    if rows.is_empty() && output == Output::Table {
        line(&format!("the configuration is fine; there are no plugins in {}", config.plugins.display()))?;
    } else {
        output.rows(&json!(rows), REPORT)?;
    }
    match reports.iter().filter(|report| report.outcome.is_err()).count() {
        0 => Ok(ExitCode::SUCCESS),
        bad => Err(failed(Failure::Invalid, format!("{bad} of {} plugins cannot be loaded", reports.len()))),
    }
}

/// Reads every byte of the store that something covers.
fn check_store(data: &Path, output: Output) -> Result<ExitCode> {
    let report = tidemill_server::check_store(data)?;
    let journal = &report.journal;
    let faults: Vec<String> = report.faults.iter().map(|fault| report.describe(fault)).collect();
    let summary = json!({
        "segments": journal.segments,
        "firstFrame": journal.first.0,
        "lastFrame": journal.last.0,
        "blocks": journal.blocks,
        "events": journal.events,
        "changes": journal.changes,
        "persisted": report.persisted.map(|frame| frame.0),
        "cut": journal.cut.map(|frame| frame.0),
        "faults": faults.iter().map(|fault| json!({ "fault": fault })).collect::<Vec<_>>(),
    });
    output.object(&summary, ("faults", FAULTS))?;
    match faults.len() {
        0 => Ok(ExitCode::SUCCESS),
        1 => Err(failed(Failure::Invalid, "1 thing in the store is not as it was written")),
        count => {
            Err(failed(Failure::Invalid, format!("{count} things in the store are not as they were written")))
        }
    }
}

fn row(report: &PluginReport) -> serde_json::Value {
    match &report.outcome {
        Ok(config) => json!({
            "path": report.path,
            "handler": config.name,
            "inputs": config.inputs,
            "outputs": config.outputs,
            "result": "ok",
        }),
        Err(error) => json!({ "path": report.path, "result": error }),
    }
}
