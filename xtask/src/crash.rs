//! `cargo xtask crash`: builds what the kill harness needs, and runs it.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::plugins;
use crate::shell::{cargo, run, target_dir};

/// Kills the real binary again and again, or cuts its power; `arguments` are the harness's own.
pub(crate) fn crash(arguments: &[OsString]) -> Result<()> {
    let components = plugins::guests(&["passthrough", "aggregate", "flaky"])?;
    // What the tests were built with: another selection of packages would build the engine once more.
    run(&mut cargo(["build", "--locked", "--workspace", "--all-targets"]))?;
    let built = target_dir().join("debug");
    run(Command::new(built.join("crash"))
        .arg("--binary")
        .arg(built.join("tidemill"))
        .arg("--components")
        .arg(components)
        .arg("--library")
        .arg(built.join("libtidemill_power_cut.so"))
        .args(arguments))
}
