//! Which partition an event goes to, and the blocks that are made there. Knows no text.

use std::sync::Arc;

use tidemill_bus::block::body_crc;
use tidemill_bus::log::Topic;
use tidemill_bus::transaction::NewBlock;
use tidemill_bus::{Columns, Event, Partition, partition};

use super::Refused;
use crate::limits::{BLOCK_BYTES_MAX, EVENT_BYTES_MAX, PUBLISH_COLUMN_BYTES_MAX};

/// Events on their way into the partitions of one topic.
pub(super) struct Places {
    topic: Topic,
    open: Vec<Columns>,
    full: Vec<(Partition, Columns)>,
    without_key: Partition,
    order: Vec<u32>,
    bytes: usize,
}

impl Places {
    /// No events yet. Those without a key all go to one partition, chosen by `turn`.
    pub(super) fn new(topic: Topic, turn: u32) -> Self {
        let partitions = topic.partitions.max(1);
        Self {
            open: vec![Columns::default(); partitions as usize],
            full: Vec::new(),
            without_key: Partition(turn % partitions),
            order: Vec::new(),
            bytes: 0,
            topic,
        }
    }

    /// Makes room for `events` more with `bytes` of data, if they all go to the same partition.
    pub(super) fn reserve(&mut self, events: usize, bytes: usize) {
        let columns = &mut self.open[self.without_key.0 as usize];
        columns.times.reserve(events);
        columns.key_lens.reserve(events);
        columns.header_lens.reserve(events);
        columns.value_lens.reserve(events);
        columns.data.reserve(bytes);
    }

    /// Adds one event.
    pub(super) fn push(&mut self, event: Event<'_>) -> Result<(), Refused> {
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let data = len(event.key) + event.headers.len() + len(event.value);
        if data > EVENT_BYTES_MAX {
            return Err(Refused::EventTooLarge {
                index: self.order.len(),
                bytes: data,
                limit: EVENT_BYTES_MAX,
            });
        }
        let bytes = data + Columns::BYTES_PER_EVENT;
        self.bytes += bytes;
        if self.bytes > PUBLISH_COLUMN_BYTES_MAX {
            return Err(Refused::TooLarge { limit: PUBLISH_COLUMN_BYTES_MAX });
        }
        let partition = match event.key {
            Some(key) => partition::of_key(key, self.topic.partitions),
            None => self.without_key,
        };
        let columns = &mut self.open[partition.0 as usize];
        if columns.byte_len() + bytes > BLOCK_BYTES_MAX {
            self.full.push((partition, std::mem::take(columns)));
        }
        columns.push(event);
        self.order.push(partition.0);
        Ok(())
    }

    /// The blocks, and the partition of each event in the order of the request.
    pub(super) fn into_blocks(self) -> (Vec<NewBlock>, Vec<u32>) {
        let Self { topic, open, full, order, .. } = self;
        let open = (0..).map(Partition).zip(open).filter(|(_, columns)| !columns.is_empty());
        let blocks = full.into_iter().chain(open).map(|(partition, columns)| NewBlock {
            target: topic.partition(partition),
            body_crc: body_crc(&columns, None),
            columns: Arc::new(columns),
            cause: None,
        });
        (blocks.collect(), order)
    }
}
