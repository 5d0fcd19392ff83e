//! Calls cargo: compiles handler crates into core modules. Knows nothing of components.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::project::{Package, Project};
use crate::{BuildOptions, Error, Simd, TARGET};

/// The profile that handlers are compiled with; a manifest may define it and add to it.
const PROFILE: &str = "guest";
/// What the profile has in any case. Names are kept: a trap's backtrace is made of them.
const PROFILE_SETTINGS: [&str; 4] = [
    "profile.guest.inherits=\"release\"",
    "profile.guest.lto=\"fat\"",
    "profile.guest.codegen-units=1",
    "profile.guest.strip=\"debuginfo\"",
];

/// What every handler is compiled with besides: crates that ask for randomness (`getrandom`) compile, and get an
/// error when they ask, for a handler has none.
const NO_RANDOMNESS: &str = "--cfg=getrandom_backend=\\\"unsupported\\\"";

/// A compiled core module.
pub(crate) struct Module {
    pub(crate) package: String,
    pub(crate) path: PathBuf,
}

/// The cargo to call: the one that called us, if one did.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Checks that the toolchain of this project can compile for the target: cargo's own message would hide the
/// remedy below a hundred errors about `core`.
pub(crate) fn check_target(project: &Project) -> Result<(), Error> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(project.directory())
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| Error::NoTool { tool: rustc, cause })?;
    let libraries = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && Path::new(libraries.trim()).is_dir() {
        Ok(())
    } else {
        Err(Error::NoTarget)
    }
}

/// Compiles `packages` with one call and returns their modules in the same order.
pub(crate) fn build(
    project: &Project,
    packages: &[&Package],
    options: &BuildOptions,
) -> Result<Vec<Module>, Error> {
    let mut child = command(project, packages, options)
        .spawn()
        .map_err(|cause| Error::NoTool { tool: cargo(), cause })?;
    let stdout = child.stdout.take().expect("standard output was asked to be piped");
    let artifacts = artifacts(stdout);
    let status = child.wait().map_err(|cause| Error::NoTool { tool: cargo(), cause })?;
    if !status.success() {
        return Err(Error::Compile {
            packages: packages.iter().map(|package| package.name.clone()).collect(),
        });
    }
    let module = |package: &&Package| {
        let artifact = artifacts.iter().find(|artifact| artifact.package_id == package.id);
        let path = artifact.and_then(Artifact::module);
        match path {
            Some(path) => Ok(Module { package: package.name.clone(), path }),
            None => Err(Error::NoModule { package: package.name.clone() }),
        }
    };
    packages.iter().map(module).collect()
}

fn command(project: &Project, packages: &[&Package], options: &BuildOptions) -> Command {
    let mut command = Command::new(cargo());
    command.args(["build", "--lib", "--profile", PROFILE, "--target", TARGET]);
    command.arg("--message-format=json-render-diagnostics").arg("--manifest-path").arg(&project.manifest);
    let target_dir = options.target_dir.clone().unwrap_or_else(|| project.target_directory.join("guest"));
    command.arg("--target-dir").arg(target_dir);
    for setting in PROFILE_SETTINGS {
        command.args(["--config", setting]);
    }
    let simd = match options.simd {
        Simd::Simd128 => '+',
        Simd::Off => '-',
    };
    command.arg("--config");
    let flags = format!("\"-Ctarget-feature={simd}simd128\",\"{NO_RANDOMNESS}\"");
    command.arg(format!("target.{TARGET}.rustflags=[{flags}]"));
    for package in packages {
        command.args(["--package", &package.id]);
    }
    // These would silence the flags above, and are meant for the machine at hand (`-Ctarget-cpu=native`).
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(variable);
    }
    command.current_dir(project.directory()).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// A message of cargo about something that it made.
#[derive(Deserialize)]
struct Artifact {
    package_id: String,
    filenames: Vec<PathBuf>,
}

impl Artifact {
    fn module(&self) -> Option<PathBuf> {
        self.filenames.iter().find(|path| path.extension().is_some_and(|end| end == "wasm")).cloned()
    }
}

/// Reads cargo's messages to their end and keeps those that name a module.
fn artifacts(messages: impl Read) -> Vec<Artifact> {
    BufReader::new(messages)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Artifact>(&line).ok())
        .filter(|artifact| artifact.module().is_some())
        .collect()
}
