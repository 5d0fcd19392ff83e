//! `tidemill build`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use tidemill_build::{BuildOptions, Built};

use crate::args::BuildArgs;
use crate::output::{Output, thousands};

pub(crate) fn build(args: BuildArgs, output: Output) -> Result<ExitCode> {
    let options =
        BuildOptions { packages: args.packages, out_dir: args.out, ..BuildOptions::new(&args.manifest) };
    for built in tidemill_build::build_crates(&options)? {
        let Built { package, path, size, imports } = built;
        let text = format!("{package}: {} ({} bytes)", path.display(), thousands(size));
        output
            .done(&text, &json!({ "package": package, "path": path, "bytes": size, "imports": imports }))?;
    }
    Ok(ExitCode::SUCCESS)
}
