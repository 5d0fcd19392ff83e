//! What `tidemill check` asks: every plugin loaded and let go again, with nothing started and nothing kept.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tidemill_flow::config::HandlerConfig;
use tidemill_wasm::directory::check_directory;
use tidemill_wasm::{Engine, Loader};

use super::GuestLog;
use super::start::{StartError, failed};
use crate::config::Config;

/// What was found of one plugin.
#[derive(Clone, Debug)]
pub struct PluginReport {
    /// Its file.
    pub path: PathBuf,
    /// How it would be run, or why it would not.
    pub outcome: Result<HandlerConfig, String>,
}

/// Checks every plugin of the plugin directory. One that is missing holds none: a start makes it.
pub fn check_plugins(config: &Config) -> Result<Vec<PluginReport>, StartError> {
    let loader =
        Loader::new(Engine::new()?, None, Arc::new(GuestLog))?.compiled_by(config.compile.compiler());
    let checked = match check_directory(&config.plugins, &loader) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        checked => checked.map_err(failed(&config.plugins))?,
    };
    let report = |one: tidemill_wasm::directory::Checked| PluginReport {
        path: one.path,
        outcome: one.outcome.map(|plugin| plugin.config().clone()).map_err(|error| error.to_string()),
    };
    Ok(checked.into_iter().map(report).collect())
}
