//! `cargo xtask bench`: builds the release binary and the plugins, and runs `tidemill bench`.

use std::ffi::OsString;

use anyhow::Result;

use crate::plugins;
use crate::shell::{cargo, run, target_dir};

/// Runs the benchmark of the release binary; `arguments` are its own.
pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    let plugins = plugins::plugins()?;
    run(cargo(["run", "--release", "--locked", "--package", "tidemill", "--", "bench"])
        .arg("--plugins")
        .arg(plugins)
        .arg("--scratch")
        .arg(target_dir())
        .args(arguments))
}
