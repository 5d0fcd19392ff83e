//! The mistakes that people make with `#[handler]`: each is an error at the line where it was made, which says
//! what to write. A case is a file in `mistakes/`: `//~v TEXT` stands above the line, with the error's message
//! and, where it has one, its label.
//!
//! The compiler is called itself and not through cargo: what it needs is beside this test's binary.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// What the compiler says of a mistake.
#[derive(Debug, Deserialize)]
struct Diagnostic {
    message: String,
    level: String,
    spans: Vec<Span>,
    rendered: String,
}

#[derive(Debug, Deserialize)]
struct Span {
    file_name: String,
    line_start: usize,
    is_primary: bool,
    label: Option<String>,
}

/// The newest library of the SDK beside this binary: the one that this test was built with.
fn sdk() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let libraries = fs::read_dir(here.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let is_sdk = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("libtidemill_sdk-") && name.ends_with(".rlib")
    };
    libraries.filter(is_sdk).max_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap()
}

/// The errors of the crate at `path`, without the count at their end.
fn errors(path: &Path, sdk: &Path) -> Vec<Diagnostic> {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--error-format", "json"])
        .args(["--cap-lints", "allow", "--out-dir"])
        .arg(scratch)
        .arg("-L")
        .arg(format!("dependency={}", sdk.parent().unwrap().display()))
        .arg("--extern")
        .arg(format!("tidemill_sdk={}", sdk.display()))
        .arg(path)
        // Long types are written to files, in the directory of the compiler.
        .current_dir(scratch)
        .output()
        .unwrap();
    assert!(!output.status.success(), "{} compiles", path.display());
    let text = String::from_utf8(output.stderr).unwrap();
    let errors = text.lines().map(|line| serde_json::from_str::<Diagnostic>(line).expect(line));
    errors.filter(|error| error.level == "error" && !error.spans.is_empty()).collect()
}

/// What the one error of `errors` is: its line in `path`, its message with its label.
fn only(errors: &[Diagnostic], path: &Path) -> Result<(usize, String), String> {
    let all = || errors.iter().map(|error| error.rendered.as_str()).collect::<String>();
    let [error] = errors else { return Err(format!("not one error but {}:\n{}", errors.len(), all())) };
    let span = error.spans.iter().find(|span| span.is_primary).ok_or_else(all)?;
    if Path::new(&span.file_name) != path {
        return Err(format!("the error stands in {}:\n{}", span.file_name, all()));
    }
    let label = span.label.as_ref().map(|label| format!(": {label}")).unwrap_or_default();
    Ok((span.line_start, format!("{}{label}", error.message)))
}

/// The line that a case expects its error at, and its text.
fn expected(case: &str) -> (usize, String) {
    let mut lines = case.lines().enumerate();
    let found = lines.find_map(|(index, line)| Some((index + 2, line.trim().strip_prefix("//~v ")?)));
    let (line, text) = found.expect("a case says what it expects");
    (line, text.to_owned())
}

#[test]
fn every_mistake_is_told_where_it_was_made_with_what_to_write() {
    let sdk = sdk();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(cases).unwrap() {
        let path = entry.unwrap().path();
        let expected = expected(&fs::read_to_string(&path).unwrap());
        match only(&errors(&path, &sdk), &path) {
            Ok(found) if found == expected => {}
            Ok(found) => {
                wrong.push(format!("{}:\n  found    {found:?}\n  expected {expected:?}", path.display()));
            }
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 20, "only {count} cases were found");
}
