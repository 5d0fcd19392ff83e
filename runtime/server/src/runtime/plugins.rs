//! From the plugin directory to the flow: which version of each handler is in charge, and what is wrong with
//! those that are not.

use std::sync::Arc;

use dashmap::DashMap;
use tidemill_flow::Flow;
use tidemill_flow::config::Ordering;
use tidemill_flow::handler::Handler;
use tidemill_wasm::directory::{Change, Kept, Listener};
use tidemill_wasm::{Loader, Plugin};

/// What tells a version of a plugin apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// SHA-256 of the component, in hexadecimal.
    pub sha256: String,
    /// Bytes of the component.
    pub bytes: usize,
    /// The topics whose keys must stay in their partitions, for it keeps state there.
    pub keyed_inputs: Vec<String>,
}

impl Version {
    fn of(plugin: &Plugin) -> Self {
        let is_keyed = match plugin.config().ordering {
            Ordering::Partition => plugin.has_state(),
        };
        let keyed_inputs = if is_keyed { plugin.config().inputs.clone() } else { Vec::new() };
        Self { sha256: plugin.sha256().to_owned(), bytes: plugin.bytes(), keyed_inputs }
    }
}

/// What became of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginState {
    /// The version in charge, if one is.
    pub version: Option<Version>,
    /// Why the newest file was not taken; the version in charge, if there is one, goes on.
    pub error: Option<String>,
}

/// The plugins by the names of their handlers.
pub struct Plugins {
    flow: Arc<Flow>,
    loader: Arc<Loader>,
    kept: Arc<Kept>,
    states: DashMap<String, PluginState>,
}

impl Plugins {
    /// No plugins yet; they are installed in `flow`.
    pub(crate) fn new(flow: Arc<Flow>, loader: Arc<Loader>, kept: Arc<Kept>) -> Self {
        Self { flow, loader, kept, states: DashMap::new() }
    }

    /// What became of a plugin.
    pub fn get(&self, name: &str) -> Option<PluginState> {
        self.states.get(name).map(|state| state.clone())
    }

    /// All plugins by name.
    pub fn all(&self) -> Vec<(String, PluginState)> {
        let mut all: Vec<_> =
            self.states.iter().map(|state| (state.key().clone(), state.value().clone())).collect();
        all.sort_unstable_by(|one, two| one.0.cmp(&two.0));
        all
    }

    /// The handlers in charge that must find the keys of `topic` in the partitions where they are.
    pub fn bound_to(&self, topic: &str) -> Vec<String> {
        let is_bound = |plugin: &PluginState| {
            let inputs = plugin.version.iter().flat_map(|version| &version.keyed_inputs);
            inputs.into_iter().any(|input| input == topic)
        };
        self.all().into_iter().filter(|(_, plugin)| is_bound(plugin)).map(|(name, _)| name).collect()
    }

    fn load(&self, plugin: Arc<Plugin>) {
        let config = plugin.config().clone();
        let name = config.name.clone();
        let version = Version::of(&plugin);
        if !self.states.contains_key(&name) {
            self.bring_back(&name, Some(plugin.sha256()));
        }
        match self.flow.replace(config, plugin) {
            Ok(()) => {
                tracing::info!(handler = name, version = version.sha256, "the version takes the next events");
                self.forget_others(&name, Some(&version.sha256));
                self.states.insert(name, PluginState { version: Some(version), error: None });
            }
            Err(error) => self.fail(name, error.to_string()),
        }
    }

    /// After a start the version in charge may be another than the newest file, which is still on trial or broken:
    /// then that one comes back first.
    fn bring_back(&self, name: &str, newest: Option<&str>) {
        let version = match self.flow.in_charge(name) {
            Ok(Some(version)) if Some(version.as_str()) != newest => version,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(handler = name, "cannot tell which version is in charge: {error}");
                return;
            }
        };
        match self.put_back(name, &version) {
            Ok(()) => tracing::info!(handler = name, version, "the version in charge comes back"),
            Err(error) => {
                tracing::warn!(handler = name, version, "the version in charge cannot come back: {error}");
            }
        }
    }

    fn put_back(&self, name: &str, version: &str) -> Result<(), String> {
        let former = self.kept.load(name, version, &self.loader).map_err(|error| error.to_string())?;
        let state = PluginState { version: Some(Version::of(&former)), error: None };
        self.flow.replace(former.config().clone(), former).map_err(|error| error.to_string())?;
        self.states.insert(name.to_owned(), state);
        Ok(())
    }

    /// Forgets the files of versions that can no longer come back.
    fn forget_others(&self, name: &str, newest: Option<&str>) {
        let in_charge = self.flow.in_charge(name).ok().flatten();
        let versions: Vec<&str> = in_charge.as_deref().into_iter().chain(newest).collect();
        if let Err(error) = self.kept.forget_others(name, &versions) {
            tracing::warn!(handler = name, "files of former versions stay: {error}");
        }
    }

    fn fail(&self, name: String, error: String) {
        if !self.states.contains_key(&name) {
            self.bring_back(&name, None);
        }
        tracing::error!(handler = name, "the plugin was not taken: {error}");
        self.states.entry(name).or_default().error = Some(error);
    }

    fn remove(&self, name: &str) {
        // A plugin that was never installed is gone all the same.
        match self.flow.remove(name) {
            Ok(()) => tracing::info!(handler = name, "the handler is gone; its group and state stay"),
            Err(unknown) => tracing::debug!("{unknown}"),
        }
        self.states.remove(name);
    }
}

impl Listener for Plugins {
    fn changed(&self, change: Change) {
        match change {
            Change::Loaded(plugin) => self.load(plugin),
            Change::Removed { name } => self.remove(&name),
            Change::Failed { name, error } => self.fail(name, error.to_string()),
        }
    }
}
