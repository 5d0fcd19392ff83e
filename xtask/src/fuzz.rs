//! `cargo xtask fuzz`: every fuzz target for some seconds, from its corpus. Needs the nightly compiler and
//! `cargo-fuzz`; where they are missing it says so and is done, for the suites feed the corpora too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::shell::{cargo, root, run, target_dir};

/// Crates whose targets are quick to build. Those of the server take the engine with them: ten minutes, which only
/// a person who asks for them has.
pub(crate) const QUICK: [&str; 2] = ["bus", "flow"];

/// Fuzzes all targets of these crates of `runtime/`, each for so many seconds.
pub(crate) fn fuzz(crates: &[&str], seconds: u32) -> Result<()> {
    if !is_there() {
        println!("fuzz: skipped, the nightly compiler and cargo-fuzz are not both installed");
        return Ok(());
    }
    for name in crates {
        let folder = root().join("runtime").join(name).join("fuzz");
        for target in targets(&folder)? {
            one(&folder, &target, seconds)?;
        }
    }
    Ok(())
}

fn is_there() -> bool {
    let mut version = cargo(["fuzz", "--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null());
    let nightly = Command::new("rustup").args(["run", "nightly", "rustc", "--version"]).output();
    version.status().is_ok_and(|status| status.success())
        && nightly.is_ok_and(|output| output.status.success())
}

/// The targets of a fuzz crate: the files of `fuzz_targets/`.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let folder = folder.join("fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
    let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut targets: Vec<_> = entries.filter_map(|entry| stem(entry.ok()?.path())).collect();
    targets.sort();
    Ok(targets)
}

/// What the fuzzer finds goes beside the corpus, which is ours to write.
fn one(folder: &Path, target: &str, seconds: u32) -> Result<()> {
    let corpus = folder.join("corpus").join(target);
    let generated = corpus.join("generated");
    fs::create_dir_all(&generated).with_context(|| format!("creating {}", generated.display()))?;
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz", "run", "--fuzz-dir"]).arg(folder);
    // One place for all: they have most of what they are built of in common.
    command.arg("--target-dir").arg(target_dir().join("fuzz")).arg(target);
    command
        .arg(generated)
        .arg(corpus)
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg("-verbosity=0");
    // Cargo and compiler of the toolchain that runs us would win over those of nightly.
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"] {
        command.env_remove(variable);
    }
    run(&mut command)
}
