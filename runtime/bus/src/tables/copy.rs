//! A copy of the store's own rows (topics, handlers, next ids, ends) in a file beside the tree: the journal gives up
//! what they were made of, so they must not hang on one block of one file. Knows no meaning of a row.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::key::{Owner, TableId};
use super::tree::Entry;
use crate::bytes::Reader;
use crate::log::Row;

const MAGIC: &[u8; 8] = b"TMCOPY\0\0";
const VERSION: u16 = 1;
/// The checksum covers what follows it.
const CRC_END: usize = 12;

/// The tables of which there is a copy. In a flush their rows come before all others.
pub(crate) const COPIED: [TableId; 4] = [TableId::Topics, TableId::Handlers, TableId::NextIds, TableId::Ends];

/// Rows as they are after the flush of a frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Copy {
    /// The frame that was to be flushed: the copy is written before.
    pub(crate) frame: u64,
    /// The frame that the tables had then; if the flush was not done they have it still.
    pub(crate) before: u64,
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The file with the copy of the rows of a tree.
fn path_of(tree: &Path) -> PathBuf {
    tree.with_extension("copy")
}

/// Whether the row of that key is copied.
pub(super) fn is_copied(key: &[u8]) -> bool {
    COPIED.iter().any(|table| key.first() == Some(&(*table as u8)))
}

impl Copy {
    /// The copy beside a tree, `None` if there is none. One that is broken, or of a newer version, is invalid data.
    pub(crate) fn read(tree: &Path) -> io::Result<Option<Self>> {
        match fs::read(path_of(tree)) {
            Ok(bytes) => match Self::decode(&bytes) {
                Some(copy) => Ok(Some(copy)),
                None => {
                    Err(io::Error::new(ErrorKind::InvalidData, "tables.copy is broken or of a newer version"))
                }
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the copy beside a tree, if there is one.
    pub(crate) fn remove(tree: &Path) -> io::Result<()> {
        match fs::remove_file(path_of(tree)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The rows whose keys begin so.
    pub(super) fn rows(&self, prefix: &[u8]) -> Vec<Row> {
        let rows = self.rows.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        rows.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Takes over what is flushed.
    pub(super) fn apply(&mut self, changes: &[Entry]) {
        for (key, value) in changes {
            if let Some(value) = value {
                self.rows.insert(key.clone(), value.clone());
                continue;
            }
            self.rows.remove(key);
            // The ends of a dead topic have no tombstones.
            if let Some((Owner { table: TableId::Topics, .. }, topic)) = Owner::split(key) {
                let ends = Owner::store(TableId::Ends).key(topic);
                self.rows.retain(|key, _| !key.starts_with(&ends));
            }
        }
    }

    /// Puts the copy in the place of the one before. Waits for the disk.
    pub(super) fn write(&self, tree: &Path) -> io::Result<()> {
        let path = path_of(tree);
        let new = tree.with_extension("copy.new");
        let mut file = File::create(&new)?;
        file.write_all(&self.encode())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    }

    fn encode(&self) -> Vec<u8> {
        let len = |len: usize| u32::try_from(len).expect("rows are bounded far below 4 GiB").to_le_bytes();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.frame.to_le_bytes());
        bytes.extend_from_slice(&self.before.to_le_bytes());
        bytes.extend_from_slice(&len(self.rows.len()));
        for (key, value) in &self.rows {
            bytes.extend_from_slice(&len(key.len()));
            bytes.extend_from_slice(&len(value.len()));
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(value);
        }
        let crc = crc32c::crc32c(&bytes[CRC_END..]);
        bytes[MAGIC.len()..CRC_END].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (magic, crc) = (reader.array()?, reader.u32()?);
        if &magic != MAGIC || crc != crc32c::crc32c(reader.rest()) || reader.u16()? != VERSION {
            return None;
        }
        let _zero = reader.u16()?;
        let (frame, before, count) = (reader.u64()?, reader.u64()?, reader.u32()?);
        let mut rows = BTreeMap::new();
        for _ in 0..count {
            let (key, value) = (reader.u32()?, reader.u32()?);
            let key = reader.take(usize::try_from(key).ok()?)?;
            let value = reader.take(usize::try_from(value).ok()?)?;
            rows.insert(key.to_vec(), value.to_vec());
        }
        reader.is_empty().then_some(Self { frame, before, rows })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::{partition_rest, topic_rest};
    use super::*;
    use crate::{Partition, TopicId, TopicPartition};

    proptest! {
        #[test]
        fn a_copy_comes_back_and_no_flipped_bit_goes_unseen(
            rows in proptest::collection::btree_map(any::<Vec<u8>>(), any::<Vec<u8>>(), 0..5),
            (frame, before, bit) in any::<(u64, u64, usize)>(),
        ) {
            let copy = Copy { frame, before, rows };
            let mut bytes = copy.encode();
            prop_assert_eq!(Copy::decode(&bytes), Some(copy));
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Copy::decode(&bytes), None);
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = [&MAGIC[..], &[0; 4], &VERSION.to_le_bytes(), &bytes].concat();
            let crc = crc32c::crc32c(&bytes[CRC_END..]);
            bytes[MAGIC.len()..CRC_END].copy_from_slice(&crc.to_le_bytes());
            let _ = Copy::decode(&bytes);
        }
    }

    #[test]
    fn the_ends_of_a_topic_go_with_it() {
        let end = |topic| {
            let source = TopicPartition { topic: TopicId(topic), partition: Partition(0) };
            Owner::store(TableId::Ends).key(&partition_rest(source))
        };
        let topic = |topic| Owner::store(TableId::Topics).key(&topic_rest(TopicId(topic)));
        let mut copy = Copy::default();
        copy.apply(&[topic(1), topic(2), end(1), end(2)].map(|key| (key, Some(vec![1]))));
        copy.apply(&[(topic(1), None)]);
        assert_eq!(copy.rows.into_keys().collect::<Vec<_>>(), [topic(2), end(2)]);
    }
}
