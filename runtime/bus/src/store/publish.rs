//! Publishing: events sorted into the partitions of a topic, by key as Kafka does it; one request is one
//! transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};

use thiserror::Error;

use super::{Background, Store};
use crate::block::body_crc;
use crate::limits::{EVENT_BYTES_MAX, NEW_BLOCK_BYTES_MAX, PUBLISH_BYTES_MAX};
use crate::log::{Abort, Answer, Answered, Log, Outcome, Topic};
use crate::transaction::{IdempotencyKey, NewBlock};
use crate::{Columns, Event, Partition, Transaction, partition};

/// What is published with one request.
pub struct Publish<'a> {
    /// Where to.
    pub topic: &'a Topic,
    /// The events; checked, or made by [`Columns::push`].
    pub events: &'a Columns,
    /// Under which key it is remembered, if it may be sent again.
    pub once: Option<IdempotencyKey>,
}

/// Why a request cannot be published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// It has more bytes than a request may have.
    #[error("the request has {bytes} bytes, the limit is {limit}: split it")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// An event has more bytes than an event may have.
    #[error("event {index} has {bytes} bytes, the limit is {limit}")]
    EventTooLarge {
        /// Which one.
        index: usize,
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

impl Store {
    /// Sorts the events into partitions (by the hash of their key; those without a key to one partition per
    /// request, another for the next) and hands them in. The answer comes later. Returns the partition of
    /// each event: its offset follows from its place among those of its partition and the receipt's runs.
    pub fn publish(&self, publish: Publish<'_>, answer: Answer) -> Result<Vec<Partition>, PublishError> {
        let bytes = publish.events.byte_len();
        if bytes > PUBLISH_BYTES_MAX {
            return Err(PublishError::TooLarge { bytes, limit: PUBLISH_BYTES_MAX });
        }
        let turn = self.inner.next_partition.fetch_add(1, Ordering::Relaxed);
        let keyless = Partition(turn % publish.topic.partitions);
        let (placed, columns) = sort(&publish, keyless)?;
        let blocks = columns.into_iter().map(|(partition, columns)| NewBlock {
            target: publish.topic.partition(partition),
            body_crc: body_crc(&columns, None),
            columns: Arc::new(columns),
            cause: None,
        });
        let transaction =
            Transaction { blocks: blocks.collect(), once: publish.once, ..Transaction::default() };
        self.submit(transaction, answer);
        Ok(placed)
    }

    /// Hands a transaction in and waits for the outcome. Not for the hot path.
    pub fn commit(&self, transaction: Transaction) -> Outcome {
        let (answer, outcome) = waiting_answer();
        self.submit(transaction, answer);
        self.wait(&outcome)
    }

    /// [`Store::publish`], and waits for the outcome. Not for the hot path.
    pub fn publish_and_wait(&self, publish: Publish<'_>) -> Result<Outcome, PublishError> {
        let (answer, outcome) = waiting_answer();
        self.publish(publish, answer)?;
        Ok(self.wait(&outcome))
    }

    fn wait(&self, outcome: &std::sync::mpsc::Receiver<Outcome>) -> Outcome {
        if self.inner.shared.options.background == Background::Manual {
            self.run();
        }
        outcome.recv().unwrap_or(Outcome::Aborted(Abort::Closing))
    }
}

type Placed = (Vec<Partition>, Vec<(Partition, Columns)>);

/// The partition of each event, and the events of each partition, in blocks that are not too large.
fn sort(publish: &Publish<'_>, keyless: Partition) -> Result<Placed, PublishError> {
    let mut placed = Vec::with_capacity(publish.events.len());
    let mut blocks: Vec<(Partition, Columns)> = Vec::new();
    // The block that each partition is at, by its index.
    let mut open: Vec<Option<usize>> = vec![None; publish.topic.partitions as usize];
    for (index, event) in publish.events.iter().enumerate() {
        let bytes = event_bytes(event);
        if bytes > EVENT_BYTES_MAX {
            return Err(PublishError::EventTooLarge { index, bytes, limit: EVENT_BYTES_MAX });
        }
        let partition = event.key.map_or(keyless, |key| partition::of_key(key, publish.topic.partitions));
        placed.push(partition);
        let at = &mut open[partition.0 as usize];
        let block = match *at {
            Some(block) if blocks[block].1.byte_len() + bytes <= NEW_BLOCK_BYTES_MAX => block,
            _ => {
                blocks.push((partition, Columns::default()));
                *at.insert(blocks.len() - 1)
            }
        };
        blocks[block].1.push(event);
    }
    Ok((placed, blocks))
}

fn event_bytes(event: Event<'_>) -> usize {
    let lens = [event.key.map_or(0, <[u8]>::len), event.headers.len(), event.value.map_or(0, <[u8]>::len)];
    lens.iter().sum::<usize>() + Columns::BYTES_PER_EVENT
}

/// An answer that somebody waits for.
struct Waiter(SyncSender<Outcome>);

impl Answered for Waiter {
    fn answered(&self, _: u64, outcome: Outcome) {
        // There is room for the one outcome; nobody may be waiting any more.
        let _ = self.0.try_send(outcome);
    }
}

fn waiting_answer() -> (Answer, std::sync::mpsc::Receiver<Outcome>) {
    let (sender, receiver) = sync_channel(1);
    (Answer { to: Arc::new(Waiter(sender)), token: 0 }, receiver)
}
