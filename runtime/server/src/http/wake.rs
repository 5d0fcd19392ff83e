//! Wakes those who follow a topic when there is more to read. Knows no connection.

use std::sync::Arc;

use dashmap::DashMap;
use tidemill_bus::log::Watcher;
use tidemill_bus::{TopicId, TopicPartition};
use tokio::sync::watch;

/// The topics that are followed.
#[derive(Default)]
pub struct Wakes {
    topics: DashMap<TopicId, watch::Sender<()>>,
}

/// Wakes when its topic has more to read; nothing is missed between two waits.
pub(super) struct Wake {
    wakes: Arc<Wakes>,
    topic: TopicId,
    receiver: Option<watch::Receiver<()>>,
}

impl Wakes {
    /// Follows `topic` from now on.
    pub(super) fn follow(self: &Arc<Self>, topic: TopicId) -> Wake {
        let receiver = self.topics.entry(topic).or_insert_with(|| watch::Sender::new(())).subscribe();
        Wake { wakes: Arc::clone(self), topic, receiver: Some(receiver) }
    }

    /// Wakes everybody who follows `topic`.
    pub fn wake(&self, topic: TopicId) {
        if let Some(sender) = self.topics.get(&topic) {
            sender.send_replace(());
        }
    }
}

impl Watcher for Wakes {
    fn moved(&self, moved: &[TopicPartition]) {
        if !self.topics.is_empty() {
            for source in moved {
                self.wake(source.topic);
            }
        }
    }
}

impl Wake {
    /// Waits until there was a reason to read since the last time.
    pub(super) async fn wait(&mut self) {
        let receiver = self.receiver.as_mut().expect("only dropping takes it");
        // The sender lives as long as a receiver does.
        let _ = receiver.changed().await;
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.receiver = None;
        self.wakes.topics.remove_if(&self.topic, |_, sender| sender.receiver_count() == 0);
    }
}

#[cfg(test)]
mod tests {
    use tidemill_bus::Partition;

    use super::*;

    #[test]
    fn a_follower_is_woken_once_and_leaves_nothing_behind() {
        let wakes = Arc::new(Wakes::default());
        let mut wake = wakes.follow(TopicId(1));
        let moved = |topic| wakes.moved(&[TopicPartition { topic: TopicId(topic), partition: Partition(0) }]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        moved(1);
        moved(2);
        runtime.block_on(wake.wait());
        let again = runtime.block_on(async {
            tokio::select! {
                biased;
                () = wake.wait() => true,
                () = std::future::ready(()) => false,
            }
        });
        assert!(!again);
        drop(wake);
        assert!(wakes.topics.is_empty());
    }
}
