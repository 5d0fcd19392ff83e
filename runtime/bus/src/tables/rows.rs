//! The values of the store's own rows, each a version byte and its fields, little-endian. State values are
//! the guest's and have no row here. Knows no key.

use std::sync::Arc;

use thiserror::Error;

use crate::bytes::Reader;
use crate::topics::{Compression, Policy, TopicSettings};
use crate::transaction::{Progress, Run};
use crate::{FrameNumber, Offset, Partition};

const VERSION: u8 = 1;
/// Of the row of a topic whose settings are not the default.
const VERSION_WITH_SETTINGS: u8 = 2;

/// A row that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a row of table {table:?} is broken or of a newer version")]
pub(crate) struct RowError {
    pub(crate) table: super::TableId,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicRow {
    pub(crate) name: Arc<str>,
    pub(crate) partitions: u32,
    pub(crate) created_ms: i64,
    pub(crate) settings: TopicSettings,
}

impl TopicRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let has_settings = self.settings != TopicSettings::default();
        let mut row = vec![if has_settings { VERSION_WITH_SETTINGS } else { VERSION }];
        row.extend_from_slice(&self.partitions.to_le_bytes());
        row.extend_from_slice(&self.created_ms.to_le_bytes());
        if has_settings {
            let policy = u8::from(self.settings.policy == Policy::Compact);
            let compression = u8::from(self.settings.compression == Compression::Lz4);
            row.extend_from_slice(&[policy, compression]);
        }
        row.extend_from_slice(self.name.as_bytes());
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(row);
        let version = reader.u8()?;
        let (partitions, created_ms) = (reader.u32()?, reader.i64()?);
        let settings = match version {
            VERSION => TopicSettings::default(),
            VERSION_WITH_SETTINGS => Self::settings(reader.array()?)?,
            _ => return None,
        };
        Some(Self { name: reader.text()?.into(), partitions, created_ms, settings })
    }

    /// Settings that are not known belong to a newer version, and the default ones to a row without them.
    fn settings(bytes: [u8; 2]) -> Option<TopicSettings> {
        let (policy, compression) = match bytes {
            [1, 0] => (Policy::Compact, Compression::None),
            [0, 1] => (Policy::Delete, Compression::Lz4),
            [1, 1] => (Policy::Compact, Compression::Lz4),
            _ => return None,
        };
        Some(TopicSettings { policy, compression })
    }
}

/// A handler: its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HandlerRow {
    pub(crate) name: Arc<str>,
}

impl HandlerRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        [&[VERSION], self.name.as_bytes()].concat()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        Some(Self { name: versioned(row)?.text()?.into() })
    }
}

/// Ids are counted per kind; the row's own part of the key is this byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum NextId {
    Topic = 1,
    Handler = 2,
}

impl NextId {
    pub(crate) fn encode(next: u64) -> Vec<u8> {
        [&[VERSION][..], &next.to_le_bytes()].concat()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<u64> {
        number(row)
    }
}

/// A driver of whom a change was found broken: the frame of the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BrokenRow(pub(crate) FrameNumber);

impl BrokenRow {
    /// No change is broken: everything that the tables had of the driver is lost. There is no frame 0.
    pub(crate) const EVERYTHING: Self = Self(FrameNumber(0));

    pub(crate) fn encode(self) -> Vec<u8> {
        [&[VERSION][..], &self.0.0.to_le_bytes()].concat()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        Some(Self(FrameNumber(number(row)?)))
    }
}

/// Progress of a driver on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProgressRow(pub(crate) Progress);

impl ProgressRow {
    pub(crate) fn encode(self) -> [u8; 21] {
        let Progress { next, attempts, not_before } = self.0;
        let mut row = [VERSION; 21];
        row[1..9].copy_from_slice(&next.0.to_le_bytes());
        row[9..13].copy_from_slice(&attempts.to_le_bytes());
        row[13..].copy_from_slice(&not_before.to_le_bytes());
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut reader = versioned(row)?;
        let (next, attempts, not_before) = (Offset(reader.u64()?), reader.u32()?, reader.i64()?);
        reader.is_empty().then_some(Self(Progress { next, attempts, not_before }))
    }
}

/// The end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndRow {
    pub(crate) end: Offset,
    pub(crate) append_time_ms: i64,
}

impl EndRow {
    pub(crate) fn encode(self) -> [u8; 17] {
        let mut row = [VERSION; 17];
        row[1..9].copy_from_slice(&self.end.0.to_le_bytes());
        row[9..].copy_from_slice(&self.append_time_ms.to_le_bytes());
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut reader = versioned(row)?;
        let (end, append_time_ms) = (Offset(reader.u64()?), reader.i64()?);
        reader.is_empty().then_some(Self { end, append_time_ms })
    }
}

/// A publish that may be sent again: when it was, the hash of its body, and where its events went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OnceRow {
    pub(crate) time_ms: i64,
    pub(crate) body: [u8; 32],
    pub(crate) runs: Vec<Run>,
}

impl OnceRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = vec![VERSION];
        row.extend_from_slice(&self.time_ms.to_le_bytes());
        row.extend_from_slice(&self.body);
        for run in &self.runs {
            encode_run(*run, &mut row);
        }
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut reader = versioned(row)?;
        let (time_ms, body) = (reader.i64()?, reader.array()?);
        let mut runs = Vec::new();
        while !reader.is_empty() {
            runs.push(decode_run(&mut reader)?);
        }
        Some(Self { time_ms, body, runs })
    }
}

/// The one number of a row.
fn number(row: &[u8]) -> Option<u64> {
    let mut reader = versioned(row)?;
    let number = reader.u64()?;
    reader.is_empty().then_some(number)
}

/// A producer that numbers its publishes: its newest epoch, when its last publish was, and where the last of them
/// went, by their numbers in that epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerRow {
    pub(crate) epoch: u32,
    pub(crate) time_ms: i64,
    pub(crate) recent: Vec<(u64, Vec<Run>)>,
}

impl ProducerRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = vec![VERSION];
        row.extend_from_slice(&self.epoch.to_le_bytes());
        row.extend_from_slice(&self.time_ms.to_le_bytes());
        for (sequence, runs) in &self.recent {
            let count = u32::try_from(runs.len()).expect("a publish has far fewer runs than 2^32");
            row.extend_from_slice(&sequence.to_le_bytes());
            row.extend_from_slice(&count.to_le_bytes());
            for run in runs {
                encode_run(*run, &mut row);
            }
        }
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut reader = versioned(row)?;
        let (epoch, time_ms) = (reader.u32()?, reader.i64()?);
        let mut recent = Vec::new();
        while !reader.is_empty() {
            let (sequence, count) = (reader.u64()?, reader.u32()?);
            let runs = (0..count).map(|_| decode_run(&mut reader)).collect::<Option<_>>()?;
            recent.push((sequence, runs));
        }
        Some(Self { epoch, time_ms, recent })
    }
}

fn encode_run(run: Run, into: &mut Vec<u8>) {
    into.extend_from_slice(&run.partition.0.to_le_bytes());
    into.extend_from_slice(&run.offset.0.to_le_bytes());
    into.extend_from_slice(&run.count.to_le_bytes());
}

fn decode_run(reader: &mut Reader<'_>) -> Option<Run> {
    let (partition, offset) = (Partition(reader.u32()?), Offset(reader.u64()?));
    Some(Run { partition, offset, count: reader.u32()? })
}

fn versioned(row: &[u8]) -> Option<Reader<'_>> {
    let mut reader = Reader::new(row);
    (reader.u8()? == VERSION).then_some(reader)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_come_back_as_they_were(
            name in "[a-z._-]{1,20}",
            numbers in any::<(u32, u64, i64, [u8; 32])>(),
            runs in proptest::collection::vec(any::<(u32, u64, u32)>(), 0..4),
        ) {
            let (small, big, time, body) = numbers;
            let policy = if small % 2 == 0 { Policy::Delete } else { Policy::Compact };
            let compression = if big % 2 == 0 { Compression::None } else { Compression::Lz4 };
            let settings = TopicSettings { policy, compression };
            let topic = TopicRow { name: name.as_str().into(), partitions: small, created_ms: time, settings };
            prop_assert_eq!(TopicRow::decode(&topic.encode()), Some(topic));
            let handler = HandlerRow { name: name.as_str().into() };
            prop_assert_eq!(HandlerRow::decode(&handler.encode()), Some(handler));
            prop_assert_eq!(NextId::decode(&NextId::encode(big)), Some(big));
            let broken = BrokenRow(FrameNumber(big));
            prop_assert_eq!(BrokenRow::decode(&broken.encode()), Some(broken));
            let progress =
                ProgressRow(Progress { next: Offset(big), attempts: small, not_before: time });
            prop_assert_eq!(ProgressRow::decode(&progress.encode()), Some(progress));
            let end = EndRow { end: Offset(big), append_time_ms: time };
            prop_assert_eq!(EndRow::decode(&end.encode()), Some(end));
            let runs = runs.into_iter().map(|(partition, offset, count)| Run {
                partition: Partition(partition), offset: Offset(offset), count,
            }).collect::<Vec<_>>();
            let recent: Vec<(u64, Vec<Run>)> = vec![(big, runs), (small.into(), vec![])];
            let producer = ProducerRow { epoch: small, time_ms: time, recent: recent.clone() };
            prop_assert_eq!(ProducerRow::decode(&producer.encode()), Some(producer));
            let runs = recent.into_iter().next().unwrap().1;
            let once = OnceRow { time_ms: time, body, runs };
            prop_assert_eq!(OnceRow::decode(&once.encode()), Some(once));
        }

        #[test]
        fn decoding_never_panics(row in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (TopicRow::decode(&row), HandlerRow::decode(&row), NextId::decode(&row));
            let _ = (ProgressRow::decode(&row), EndRow::decode(&row), OnceRow::decode(&row));
            let _ = (BrokenRow::decode(&row), ProducerRow::decode(&row));
        }
    }
}
