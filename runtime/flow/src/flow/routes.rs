//! Who reads which partition: how the committer's news reach drivers. A look-up per partition that moved, one
//! lock of the queue for all of them together.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, RwLock};
use tidemill_bus::log::Watcher;
use tidemill_bus::{TopicId, TopicPartition};

use crate::pool::{Cell, Core};

/// By partition, the drivers that read it.
pub(crate) type Readers = Vec<Vec<Arc<Cell>>>;

/// The drivers by what they read.
pub(crate) struct Routes {
    core: Arc<Core>,
    topics: RwLock<HashMap<TopicId, Readers>>,
    news: Mutex<News>,
    told: Condvar,
}

/// Topics that moved and that no route knows.
#[derive(Default)]
struct News {
    unknown: HashSet<TopicId>,
    stopped: bool,
}

impl Routes {
    /// No routes yet.
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self {
            core: Arc::clone(core),
            topics: RwLock::default(),
            news: Mutex::default(),
            told: Condvar::new(),
        }
    }

    /// Puts other routes in the place of all: for each topic, by partition, its readers; a topic without
    /// readers is known too.
    pub(crate) fn replace(&self, topics: HashMap<TopicId, Readers>) {
        *self.topics.write() = topics;
    }

    /// Waits for topics that no route knows; `None` when the flow stops.
    pub(crate) fn unknown(&self) -> Option<HashSet<TopicId>> {
        let mut news = self.news.lock();
        while news.unknown.is_empty() && !news.stopped {
            self.told.wait(&mut news);
        }
        (!news.stopped).then(|| std::mem::take(&mut news.unknown))
    }

    /// The topics that no route knows, without waiting.
    #[cfg(test)]
    pub(crate) fn take_unknown(&self) -> HashSet<TopicId> {
        std::mem::take(&mut self.news.lock().unknown)
    }

    /// No news any more.
    pub(crate) fn stop(&self) {
        self.news.lock().stopped = true;
        self.told.notify_all();
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
            self.news.lock().unknown.extend(unknown);
            self.told.notify_all();
        }
    }
}
