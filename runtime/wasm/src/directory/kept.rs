//! The files of versions that may have to come back after a start: the one in charge, and the newest. Owns their
//! directory in the data directory; knows nothing of who is in charge.
//!
//! `HANDLER.kept/SHA-256/` holds the component and its settings under their own names, so that it is read as a plugin
//! directory is.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PluginError;
use super::files::{self, Files};
use crate::plugin::{Loader, Plugin};

/// A directory of kept versions.
#[derive(Debug)]
pub struct Kept {
    dir: PathBuf,
}

impl Kept {
    /// Opens the directory, which is made if it is missing.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Keeps the files that `plugin` was loaded from as `stem`. Waits for the disk.
    pub(super) fn keep(&self, stem: &str, plugin: &Plugin, files: &Files) -> io::Result<()> {
        let dir = self.version(&plugin.config().name, plugin.sha256());
        fs::create_dir_all(&dir)?;
        write(&dir, &format!("{stem}.wasm"), &files.component)?;
        write(&dir, &format!("{stem}.toml"), files.settings.as_bytes())
    }

    /// Loads the version of a handler, or says why it is not to be had.
    pub fn load(&self, handler: &str, version: &str, loader: &Loader) -> Result<Arc<Plugin>, PluginError> {
        let dir = self.version(handler, version);
        let failed = |error| PluginError::Read { path: dir.clone(), error };
        let listing = files::list(&dir).map_err(failed)?;
        let Some(stem) = listing.plugins.keys().next() else {
            return Err(failed(io::ErrorKind::NotFound.into()));
        };
        let (plugin, _) = files::load(&dir, stem, loader)?;
        if plugin.sha256() == version && plugin.config().name == handler {
            return Ok(plugin);
        }
        Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it is another plugin than was kept")))
    }

    /// Forgets all versions of a handler but these.
    pub fn forget_others(&self, handler: &str, versions: &[&str]) -> io::Result<()> {
        let dir = self.handler(handler);
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if !versions.iter().any(|version| entry.file_name() == *version) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        if versions.is_empty() { fs::remove_dir(dir) } else { Ok(()) }
    }

    fn handler(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.kept"))
    }

    fn version(&self, handler: &str, version: &str) -> PathBuf {
        self.handler(handler).join(version)
    }
}

/// Writes a file beside and renames it: whoever finds it finds all of it. After most starts it is there already.
fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    if fs::read(dir.join(name)).is_ok_and(|kept| kept == bytes) {
        return Ok(());
    }
    let beside = dir.join(format!(".{name}.tmp"));
    let mut file = fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, dir.join(name))?;
    fs::File::open(dir)?.sync_all()
}
