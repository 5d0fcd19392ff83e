//! `cargo xtask bench`: builds the release binary, the plugins and the guests that misbehave, and runs `tidemill bench`.

use std::ffi::OsString;
use std::fs;

use anyhow::{Context, Result};

use crate::shell::{cargo, run, target_dir};
use crate::{bomb, plugins};

/// Runs the benchmark of the release binary; `arguments` are its own.
pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    let plugins = plugins::plugins()?;
    let guests = plugins::guests(&["vices"])?;
    let bomb = guests.join("bomb.wasm");
    fs::write(&bomb, bomb::component()).with_context(|| format!("writing {}", bomb.display()))?;
    run(cargo(["run", "--release", "--locked", "--package", "tidemill", "--", "bench"])
        .arg("--plugins")
        .arg(plugins)
        .arg("--guests")
        .arg(guests)
        .arg("--scratch")
        .arg(target_dir())
        .args(arguments))
}
