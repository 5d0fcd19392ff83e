//! The audit of dependencies: each has a licence that we may ship, and comes in one version.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand, Package, PackageId};

use crate::shell::root;

/// Licences that a binary under Apache-2.0 OR MIT may contain.
const LICENCES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that come in several versions, with the one who keeps us from having one.
const DUPLICATES: [(&str, &str); 9] = [
    ("embedded-io", "postcard, which wasmtime uses, lists both"),
    ("getrandom", "the hasher of sonic-rs and tempfile are of different years"),
    ("hashbrown", "dashmap, cranelift and indexmap each have their own"),
    ("syn", "some macros have moved on to 3, thiserror and ours among them have not"),
    ("wasm-encoder", "wasmtime's long-term release stays behind the component tools"),
    ("wasm-metadata", "wasmtime's long-term release stays behind the component tools"),
    ("wasmparser", "wasmtime's long-term release stays behind the component tools"),
    ("wit-component", "wasmtime's long-term release stays behind the component tools"),
    ("wit-parser", "wasmtime's long-term release stays behind the component tools"),
];

/// Fails with every finding at once.
pub(crate) fn run() -> Result<()> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(
            ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned).to_vec(),
        )
        .exec()
        .context("reading the dependency graph")?;
    let foreign = shipped(&metadata)?;
    let mut findings = licence_findings(&foreign)?;
    findings.extend(duplicate_findings(&foreign));
    if findings.is_empty() {
        println!("audit: {} dependencies, licences and versions are fine", foreign.len());
        return Ok(());
    }
    bail!("the audit of dependencies found:\n  {}", findings.join("\n  "));
}

/// The packages from outside that end up in what we ship: reached by normal dependencies.
fn shipped(metadata: &Metadata) -> Result<Vec<&Package>> {
    let resolve = metadata.resolve.as_ref().context("cargo gave no dependency graph")?;
    let edges: BTreeMap<&PackageId, Vec<&PackageId>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let normal = node.deps.iter().filter(|dep| {
                dep.dep_kinds.iter().any(|kind| kind.kind == cargo_metadata::DependencyKind::Normal)
            });
            (&node.id, normal.map(|dep| &dep.pkg).collect())
        })
        .collect();
    let mut reached: Vec<&PackageId> = metadata.workspace_members.iter().collect();
    let mut next = 0;
    while next < reached.len() {
        for id in &edges[reached[next]] {
            if !reached.contains(id) {
                reached.push(id);
            }
        }
        next += 1;
    }
    let foreign =
        metadata.packages.iter().filter(|package| package.source.is_some() && reached.contains(&&package.id));
    Ok(foreign.collect())
}

fn licence_findings(packages: &[&Package]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for package in packages {
        let Some(licence) = &package.license else {
            findings.push(format!("{} {} names no licence", package.name, package.version));
            continue;
        };
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX)
            .with_context(|| format!("the licence of {}: {licence:?}", package.name))?;
        let allowed = |requirement: &spdx::LicenseReq| {
            requirement.license.id().is_some_and(|id| LICENCES.contains(&id.name))
        };
        if !expression.evaluate(allowed) {
            findings.push(format!("{} {} is under {licence}", package.name, package.version));
        }
    }
    Ok(findings)
}

fn duplicate_findings(packages: &[&Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(package.version.to_string());
    }
    let known = |name: &str| DUPLICATES.iter().any(|(known, _)| *known == name);
    let several = versions.iter().filter(|(name, versions)| versions.len() > 1 && !known(name));
    let mut findings: Vec<String> = several
        .map(|(name, versions)| {
            format!("{name} comes in {} versions: {}", versions.len(), versions.join(", "))
        })
        .collect();
    for (name, _) in DUPLICATES {
        if versions.get(name).is_none_or(|versions| versions.len() < 2) {
            findings.push(format!(
                "{name} comes in one version only: take it off the list in xtask/src/audit.rs"
            ));
        }
    }
    findings
}
