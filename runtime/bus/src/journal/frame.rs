//! What goes into a frame and what comes out of one when it is replayed. Knows no bytes.

use super::Lost;
use crate::block::{BlockHeader, Compressed, HEADER_BYTES};
use crate::transaction::NewBlock;
use crate::{DriverKey, Offset};

/// The contents of a frame that is to be appended.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameParts<'a> {
    /// Event blocks; those of one partition stand in the order of their offsets.
    pub blocks: &'a [PlacedBlock],
    /// Changes of tables, in the order in which they are to be replayed.
    pub deltas: &'a [Delta<'a>],
}

/// A block with the place that the committer gave it.
#[derive(Clone, Debug)]
pub struct PlacedBlock {
    /// The block.
    pub block: NewBlock,
    /// The offset of its first event; the others follow without a gap.
    pub first: Offset,
    /// Its append time, in milliseconds since the Unix epoch; never less than that of the block before it in
    /// its partition.
    pub append_time: i64,
    /// Its body as it is to be stored, if that is not as it is.
    pub compressed: Option<Compressed>,
}

impl PlacedBlock {
    /// Its header.
    pub(super) fn header(&self) -> BlockHeader {
        let header = BlockHeader::of(&self.block, self.first, self.append_time);
        self.compressed.as_ref().map_or(header, |body| header.compressed(body))
    }

    /// Bytes of the body on disk.
    pub(crate) fn body_len(&self) -> usize {
        self.compressed.as_ref().map_or_else(|| self.block.byte_len(), |body| body.bytes().len())
    }

    /// Bytes on disk, with the header.
    pub(super) fn stored_len(&self) -> u64 {
        (HEADER_BYTES + self.body_len()) as u64
    }
}

/// A change of tables: bytes that the journal only carries.
#[derive(Clone, Copy, Debug)]
pub struct Delta<'a> {
    /// Whose rows: if the bytes break, this driver alone is stopped; [`DriverKey::NONE`] is the store itself.
    pub owner: DriverKey,
    /// The change, in the store's own encoding.
    pub bytes: &'a [u8],
}

/// A section of a frame, as it is replayed when the journal is opened.
#[derive(Clone, Copy, Debug)]
pub enum Section<'a> {
    /// The headers of the frame's event blocks. The blocks themselves are found by a reader.
    Blocks(&'a [BlockHeader]),
    /// A change of tables.
    Delta(Delta<'a>),
    /// A change of tables whose bytes broke after they had been synced.
    BrokenDelta {
        /// Whose rows.
        owner: DriverKey,
    },
    /// Frames before this one that cannot be read: whatever they held is missing.
    Lost(Lost),
}
