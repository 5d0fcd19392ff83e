//! Builds a Rust handler crate into a component without WASI imports. Knows cargo and the component format;
//! knows nothing of the runtime that will load the result.
//!
//! ```no_run
//! let built = tidemill_build::build_crate(&tidemill_build::BuildOptions::new("plugins/quake-alerts"))?;
//! println!("{} ({} bytes)", built.path.display(), built.size);
//! # Ok::<(), tidemill_build::Error>(())
//! ```

mod cargo;
mod component;
mod error;
mod project;

use std::path::{Path, PathBuf};

pub use component::componentize;
pub use error::Error;

/// The target that handlers are compiled for. It has no operating system, so nothing of WASI comes in.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// What to build, and where to put it.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The crate's directory or its `Cargo.toml`.
    pub manifest: PathBuf,
    /// The packages to build, of the workspace that `manifest` belongs to. Empty: the one at `manifest`.
    pub packages: Vec<String>,
    /// Where the components go, as `PACKAGE.wasm`. `None`: `components` in cargo's target directory.
    pub out_dir: Option<PathBuf>,
    /// Where cargo compiles. `None`: `guest` in cargo's target directory, so that it does not wait for, nor
    /// throw away, what is compiled for this machine.
    pub target_dir: Option<PathBuf>,
    /// The vector instructions that the compiler may use.
    pub simd: Simd,
}

impl BuildOptions {
    /// Builds the crate at `manifest` (its directory or its `Cargo.toml`), with every default.
    pub fn new(manifest: impl AsRef<Path>) -> Self {
        Self {
            manifest: manifest.as_ref().to_owned(),
            packages: Vec::new(),
            out_dir: None,
            target_dir: None,
            simd: Simd::default(),
        }
    }
}

/// The vector instructions that the compiler may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Simd {
    /// The 128-bit ones that every engine has.
    #[default]
    Simd128,
    /// None.
    Off,
}

/// A component on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The package that it was built from.
    pub package: String,
    /// The component.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub size: u64,
    /// The interfaces that it imports, such as `wasi:logging/logging@0.1.0-draft`.
    pub imports: Vec<String>,
}

/// Builds one crate; see [`build_crates`]. Fails when `options` names more than one package.
pub fn build_crate(options: &BuildOptions) -> Result<Built, Error> {
    let mut built = build_crates(options)?;
    match (built.pop(), built.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(Error::NotOnePackage { manifest: options.manifest.clone() }),
    }
}

/// Builds handler crates with one call of cargo and makes each a component, in the order of their names in
/// `options`. Cargo's own messages, compile errors among them, go to standard error as they come. A component
/// that is already in place is replaced by a rename: a running host sees the old one or the new one.
pub fn build_crates(options: &BuildOptions) -> Result<Vec<Built>, Error> {
    let project = project::Project::read(&options.manifest)?;
    let packages = project.select(&options.packages)?;
    cargo::check_target(&project)?;
    let modules = cargo::build(&project, &packages, options)?;
    let out_dir = options.out_dir.clone().unwrap_or_else(|| project.target_directory.join("components"));
    std::fs::create_dir_all(&out_dir).map_err(Error::write(&out_dir))?;
    modules.into_iter().map(|module| finish(module, &out_dir)).collect()
}

/// Makes one compiled module a component at its place.
fn finish(module: cargo::Module, out_dir: &Path) -> Result<Built, Error> {
    let core = std::fs::read(&module.path).map_err(Error::read(&module.path))?;
    let component = componentize(&core)
        .map_err(|cause| Error::InPackage { package: module.package.clone(), cause: Box::new(cause) })?;
    let imports = component::imports(&component)?;
    let path = out_dir.join(format!("{}.wasm", module.package));
    let unfinished = out_dir.join(format!(".{}.wasm.{}.new", module.package, std::process::id()));
    std::fs::write(&unfinished, &component).map_err(Error::write(&unfinished))?;
    std::fs::rename(&unfinished, &path).map_err(Error::write(&path))?;
    Ok(Built { package: module.package, path, size: component.len() as u64, imports })
}
