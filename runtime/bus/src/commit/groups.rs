//! How far every driver has come, and the epochs that fence them. Follows the committed rows of progress.

use std::collections::HashMap;

use dashmap::DashMap;

use crate::transaction::Progress;
use crate::{DriverKey, HandlerId, Offset, TopicId, TopicPartition};

#[derive(Default)]
pub(crate) struct Groups {
    progress: DashMap<DriverKey, Vec<(TopicId, Progress)>>,
    /// How often a transaction of the driver was aborted.
    aborts: DashMap<DriverKey, u64>,
    /// How often an operator changed the handler's group.
    changes: DashMap<HandlerId, u64>,
}

impl Groups {
    pub(crate) fn progress(&self, driver: DriverKey, topic: TopicId) -> Option<Progress> {
        let topics = self.progress.get(&driver)?;
        topics.iter().find(|(id, _)| *id == topic).map(|(_, progress)| *progress)
    }

    /// Follows a row of progress.
    pub(crate) fn set(&self, driver: DriverKey, topic: TopicId, progress: Option<Progress>) {
        let mut topics = self.progress.entry(driver).or_default();
        let found = topics.iter().position(|(id, _)| *id == topic);
        match (found, progress) {
            (Some(index), Some(progress)) => topics[index].1 = progress,
            (None, Some(progress)) => topics.push((topic, progress)),
            (Some(index), None) => drop(topics.swap_remove(index)),
            (None, None) => {}
        }
    }

    /// The driver's epoch, as [`crate::Log::epoch`] has it.
    pub(crate) fn epoch(&self, driver: DriverKey) -> u64 {
        let aborts = self.aborts.get(&driver).map_or(0, |count| *count);
        aborts + self.changes.get(&driver.handler).map_or(0, |count| *count)
    }

    /// Ends the driver's epoch.
    pub(crate) fn aborted(&self, driver: DriverKey) {
        *self.aborts.entry(driver).or_default() += 1;
    }

    /// Ends the epochs of all drivers of a handler.
    pub(crate) fn changed(&self, handler: HandlerId) {
        *self.changes.entry(handler).or_default() += 1;
    }

    /// The drivers of a handler that have progress, with it.
    pub(crate) fn of_handler(&self, handler: HandlerId) -> Vec<(DriverKey, Vec<(TopicId, Progress)>)> {
        let mut drivers: Vec<_> = self
            .progress
            .iter()
            .filter(|entry| entry.key().handler == handler)
            .map(|entry| (*entry.key(), entry.value().clone()))
            .collect();
        drivers.sort_unstable_by_key(|(driver, _)| *driver);
        drivers
    }

    /// Forgets a handler. Its epochs stay: transactions of it may still come.
    pub(crate) fn remove_handler(&self, handler: HandlerId) {
        self.progress.retain(|driver, _| driver.handler != handler);
    }

    /// Forgets the progress on a topic.
    pub(crate) fn remove_topic(&self, topic: TopicId) {
        self.progress.retain(|_, topics| {
            topics.retain(|(id, _)| *id != topic);
            !topics.is_empty()
        });
    }

    /// For each partition that is read the lowest position of each handler.
    pub(crate) fn positions(&self) -> HashMap<TopicPartition, Vec<(HandlerId, Offset)>> {
        let mut positions: HashMap<TopicPartition, Vec<(HandlerId, Offset)>> = HashMap::new();
        for entry in &self.progress {
            let driver = *entry.key();
            for &(topic, progress) in entry.value() {
                let source = TopicPartition { topic, partition: driver.partition };
                let handlers = positions.entry(source).or_default();
                match handlers.iter_mut().find(|(handler, _)| *handler == driver.handler) {
                    Some((_, lowest)) => *lowest = (*lowest).min(progress.next),
                    None => handlers.push((driver.handler, progress.next)),
                }
            }
        }
        positions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lane, Partition};

    fn driver(handler: u64, lane: u32) -> DriverKey {
        DriverKey { handler: HandlerId(handler), partition: Partition(2), lane: Lane(lane) }
    }

    #[test]
    fn an_epoch_ends_with_an_abort_and_with_a_change_of_the_group() {
        let groups = Groups::default();
        groups.aborted(driver(1, 0));
        groups.changed(HandlerId(1));
        assert_eq!((groups.epoch(driver(1, 0)), groups.epoch(driver(1, 1))), (2, 1));
        assert_eq!(groups.epoch(driver(2, 0)), 0);
    }

    #[test]
    fn a_group_stands_where_its_lowest_lane_does() {
        let groups = Groups::default();
        for (lane, next) in [(0, 7), (1, 5), (2, 9)] {
            let progress = Progress { next: Offset(next), ..Progress::default() };
            groups.set(driver(1, lane), TopicId(3), Some(progress));
        }
        let source = TopicPartition { topic: TopicId(3), partition: Partition(2) };
        assert_eq!(groups.positions()[&source], [(HandlerId(1), Offset(5))]);
        groups.remove_topic(TopicId(3));
        assert!(groups.positions().is_empty());
    }
}
