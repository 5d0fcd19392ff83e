//! The runtime as its owner starts and stops it: store, flow, plugin directory and API put together.

mod check;
mod guests;
mod plugins;
mod start;

use std::net::SocketAddr;
use std::sync::Arc;

use tidemill_bus::Store;
use tidemill_bus::store::CloseError;
use tidemill_flow::Flow;
use tidemill_wasm::directory::PluginDirectory;
use tokio::sync::watch;

use crate::config::Config;
use crate::limits::DRAIN_MAX;
use crate::tasks::Tasks;

pub use check::{PluginReport, check_plugins};
pub use guests::GuestLog;
pub use plugins::{PluginState, Plugins, Version};
pub use start::StartError;

/// A running Tidemill. Stopped when it is dropped, but cleanly only by [`Runtime::stop`].
///
/// It has threads of its own and may be started from anywhere but an async task.
pub struct Runtime {
    address: SocketAddr,
    store: Store,
    flow: Arc<Flow>,
    plugins: Arc<Plugins>,
    directory: Option<PluginDirectory>,
    stopping: watch::Sender<bool>,
    tasks: Tasks,
    // The last field: what the others drop may still need its threads.
    threads: tokio::runtime::Runtime,
}

impl Runtime {
    /// Starts everything that `config` says. Waits for the disk, and up to 5 s for another process to let the
    /// data directory go.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        start::start(config)
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What became of the plugins.
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// Stops: takes no more requests and ends those under way, then the handlers' calls under way, commits what
    /// waits, and closes the store. Waits for all of it.
    pub fn stop(mut self) -> Result<(), CloseError> {
        self.stopping.send_replace(true);
        self.threads.block_on(self.tasks.join(DRAIN_MAX));
        drop(self.directory.take());
        self.flow.stop();
        self.store.close()
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("address", &self.address).finish_non_exhaustive()
    }
}
