//! The flow as its owner sees it: handlers are installed, replaced, paused, moved and removed while events pass.

mod error;
mod install;
mod operate;
mod routes;
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};
use tidemill_bus::Log;

use crate::installed::Installed;
use crate::limits;
use crate::pool::{Core, Monotonic, spawn};
use crate::scheduler::Policy;

pub use error::{InstallError, OperateError, SeekError, UnknownHandler};
pub use operate::{Seek, SeekTo};
pub(crate) use routes::Routes;

/// How a flow runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Calls that run at a time; there are [`limits::WORKERS_PER_CORE`] threads for each.
    pub permits: usize,
    /// Bytes of unanswered transactions of all drivers.
    pub in_flight_bytes: usize,
    /// By what rule handlers share the permits.
    pub policy: Policy,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            permits: std::thread::available_parallelism().map_or(1, Into::into),
            in_flight_bytes: limits::IN_FLIGHT_BYTES,
            policy: Policy::default(),
        }
    }
}

/// A running flow: handlers, drivers, workers. Stopped when it is dropped.
///
/// All methods may be called from any thread. Those that say so wait; none may be called from a handler.
pub struct Flow {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the flow's own threads see of it.
pub(crate) struct Shared {
    pub(crate) core: Arc<Core>,
    pub(crate) routes: Arc<Routes>,
    /// The handlers by name.
    pub(crate) handlers: RwLock<BTreeMap<String, Arc<Installed>>>,
    /// Held while handlers come and go.
    pub(crate) changing: Mutex<Change>,
}

/// Whether handlers may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Allowed,
    Stopped,
}

impl Flow {
    /// Starts workers on `log`. Nothing runs until a handler is installed.
    ///
    /// # Panics
    ///
    /// When the system has no thread left.
    pub fn start(log: Arc<dyn Log>, options: Options) -> Self {
        let permits = options.permits.max(1);
        let core = (permits, options.in_flight_bytes, options.policy);
        let core = Arc::new(Core::new(log, Box::new(Monotonic::start()), core));
        let shared = Shared::new(&core);
        let threads = vec![spawn(&core, permits * limits::WORKERS_PER_CORE), shared.run_errands()];
        Self { shared, threads: Mutex::new(threads) }
    }

    /// Stops: no call begins any more, those under way end, all transactions are answered, all threads have
    /// ended. Waits for that. The log must run until it returns. Stopping twice is the same as once.
    pub fn stop(&self) {
        *self.shared.changing.lock() = Change::Stopped;
        self.shared.core.stop();
        self.shared.core.errands.stop();
        self.shared.routes.stop();
        for thread in self.threads.lock().drain(..) {
            thread.join().expect("a thread of the flow does not panic");
        }
        self.shared.core.drain();
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

impl Shared {
    /// Handlers on `core`, told of what moves in its log.
    pub(crate) fn new(core: &Arc<Core>) -> Arc<Self> {
        let routes = Arc::new(Routes::new(core));
        core.log.watch(Arc::clone(&routes) as _);
        Arc::new(Self {
            core: Arc::clone(core),
            routes,
            handlers: RwLock::default(),
            changing: Mutex::new(Change::Allowed),
        })
    }
}
