//! Where blocks are, and what a segment holds: the answers of the index.

use std::sync::Arc;

use super::Place;
use super::format::SegmentNumbers;
use super::segment::Segment;
use crate::disk::DiskFile;
use crate::{FrameNumber, Offset, TopicPartition};

/// What is looked for in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The first block that ends after this offset.
    Offset(Offset),
    /// The first block appended at or after this time, in milliseconds since the Unix epoch.
    Time(i64),
}

/// Where a block lies. Keeps its segment from being recycled as long as it lives: hold it only while reading.
#[derive(Clone)]
pub struct BlockPlace {
    /// Whose block.
    pub source: TopicPartition,
    /// The offset of the first event.
    pub first: Offset,
    /// Number of events, with those that compaction took.
    pub count: u32,
    /// Milliseconds since the Unix epoch.
    pub append_time: i64,
    pub(super) byte_len: u32,
    pub(super) has_cause: bool,
    pub(super) is_packed: bool,
    pub(super) is_compressed: bool,
    pub(super) place: Place,
    pub(super) file: Arc<dyn DiskFile>,
    /// The pin.
    pub(super) _segment: Arc<Segment>,
}

/// Where a reader left off, so that the next block is found without a search. Pins nothing; a hint that is
/// no longer true costs one search.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadHint {
    pub(super) source: Option<TopicPartition>,
    /// All blocks of the partition before the segment lie before this.
    pub(super) seek: Option<Seek>,
    pub(super) segment: u64,
    pub(super) entry: u32,
}

/// What a sealed segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its numbers.
    pub numbers: SegmentNumbers,
    /// Bytes of its file.
    pub bytes: u64,
    /// The last frame in it.
    pub last_frame: FrameNumber,
    /// The newest append time of a block in it, in milliseconds since the Unix epoch; `None` without blocks.
    pub newest: Option<i64>,
    /// For each partition with blocks in it where they end, in the order of partitions.
    pub partitions: Vec<PartitionEnd>,
}

/// Where a partition's blocks in a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionEnd {
    /// The partition.
    pub source: TopicPartition,
    /// The first offset.
    pub first: Offset,
    /// The offset after the last event.
    pub end: Offset,
    /// The newest append time, in milliseconds since the Unix epoch.
    pub newest: i64,
    /// Bytes of its blocks.
    pub bytes: u64,
}
