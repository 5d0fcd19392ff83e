//! What whoever hands a transaction in does of the committer's work: it looks up what the disk must be asked for, and
//! compresses. Knows no queue and no journal.

use super::once::Known;
use super::view::View;
use crate::Transaction;
use crate::block::{Compressed, body_slices};
use crate::topics::Compression;

/// A transaction that is handed in.
pub(crate) struct HandedIn {
    pub(crate) transaction: Transaction,
    /// What was known of its idempotency key then.
    pub(crate) known: Option<Known>,
    /// Bodies of its blocks that are to be stored compressed, by the place of the block; empty if there is none.
    pub(crate) compressed: Vec<Option<Compressed>>,
}

impl View {
    /// Gets a transaction ready. May wait for the disk.
    pub(crate) fn hand_in(&self, transaction: Transaction) -> HandedIn {
        let (known, compressed) = (self.look_up(&transaction), self.compress(&transaction));
        HandedIn { transaction, known, compressed }
    }

    /// The bodies of blocks of topics that are compressed, as they are to be stored.
    fn compress(&self, transaction: &Transaction) -> Vec<Option<Compressed>> {
        let mut compressed = Vec::new();
        let mut of = None;
        for (index, block) in transaction.blocks.iter().enumerate() {
            let topic = block.target.topic;
            // Blocks of one topic mostly stand together.
            let compression = match of {
                Some((known, compression)) if known == topic => compression,
                _ => self.catalog.compression(topic),
            };
            of = Some((topic, compression));
            if compression == Compression::Lz4 {
                compressed.resize_with(transaction.blocks.len(), || None);
                compressed[index] = Compressed::of(&body_slices(block));
            }
        }
        compressed
    }
}
