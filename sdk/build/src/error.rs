//! Why a handler could not be built, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::TARGET;

/// Why a handler could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such crate.
    #[error("no Cargo.toml at `{}`", .0.display())]
    NoManifest(PathBuf),
    /// A tool of the Rust toolchain could not be started.
    #[error("cannot run `{tool}`: {cause}; install Rust from https://rustup.rs")]
    NoTool {
        /// The tool.
        tool: String,
        /// What the system says.
        cause: io::Error,
    },
    /// The toolchain cannot compile for [`TARGET`].
    #[error("the target {TARGET} is not installed; run `rustup target add {TARGET}`")]
    NoTarget,
    /// Cargo cannot read the manifest.
    #[error("cargo cannot read `{}`: {message}", manifest.display())]
    Manifest {
        /// The manifest.
        manifest: PathBuf,
        /// What cargo says.
        message: String,
    },
    /// The workspace has no package of this name.
    #[error("`{}` has no package `{package}`; it has {}", manifest.display(), known.join(", "))]
    NoPackage {
        /// The manifest.
        manifest: PathBuf,
        /// The name asked for.
        package: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// One package was asked for, and the manifest stands for none or for several.
    #[error("`{}` is not one package; name the package to build", manifest.display())]
    NotOnePackage {
        /// The manifest.
        manifest: PathBuf,
    },
    /// The package is a program or a plain library.
    #[error(
        "package `{package}` is not built as a handler; add to its Cargo.toml:\n\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]"
    )]
    NotCdylib {
        /// The package.
        package: String,
    },
    /// The compiler refused; its messages went to standard error.
    #[error("cargo could not compile {}", packages.join(", "))]
    Compile {
        /// The packages of that call.
        packages: Vec<String>,
    },
    /// Cargo said it was done and named no module.
    #[error("cargo built no WebAssembly module for package `{package}`")]
    NoModule {
        /// The package.
        package: String,
    },
    /// The bytes are not a module.
    #[error("not a WebAssembly core module: {0}")]
    NotModule(String),
    /// The module imports something that no component can give it.
    #[error(
        "the module cannot become a component: {0}; a handler may import nothing of a browser or an \
         operating system, so look for a dependency that was not made for {TARGET}"
    )]
    Component(String),
    /// The module has no handler.
    #[error(
        "no handler in it: nothing exports `tidemill:handler/processor`; put #[tidemill_sdk::handler] on a \
         function of this crate"
    )]
    NoHandler,
    /// One of several packages failed.
    #[error("package `{package}`: {cause}")]
    InPackage {
        /// The package.
        package: String,
        /// What is wrong with it.
        cause: Box<Error>,
    },
    /// A file could not be read.
    #[error("cannot read `{}`: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write `{}`: {cause}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

impl Error {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Read { path, cause }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Write { path, cause }
    }
}
