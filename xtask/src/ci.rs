//! What CI runs, in the order in which it fails soonest.

use std::ffi::OsString;

use anyhow::Result;

use crate::shell::{cargo, run};
use crate::{audit, crash, fuzz};

/// Seconds that each fuzz target gets.
const FUZZ_SECONDS: u32 = 5;

/// Format, lints, audit, tests, fuzzing, kills, power cuts, docs.
pub(crate) fn all() -> Result<()> {
    run(&mut cargo(["fmt", "--all", "--check"]))?;
    audit::run()?;
    run(&mut cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]))?;
    test()?;
    fuzz::fuzz(&fuzz::QUICK, FUZZ_SECONDS)?;
    crash::crash(&["--kills", "200"].map(OsString::from))?;
    crash::crash(&["--power-cuts", "50"].map(OsString::from))?;
    crash::crash(&["--controls"].map(OsString::from))?;
    run(cargo(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"])
        .env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Every test of the workspace.
pub(crate) fn test() -> Result<()> {
    run(&mut cargo(["test", "--workspace", "--locked"]))
}
