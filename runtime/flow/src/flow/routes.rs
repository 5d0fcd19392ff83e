//! Who reads which partition: how the committer's news reach drivers. A look-up per partition that moved, one
//! lock of the queue for all of them together.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tidemill_bus::log::Watcher;
use tidemill_bus::{TopicId, TopicPartition};

use crate::pool::{Cell, Core};

/// By partition, the drivers that read it.
pub(crate) type Readers = Vec<Vec<Arc<Cell>>>;

/// The drivers by what they read.
pub(crate) struct Routes {
    core: Arc<Core>,
    topics: RwLock<HashMap<TopicId, Readers>>,
}

impl Routes {
    /// No routes yet.
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core), topics: RwLock::default() }
    }

    /// Puts other routes in the place of all: for each topic, by partition, its readers; a topic without
    /// readers is known too.
    pub(crate) fn replace(&self, topics: HashMap<TopicId, Readers>) {
        *self.topics.write() = topics;
    }

    /// No routes any more.
    pub(crate) fn stop(&self) {
        self.topics.write().clear();
    }
}

impl Watcher for Routes {
    fn moved(&self, moved: &[TopicPartition]) {
        let mut woken = Vec::new();
        let mut unknown = Vec::new();
        {
            let topics = self.topics.read();
            let mut last: Option<(TopicId, Option<&Readers>)> = None;
            for source in moved {
                let partitions = match last {
                    Some((topic, partitions)) if topic == source.topic => partitions,
                    _ => topics.get(&source.topic),
                };
                last = Some((source.topic, partitions));
                let readers = partitions.map(|partitions| partitions.get(source.partition.0 as usize));
                match readers {
                    Some(Some(readers)) => {
                        woken.extend(readers.iter().filter(|cell| cell.wake_moved()).map(Arc::clone));
                    }
                    _ if unknown.last() == Some(&source.topic) => {}
                    _ => unknown.push(source.topic),
                }
            }
        }
        if !woken.is_empty() {
            self.core.enqueue(woken);
        }
        if !unknown.is_empty() {
            self.core.errands.meet(unknown);
        }
    }
}
