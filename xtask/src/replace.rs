//! `cargo xtask replace`: builds what the replacement harness needs, and runs it with the release binary, for how long
//! a replacement holds a partition up is part of what it tells.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::plugins;
use crate::shell::{cargo, run, target_dir};

/// Replaces a handler of the real binary again and again; `arguments` are the harness's own.
pub(crate) fn replace(arguments: &[OsString]) -> Result<()> {
    let components = plugins::guests(&["aggregate", "vices"])?;
    run(&mut cargo(["build", "--locked", "--release", "--package", "tidemill"]))?;
    run(&mut cargo(["build", "--locked", "--workspace", "--all-targets"]))?;
    run(Command::new(target_dir().join("debug/replace"))
        .arg("--binary")
        .arg(target_dir().join("release/tidemill"))
        .arg("--components")
        .arg(components)
        .args(arguments))
}
