//! The files of a plugin directory: which there are, what tells their versions apart, and reading them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::PluginError;
use crate::limits::PLUGIN_BYTES;
use crate::plugin::{Loader, Plugin};
use crate::plugin_file;

/// What tells two versions of a file apart without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), inode: metadata.ino() }
    }

    /// A stamp of a file that is nowhere, for tests of what compares stamps.
    #[cfg(test)]
    pub(super) fn made_up(bytes: u64) -> Self {
        Self { bytes, modified: None, inode: 0 }
    }
}

/// The files of one plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) component: Stamp,
    pub(super) settings: Option<Stamp>,
}

/// All plugins of a directory by the stem of their file.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) plugins: BTreeMap<String, Version>,
    /// Plugin files without a plugin.
    pub(super) orphans: Vec<PathBuf>,
}

/// Lists `dir`. Hidden files are nobody's; links are followed, and where they lead to is looked at when they are
/// read.
pub(super) fn list(dir: &Path) -> io::Result<Listing> {
    let (mut components, mut settings) = (BTreeMap::new(), BTreeMap::new());
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().and_then(OsStr::to_str).filter(|stem| !stem.starts_with('.'))
        else {
            continue;
        };
        let files = match path.extension().and_then(OsStr::to_str) {
            Some("wasm") => &mut components,
            Some("toml") => &mut settings,
            _ => continue,
        };
        // A file that went away since, or a link to nothing, is not there.
        if let Ok(metadata) = fs::metadata(&path).map(|metadata| metadata.is_file().then_some(metadata))
            && let Some(metadata) = metadata
        {
            files.insert(stem.to_owned(), Stamp::of(&metadata));
        }
    }
    let orphans = settings.keys().filter(|stem| !components.contains_key(*stem));
    let orphans = orphans.map(|stem| dir.join(format!("{stem}.toml"))).collect();
    let plugins = components.into_iter().map(|(stem, component)| {
        let version = Version { component, settings: settings.get(&stem).copied() };
        (stem, version)
    });
    Ok(Listing { plugins: plugins.collect(), orphans })
}

/// The file of a component.
pub(super) fn component_path(dir: &Path, stem: &str) -> PathBuf {
    dir.join(format!("{stem}.wasm"))
}

/// What a plugin was loaded from.
pub(super) struct Files {
    pub(super) component: Vec<u8>,
    /// Empty if there is no such file.
    pub(super) settings: String,
}

/// Reads and loads the plugin `stem`.
pub(super) fn load(dir: &Path, stem: &str, loader: &Loader) -> Result<(Arc<Plugin>, Files), PluginError> {
    let (component, settings) = (component_path(dir, stem), dir.join(format!("{stem}.toml")));
    let text = match read(dir, &settings) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| {
            let error = io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
            PluginError::Read { path: settings.clone(), error }
        })?,
        Err(PluginError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let config =
        plugin_file::parse(stem, &text).map_err(|error| PluginError::PluginFile { path: settings, error })?;
    let wasm = read(dir, &component)?;
    match loader.load(&wasm, config) {
        Ok(plugin) => Ok((plugin, Files { component: wasm, settings: text })),
        Err(error) => Err(PluginError::Load { path: component, error }),
    }
}

/// Reads a file of `dir`, unless it is a link that leads elsewhere: who may write here may not thereby read the
/// whole disk.
fn read(dir: &Path, path: &Path) -> Result<Vec<u8>, PluginError> {
    let failed = |error| PluginError::Read { path: path.to_owned(), error };
    let target = path.canonicalize().map_err(failed)?;
    if !target.starts_with(dir.canonicalize().map_err(failed)?) {
        return Err(PluginError::Outside { path: path.to_owned(), target });
    }
    let bytes = fs::metadata(&target).map_err(failed)?.len();
    if bytes > PLUGIN_BYTES {
        return Err(PluginError::TooLarge { path: path.to_owned(), bytes });
    }
    fs::read(&target).map_err(failed)
}
