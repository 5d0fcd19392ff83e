//! What it means that frames were lost which the tables do not have: they may have held events of any partition,
//! changes of any driver and of the store itself. Knows no file.

use std::collections::HashMap;
use std::sync::Arc;

use crate::block::BlockHeader;
use crate::commit::View;
use crate::journal::Lost;
use crate::tables::{EndRow, NextId};
use crate::{Columns, DriverKey, HandlerId, Partition, TopicId, TopicPartition};

/// What nobody knows since frames were lost.
#[derive(Default)]
pub(super) struct Doubts {
    /// The last frames that were lost, and the ids that were next before the first of them.
    lost: Option<(Lost, [u64; 2])>,
    /// How many events may have been appended at most to each partition that no frame has told of since.
    events: HashMap<TopicPartition, u64>,
}

impl Doubts {
    /// Stops every handler as it was before the lost frames; gives no id again that they may have given.
    pub(super) fn add(&mut self, view: &View, lost: Lost) {
        let next = [NextId::Topic, NextId::Handler].map(|kind| view.catalog.next_id(kind));
        self.lost = Some((lost, self.lost.map_or(next, |(_, before)| before)));
        for (_, handler) in view.catalog.handlers() {
            view.stop(DriverKey::all_of(handler), lost.after.next());
        }
        // A frame changes the store's metadata once, if at all.
        view.skip_ids(lost.before.0 - lost.after.0 - 1);
        let events_max = lost.bytes.div_ceil(Columns::BYTES_PER_EVENT as u64);
        for topic in view.catalog.topics() {
            for source in (0..topic.partitions).map(|partition| topic.partition(Partition(partition))) {
                *self.events.entry(source).or_default() += events_max;
            }
        }
    }

    /// Blocks of a later frame tell how many events are missing before them.
    pub(super) fn look_at(&mut self, view: &View, headers: &[BlockHeader]) -> Result<(), Arc<str>> {
        let Some((lost, [next_topic, _])) = &self.lost else { return Ok(()) };
        for header in headers {
            self.events.remove(&header.target);
            let TopicId(topic) = header.target.topic;
            if topic >= *next_topic && view.catalog.partitions(header.target.topic).is_none() {
                return Err(refusal(lost, &format!("events of topic {topic}")));
            }
        }
        Ok(())
    }

    /// A change of a handler that was registered in the lost frames cannot be gone past: it would begin anew.
    pub(super) fn look_at_change(&self, view: &View, HandlerId(handler): HandlerId) -> Result<(), Arc<str>> {
        match &self.lost {
            Some((lost, [_, next_handler]))
                if handler >= *next_handler && !view.catalog.handler_lives(HandlerId(handler)) =>
            {
                Err(refusal(lost, &format!("changes of handler {handler}")))
            }
            _ => Ok(()),
        }
    }

    /// Gives no offset again that the lost frames may have given: what is between cannot be read.
    pub(super) fn settle(&mut self, view: &View) {
        for (source, events) in self.events.drain() {
            if view.catalog.partitions(source.topic).is_some() {
                let end = view.tails.end(source).plus(events);
                view.tails.recover(source, EndRow { end, append_time_ms: 0 }, true);
            }
        }
    }
}

fn refusal(Lost { after, before, place, .. }: &Lost, needed: &str) -> Arc<str> {
    format!(
        "the frames between {after} and {before} at {place} cannot be read, and there are {needed}, which only they \
         tell the name of: put a sound copy of that segment in its place"
    )
    .into()
}
