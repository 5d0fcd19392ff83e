//! Keys of rows: table, handler id, partition, lane, then the row's own part; numbers big-endian, so that
//! the order of bytes is the order of numbers. Knows no value.

use std::fmt;

use crate::bytes::Reader;
use crate::{DriverKey, HandlerId, Lane, Partition, TopicId, TopicPartition};

/// Bytes of a key before the row's own part.
pub(crate) const KEY_PREFIX_BYTES: usize = 1 + 8 + 4 + 4;

/// The tables. Their numbers stand on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum TableId {
    /// About the tables themselves: the persisted frame.
    Meta = 0,
    /// Living topics by id.
    Topics = 1,
    /// Living handlers by id.
    Handlers = 2,
    /// The next id of each kind.
    NextIds = 3,
    /// The end of each partition, so that it outlives the release of its last segment.
    Ends = 4,
    /// Publishes that were named by an idempotency key.
    Once = 5,
    /// Progress by driver and topic.
    Progress = 6,
    /// State by driver and the guest's key.
    State = 7,
    /// Drivers of whom a change was found broken, and the frame of it.
    Broken = 8,
    /// What the flow remembers of each handler.
    Notes = 9,
    /// Producers that number their publishes.
    Producers = 10,
}

impl TableId {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        use TableId::{
            Broken, Ends, Handlers, Meta, NextIds, Notes, Once, Producers, Progress, State, Topics,
        };
        let all = [Meta, Topics, Handlers, NextIds, Ends, Once, Progress, State, Broken, Notes, Producers];
        all.into_iter().find(|&id| id as u8 == byte)
    }

    /// Whether its rows belong to a driver; the others belong to the store.
    pub(crate) fn is_drivers(self) -> bool {
        matches!(self, Self::Progress | Self::State | Self::Broken)
    }
}

/// The table and the driver that rows belong to; the driver is [`DriverKey::NONE`] for rows of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Owner {
    pub(crate) table: TableId,
    pub(crate) driver: DriverKey,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = match self.table {
            TableId::Meta => "the frame number",
            TableId::Topics => "topics",
            TableId::Handlers => "handlers",
            TableId::NextIds => "next ids",
            TableId::Ends => "ends of partitions",
            TableId::Once => "idempotency keys",
            TableId::Progress => "progress",
            TableId::State => "state",
            TableId::Broken => "broken changes",
            TableId::Notes => "notes",
            TableId::Producers => "producers",
        };
        if self.table.is_drivers() { write!(f, "{table} of {}", self.driver) } else { f.write_str(table) }
    }
}

impl Owner {
    /// The store's own rows of `table`.
    pub(crate) fn store(table: TableId) -> Self {
        Self { table, driver: DriverKey::NONE }
    }

    pub(crate) fn prefix(self) -> [u8; KEY_PREFIX_BYTES] {
        let mut prefix = [0; KEY_PREFIX_BYTES];
        prefix[0] = self.table as u8;
        prefix[1..9].copy_from_slice(&self.driver.handler.0.to_be_bytes());
        prefix[9..13].copy_from_slice(&self.driver.partition.0.to_be_bytes());
        prefix[13..17].copy_from_slice(&self.driver.lane.0.to_be_bytes());
        prefix
    }

    /// What all keys of a handler's rows in `table` begin with.
    pub(crate) fn prefix_of(table: TableId, handler: HandlerId) -> [u8; 9] {
        let mut prefix = [table as u8; 9];
        prefix[1..].copy_from_slice(&handler.0.to_be_bytes());
        prefix
    }

    /// The key of the row `rest`.
    pub(crate) fn key(self, rest: &[u8]) -> Vec<u8> {
        [&self.prefix()[..], rest].concat()
    }

    /// Takes a key apart; `None` if it is none of ours.
    pub(crate) fn split(key: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = Reader::new(key);
        let table = TableId::from_byte(reader.u8()?)?;
        let handler = HandlerId(u64::from_be_bytes(reader.array()?));
        let partition = Partition(u32::from_be_bytes(reader.array()?));
        let lane = Lane(u32::from_be_bytes(reader.array()?));
        Some((Self { table, driver: DriverKey { handler, partition, lane } }, reader.rest()))
    }
}

/// The row of a topic in tables that have one per topic.
pub(crate) fn topic_rest(topic: TopicId) -> [u8; 8] {
    topic.0.to_be_bytes()
}

/// The topic that begins a row's own part.
pub(crate) fn topic_of(rest: &[u8]) -> Option<TopicId> {
    Reader::new(rest).array().map(|id| TopicId(u64::from_be_bytes(id)))
}

/// The row of a partition.
pub(crate) fn partition_rest(source: TopicPartition) -> [u8; 12] {
    let mut rest = [0; 12];
    rest[..8].copy_from_slice(&source.topic.0.to_be_bytes());
    rest[8..].copy_from_slice(&source.partition.0.to_be_bytes());
    rest
}

/// The partition that a row's own part names.
pub(crate) fn partition_of(rest: &[u8]) -> Option<TopicPartition> {
    let mut reader = Reader::new(rest);
    let topic = TopicId(u64::from_be_bytes(reader.array()?));
    let partition = Partition(u32::from_be_bytes(reader.array()?));
    reader.is_empty().then_some(TopicPartition { topic, partition })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_come_apart_and_keep_the_order_of_their_numbers(
            one in any::<(u64, u32, u32, Vec<u8>)>(),
            two in any::<(u64, u32, u32, Vec<u8>)>(),
        ) {
            let owner = |of: &(u64, u32, u32, Vec<u8>)| Owner {
                table: TableId::State,
                driver: DriverKey { handler: HandlerId(of.0), partition: Partition(of.1), lane: Lane(of.2) },
            };
            let key = owner(&one).key(&one.3);
            prop_assert_eq!(Owner::split(&key), Some((owner(&one), &one.3[..])));
            prop_assert_eq!(key.cmp(&owner(&two).key(&two.3)), one.cmp(&two));
        }
    }

    #[test]
    fn every_table_comes_back_from_its_byte() {
        for byte in 0..=10 {
            assert_eq!(TableId::from_byte(byte).map(|id| id as u8), Some(byte));
        }
        assert_eq!(TableId::from_byte(11), None);
    }
}
