//! Components as an upload would bring them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The component at `path` as a version of this number: the same code with another custom section, so that its hash is
/// new.
pub fn versioned(path: &Path, version: u64) -> Result<Vec<u8>> {
    let mut bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let payload = format!("{version:020}");
    bytes.extend_from_slice(&[&[0x00, 24, 3][..], b"ver", payload.as_bytes()].concat());
    Ok(bytes)
}
