//! The first-party plugins and the guests of the tests, built into components.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tidemill_build::{BuildOptions, Built, build_crates};

use crate::shell::{root, target_dir};

/// Builds every first-party plugin into `target/plugins`, its settings beside it, and returns that directory.
pub(crate) fn plugins() -> Result<PathBuf> {
    let out = target_dir().join("plugins");
    let folder = root().join("plugins");
    let names = crates_in(&folder)?;
    for built in build(root(), &names, &out)? {
        ensure!(
            built
                .imports
                .iter()
                .all(|import| !import.starts_with("wasi:io") && !import.starts_with("wasi:cli")),
            "{} imports WASI: {}",
            built.package,
            built.imports.join(", ")
        );
        let settings = folder.join(&built.package).join(format!("{}.toml", built.package));
        if settings.exists() {
            fs::copy(&settings, out.join(format!("{}.toml", built.package)))
                .with_context(|| format!("copying {}", settings.display()))?;
        }
        println!("{:>9} bytes  {}", built.size, built.path.display());
    }
    Ok(out)
}

/// Builds these packages of the workspace into `target/guests`, without settings, and returns that directory.
pub(crate) fn guests(packages: &[&str]) -> Result<PathBuf> {
    let out = target_dir().join("guests");
    let packages: Vec<String> = packages.iter().map(ToString::to_string).collect();
    build(root(), &packages, &out)?;
    Ok(out)
}

fn build(manifest: &Path, packages: &[String], out: &Path) -> Result<Vec<Built>> {
    let options = BuildOptions {
        packages: packages.to_vec(),
        out_dir: Some(out.to_owned()),
        ..BuildOptions::new(manifest)
    };
    build_crates(&options).context("building plugins")
}

/// The names of the crates in a folder, which are those of their own folders.
fn crates_in(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").exists() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
