//! `cargo xtask crash`: builds what the kill harness needs, and runs it.

use std::ffi::OsString;

use anyhow::Result;

use crate::plugins;
use crate::shell::{cargo, run, target_dir};

/// Kills the real binary again and again; `arguments` are the harness's own.
pub(crate) fn crash(arguments: &[OsString]) -> Result<()> {
    let components = plugins::guests(&["passthrough", "aggregate", "flaky"])?;
    run(&mut cargo(["build", "--locked", "--package", "tidemill", "--package", "tidemill-tests"]))?;
    let binary = target_dir().join("debug/tidemill");
    run(cargo(["run", "--quiet", "--locked", "--package", "tidemill-tests", "--bin", "crash", "--"])
        .arg("--binary")
        .arg(binary)
        .arg("--components")
        .arg(components)
        .args(arguments))
}
