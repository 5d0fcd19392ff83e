//! What is committed as one: everything that a handler call did, or everything that a publish brought.

use std::sync::Arc;

use crate::{Columns, DriverKey, HandlerId, Offset, Partition, TopicId, TopicPartition};

/// The unit of atomicity: a crash at any instant leaves all of it or none.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Who asks. `None` is a publisher or an operator; a driver's answers come in the order of its calls.
    pub driver: Option<DriverKey>,
    /// The driver's epoch, as [`crate::Log::epoch`] gave it before the driver read what this builds on; a
    /// transaction of an older epoch is aborted as fenced. Ignored without a driver.
    pub epoch: u64,
    /// Events to append. Several blocks may go to one partition; they keep their order.
    pub blocks: Vec<NewBlock>,
    /// How far the driver has come on the topic that it read. If that topic is gone, the transaction is
    /// aborted.
    pub progress: Option<ProgressUpdate>,
    /// Writes to the driver's state, in order.
    pub state: StateWrites,
    /// The publish that this is, if it is to be remembered for `Idempotency-Key`.
    pub once: Option<IdempotencyKey>,
    /// The publish's place in the row of its producer's, if it is to be remembered by that.
    pub producer: Option<ProducerSequence>,
}

impl Transaction {
    /// Bytes that the transaction takes in the journal, up to the headers.
    pub fn byte_len(&self) -> usize {
        self.blocks.iter().map(NewBlock::byte_len).sum::<usize>() + self.state.byte_len()
    }
}

/// A block without its place: encoded and checksummed by the worker that made it; the committer adds the
/// offset and the append time.
#[derive(Clone, Debug)]
pub struct NewBlock {
    /// Where the events go.
    pub target: TopicPartition,
    /// The events. Shared with the tail cache, so that a reader needs no copy.
    pub columns: Arc<Columns>,
    /// What they were emitted for; `None` for events from outside.
    pub cause: Option<Arc<Cause>>,
    /// CRC32C of the block's body, as [`crate::block::body_crc`] counts it.
    pub body_crc: u32,
}

impl NewBlock {
    /// Bytes of the body on disk.
    pub fn byte_len(&self) -> usize {
        self.columns.byte_len() + self.cause.as_ref().map_or(0, |cause| cause.events.len() * 4)
    }
}

/// What the events of a block were emitted for; what `explain` reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The handler that emitted them.
    pub handler: HandlerId,
    /// The partition that it read.
    pub source: TopicPartition,
    /// The offset of the first input event of the call.
    pub first: Offset,
    /// For each event of the block: the offset of its cause, minus `first`.
    pub events: Vec<u32>,
}

/// Progress of one driver on one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The next position to read.
    pub next: Offset,
    /// Attempts that were made at the event there; 0 when none was.
    pub attempts: u32,
    /// Not to be tried again before this time, in milliseconds since the Unix epoch; 0 is at once.
    pub not_before: i64,
}

/// A change of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgressUpdate {
    /// The topic that was read.
    pub topic: TopicId,
    /// How far the driver has come on it.
    pub progress: Progress,
}

/// Writes to a driver's state, in columns and in order: a later write of a key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateWrites {
    /// Bytes of each key.
    pub key_lens: Vec<u32>,
    /// Bytes of each value; −1 deletes the key.
    pub value_lens: Vec<i32>,
    /// Per write: key, value.
    pub data: Vec<u8>,
}

impl StateWrites {
    /// Number of writes.
    pub fn len(&self) -> usize {
        self.key_lens.len()
    }

    /// Whether there is no write.
    pub fn is_empty(&self) -> bool {
        self.key_lens.is_empty()
    }

    /// Bytes of the columns.
    pub fn byte_len(&self) -> usize {
        self.key_lens.len() * 8 + self.data.len()
    }

    /// Appends a write; `None` deletes.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.key_lens.push(u32::try_from(key.len()).expect("a state key is bounded far below 4 GiB"));
        let len =
            |value: &[u8]| i32::try_from(value.len()).expect("a state value is bounded far below 2 GiB");
        self.value_lens.push(value.map_or(-1, len));
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value.unwrap_or_default());
    }

    /// The writes in order, as far as the columns agree with each other.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut data = self.data.as_slice();
        self.key_lens.iter().zip(&self.value_lens).map_while(move |(&key_len, &value_len)| {
            let (key, rest) = data.split_at_checked(key_len as usize)?;
            let (value, rest) = rest.split_at_checked(usize::try_from(value_len).unwrap_or(0))?;
            data = rest;
            Some((key, (value_len >= 0).then_some(value)))
        })
    }
}

/// A publish that may be sent twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey {
    /// What the publisher named it.
    pub key: String,
    /// SHA-256 of what it published: the same key with another body is refused.
    pub body: [u8; 32],
}

/// A publish of a producer that numbers what it sends, so that each is committed once and in its order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerSequence {
    /// The producer's name, of its own choice.
    pub producer: String,
    /// The producer's life: a higher one begins its sequence anew and shuts out all lower ones.
    pub epoch: u32,
    /// The number of the publish in this epoch, from 0 and without gaps.
    pub sequence: u64,
}

/// A run of events that stand one after the other in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The partition number.
    pub partition: Partition,
    /// The offset of the first event.
    pub offset: Offset,
    /// Number of events.
    pub count: u32,
}
