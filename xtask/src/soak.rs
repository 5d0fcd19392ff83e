//! `cargo xtask soak`: builds what the soak harness needs, and runs it. Runtime and harness are release builds, for how
//! fast they are together is what the rate is taken from.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::plugins;
use crate::shell::{cargo, run, target_dir};

/// Keeps the real binary busy with everything at once; `arguments` are the harness's own, and of two of a name the last
/// holds.
pub(crate) fn soak(arguments: &[OsString]) -> Result<()> {
    let components = plugins::guests(&["passthrough", "aggregate", "json-filter", "flaky", "sessions"])?;
    run(&mut cargo(["build", "--locked", "--release", "--package", "tidemill"]))?;
    run(&mut cargo(["build", "--locked", "--release", "--package", "tidemill-tests", "--bin", "soak"]))?;
    let built = target_dir().join("release");
    run(Command::new(built.join("soak"))
        .arg("--binary")
        .arg(built.join("tidemill"))
        .arg("--components")
        .arg(components)
        .arg("--report")
        .arg(target_dir().join("soak"))
        .args(arguments))
}
