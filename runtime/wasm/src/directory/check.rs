//! Checking a plugin directory without running anything of it: what `tidemill check` reports.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PluginError;
use super::files::{self, component_path};
use crate::plugin::{Loader, Plugin};

/// What became of one plugin, or of a plugin file without one.
pub struct Checked {
    /// The component, or the plugin file that has none.
    pub path: PathBuf,
    /// The handler that it would be.
    pub outcome: Result<Arc<Plugin>, PluginError>,
}

/// Loads every plugin of `dir`, in the order of their names, and drops what came of it. Each handler is
/// instantiated once, to be asked whether it likes its configuration; it sees no event and no state.
pub fn check_directory(dir: &Path, loader: &Loader) -> io::Result<Vec<Checked>> {
    let listing = files::list(dir)?;
    let mut owners: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut checked: Vec<Checked> = Vec::new();
    for stem in listing.plugins.keys() {
        let path = component_path(dir, stem);
        let outcome = files::load(dir, stem, loader).and_then(|(plugin, _)| {
            let name = plugin.config().name.clone();
            match owners.insert(name.clone(), path.clone()) {
                Some(owner) => Err(PluginError::NameTaken { name, path: owner }),
                None => Ok(plugin),
            }
        });
        checked.push(Checked { path, outcome });
    }
    let orphans = listing.orphans.into_iter();
    checked.extend(
        orphans.map(|path| Checked { outcome: Err(PluginError::NoComponent { path: path.clone() }), path }),
    );
    Ok(checked)
}
