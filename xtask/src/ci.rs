//! What CI runs, in the order in which it fails soonest.

use std::ffi::OsString;

use anyhow::Result;

use crate::shell::{cargo, run};
use crate::{audit, crash};

/// Format, lints, audit, tests, kills, power cuts, docs.
pub(crate) fn all() -> Result<()> {
    run(&mut cargo(["fmt", "--all", "--check"]))?;
    audit::run()?;
    run(&mut cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]))?;
    test()?;
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
