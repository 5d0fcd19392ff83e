//! The header of a block on disk: what it is, where it stands, and what its body must look like.

use std::sync::Arc;

use super::Columns;
use crate::transaction::Cause;
use crate::{HandlerId, Offset, TopicPartition};

/// What stands before the columns of a block on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Whose block.
    pub target: TopicPartition,
    /// The offset of the first event; the others follow without a gap.
    pub first: Offset,
    /// Milliseconds since the Unix epoch.
    pub append_time: i64,
    /// Number of events; at least one.
    pub count: u32,
    /// Bytes of the columns' data.
    pub data_bytes: u32,
    /// What the events were emitted for; `None` for events from outside.
    pub cause: Option<CauseHeader>,
    /// CRC32C of the body, as [`super::body_crc`] counts it.
    pub body_crc: u32,
}

/// What the events of a block have in common in their causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CauseHeader {
    /// The handler that emitted them.
    pub handler: HandlerId,
    /// The partition that it read.
    pub source: TopicPartition,
    /// The offset of the first input event of the call.
    pub first: Offset,
}

/// A block as it was read: verified, its columns checked.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its header.
    pub header: BlockHeader,
    /// Its events.
    pub columns: Arc<Columns>,
    /// What they were emitted for.
    pub cause: Option<Arc<Cause>>,
}
