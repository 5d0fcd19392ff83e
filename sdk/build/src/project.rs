//! What cargo knows about the crates at hand, before anything is compiled.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::Error;
use crate::cargo::cargo;

/// A crate or a workspace.
pub(crate) struct Project {
    /// The `Cargo.toml`, as an absolute path.
    pub(crate) manifest: PathBuf,
    /// Cargo's target directory for it.
    pub(crate) target_directory: PathBuf,
    packages: Vec<Package>,
}

/// A package of the project.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Cargo's own name for it, as in its messages.
    pub(crate) id: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

impl Project {
    /// Asks cargo about the crate at `path`, a directory or a `Cargo.toml`.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let manifest = if path.is_dir() { path.join("Cargo.toml") } else { path.to_owned() };
        let manifest = manifest.canonicalize().map_err(|_| Error::NoManifest(path.to_owned()))?;
        let mut command = Command::new(cargo());
        command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(&manifest);
        command.stdin(Stdio::null());
        let output = command.output().map_err(|cause| Error::NoTool { tool: cargo(), cause })?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::Manifest { manifest, message });
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout)
            .map_err(|cause| Error::Manifest { manifest: manifest.clone(), message: cause.to_string() })?;
        Ok(Self { manifest, target_directory: metadata.target_directory, packages: metadata.packages })
    }

    /// The directory of the manifest.
    pub(crate) fn directory(&self) -> &Path {
        self.manifest.parent().unwrap_or(Path::new("."))
    }

    /// The packages of these names, or the one at the manifest; all of them are handlers by their crate type.
    pub(crate) fn select(&self, names: &[String]) -> Result<Vec<&Package>, Error> {
        let selected = if names.is_empty() {
            vec![self.own().ok_or_else(|| Error::NotOnePackage { manifest: self.manifest.clone() })?]
        } else {
            names.iter().map(|name| self.named(name)).collect::<Result<_, _>>()?
        };
        match selected.iter().find(|package| !package.is_cdylib()) {
            Some(package) => Err(Error::NotCdylib { package: package.name.clone() }),
            None => Ok(selected),
        }
    }

    fn own(&self) -> Option<&Package> {
        self.packages.iter().find(|package| package.manifest_path == self.manifest)
    }

    fn named(&self, name: &str) -> Result<&Package, Error> {
        self.packages.iter().find(|package| package.name == name).ok_or_else(|| Error::NoPackage {
            manifest: self.manifest.clone(),
            package: name.to_owned(),
            known: self.packages.iter().map(|package| package.name.clone()).collect(),
        })
    }
}

impl Package {
    fn is_cdylib(&self) -> bool {
        self.targets.iter().any(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))
    }
}
