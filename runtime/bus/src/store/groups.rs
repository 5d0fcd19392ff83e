//! Consumer groups, as a server shows and changes them: a handler's group has the handler's name.

use std::sync::Arc;

use super::Store;
use crate::commit::{AdminDone, AdminOp};
use crate::log::AdminError;
use crate::transaction::Progress;
use crate::{DriverKey, FrameNumber, HandlerId, Offset, TopicPartition};

/// A group: how far a handler has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The handler's name.
    pub name: Arc<str>,
    /// The handler's id.
    pub handler: HandlerId,
    /// Where it stands, by partition, lane and topic.
    pub partitions: Vec<GroupPartition>,
    /// Which of its drivers stand still because a change of them was found broken, and the frame of the change; frame 0
    /// says that all that the tables had of them is lost.
    pub broken: Vec<(DriverKey, FrameNumber)>,
}

/// How far a driver of a group has come on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPartition {
    /// The driver.
    pub driver: DriverKey,
    /// The partition that it reads.
    pub source: TopicPartition,
    /// How far it has come.
    pub progress: Progress,
    /// The high watermark there.
    pub end: Offset,
}

impl GroupPartition {
    /// Events that it has not read, as far as offsets tell.
    pub fn lag(&self) -> u64 {
        self.end.0.saturating_sub(self.progress.next.0)
    }
}

impl Group {
    /// Sum of the lags.
    pub fn lag(&self) -> u64 {
        self.partitions.iter().map(GroupPartition::lag).sum()
    }
}

impl Store {
    /// All groups, by name.
    pub fn groups(&self) -> Vec<Group> {
        let handlers = self.inner.shared.view.catalog.handlers();
        handlers.into_iter().map(|(name, handler)| self.group_of(name, handler)).collect()
    }

    /// The group of that name.
    pub fn group(&self, name: &str) -> Option<Group> {
        let handler = self.inner.shared.view.catalog.handler_named(name)?;
        Some(self.group_of(name.into(), handler))
    }

    fn group_of(&self, name: Arc<str>, handler: HandlerId) -> Group {
        let view = &self.inner.shared.view;
        let mut partitions = Vec::new();
        for (driver, topics) in view.groups.of_handler(handler) {
            for (topic, progress) in topics {
                let source = TopicPartition { topic, partition: driver.partition };
                partitions.push(GroupPartition { driver, source, progress, end: view.tails.end(source) });
            }
        }
        Group { name, handler, partitions, broken: view.stopped(handler) }
    }

    /// Sets where a group reads on in a partition. Its drivers there are fenced: what they had in flight is
    /// aborted. Refused while one of them is stopped by a broken change. Waits for the disk.
    pub fn seek(&self, group: &str, source: TopicPartition, to: Offset) -> Result<(), AdminError> {
        self.change(AdminOp::Seek { handler: group.to_owned(), source, to }).map(|_| ())
    }

    /// Deletes a group with its progress and state. A handler of that name begins anew, with another id.
    /// Waits for the disk.
    pub fn delete_group(&self, group: &str) -> Result<(), AdminError> {
        self.change(AdminOp::DeleteGroup { name: group.to_owned() }).map(|_| ())
    }

    /// Lets the drivers of a group that were stopped by a broken change go on from what they were before it:
    /// the state is that of then, and what they had read since is read, and its output made, once more. Returns
    /// the drivers with the frame of the change. Waits for the disk.
    pub fn restore_group(&self, group: &str) -> Result<Vec<(DriverKey, FrameNumber)>, AdminError> {
        match self.change(AdminOp::RestoreGroup { name: group.to_owned() })? {
            AdminDone::Restored(drivers) => Ok(drivers),
            _ => unreachable!("a restoration gives drivers"),
        }
    }

    /// Gives a group a new beginning: its handler's name gets a new id, without progress and state. Waits for
    /// the disk.
    pub fn reset_group(&self, group: &str) -> Result<HandlerId, AdminError> {
        match self.change(AdminOp::ResetGroup { name: group.to_owned() })? {
            AdminDone::Handler(id) => Ok(id),
            _ => unreachable!("a reset gives a handler"),
        }
    }
}
