//! What CI runs, in the order in which it fails soonest.

use anyhow::Result;

use crate::audit;
use crate::shell::{cargo, run};

/// Format, lints, audit, tests, docs.
pub(crate) fn all() -> Result<()> {
    run(&mut cargo(["fmt", "--all", "--check"]))?;
    audit::run()?;
    run(&mut cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]))?;
    test()?;
    run(cargo(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"])
        .env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Every test of the workspace.
pub(crate) fn test() -> Result<()> {
    run(&mut cargo(["test", "--workspace", "--locked"]))
}
