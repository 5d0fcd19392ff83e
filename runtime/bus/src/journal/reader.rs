//! Finding and reading blocks, on any thread.

use super::{BlockError, BlockPlace, FindError, ReadHint, Seek};
use crate::TopicPartition;
use crate::block::Block;

/// Finds and reads blocks. Cheap to clone; clones share the cache of indexes.
#[derive(Clone)]
pub struct JournalReader {}

impl JournalReader {
    /// The first block of `source` that `seek` asks for, or `None` if there is none (yet). Sees frames that
    /// are not synced: the caller bounds what it asks for by its high watermark.
    ///
    /// `hint` (at first a default one) is where the last search of this partition ended; kept from call to
    /// call, it makes reading on in order cost no search.
    pub fn find(
        &self,
        source: TopicPartition,
        seek: Seek,
        hint: &mut ReadHint,
    ) -> Result<Option<BlockPlace>, FindError> {
        let _ = (source, seek, hint);
        unimplemented!("lands next")
    }

    /// Reads the block, with every checksum verified and its columns checked.
    pub fn read(&self, place: &BlockPlace) -> Result<Block, BlockError> {
        let _ = place;
        unimplemented!("lands next")
    }
}
