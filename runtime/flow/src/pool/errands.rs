//! What workers and the committer leave for the one thread of the flow that may wait for the disk: topics that no route
//! knows, handlers of which a trial is over. Bounded by the topics and handlers that there are.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tidemill_bus::TopicId;

use crate::installed::Installed;

/// Errands to be run.
#[derive(Default)]
pub(crate) struct Errands {
    left: Mutex<Left>,
    told: Condvar,
}

#[derive(Default)]
struct Left {
    errands: Errand,
    stopped: bool,
}

/// What is to be looked after.
#[derive(Default)]
pub(crate) struct Errand {
    /// Topics that moved and that no route knows.
    pub(crate) unknown: HashSet<TopicId>,
    /// Handlers, by name, of which a version has proved itself or failed.
    pub(crate) tried: BTreeMap<Arc<str>, Arc<Installed>>,
}

impl Errand {
    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.unknown.is_empty() && self.tried.is_empty()
    }
}

impl Errands {
    /// Topics moved that no route knows.
    pub(crate) fn meet(&self, unknown: Vec<TopicId>) {
        self.left.lock().errands.unknown.extend(unknown);
        self.told.notify_all();
    }

    /// The trial of a handler's version is over.
    pub(crate) fn conclude(&self, installed: Arc<Installed>) {
        self.left.lock().errands.tried.insert(Arc::clone(&installed.name), installed);
        self.told.notify_all();
    }

    /// Waits for something to do; `None` when the flow stops.
    pub(crate) fn wait(&self) -> Option<Errand> {
        let mut left = self.left.lock();
        while left.errands.is_empty() && !left.stopped {
            self.told.wait(&mut left);
        }
        (!left.stopped).then(|| std::mem::take(&mut left.errands))
    }

    /// What there is to do, without waiting.
    #[cfg(test)]
    pub(crate) fn take(&self) -> Errand {
        std::mem::take(&mut self.left.lock().errands)
    }

    /// Nothing any more.
    pub(crate) fn stop(&self) {
        self.left.lock().stopped = true;
        self.told.notify_all();
    }
}
