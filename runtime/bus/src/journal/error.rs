//! Why the journal could not do what it was asked, one enum per operation.

use std::fmt;
use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::{FrameNumber, TopicPartition};

/// A byte of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The segment's number.
    pub segment: u64,
    /// The byte in its file.
    pub byte: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} byte {}", self.segment, self.byte)
    }
}

/// Why a journal could not be opened. Nothing on the disk was changed, but for files that hold nothing yet.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The store was written by a later version of Tidemill.
    #[error("the store has format version {found}, this binary reads up to {known}: use a newer Tidemill")]
    NewerVersion {
        /// The version found.
        found: u16,
        /// The newest that is understood.
        known: u16,
    },
    /// A frame carries something that must be understood and is not.
    #[error("frame {frame} has a section of the unknown kind {kind}: use a newer Tidemill")]
    UnknownSection {
        /// The frame.
        frame: FrameNumber,
        /// The section's kind.
        kind: u16,
    },
    /// The file that makes a directory a store is broken or missing although there are segments.
    #[error("the file STORE is {what}")]
    Store {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A segment file is missing between others.
    #[error("segment {number} is missing")]
    MissingSegment {
        /// Its number.
        number: u64,
    },
    /// Bytes that were synced are not what was written. The files are left as they are.
    #[error("{place} is broken: {what}")]
    Broken {
        /// Where.
        place: Place,
        /// What was found.
        what: &'static str,
    },
    /// The tables stand before the oldest frame that is kept: what is between them is gone.
    #[error("the tables end at frame {persisted}, the journal begins at frame {oldest}")]
    TablesBehind {
        /// The last frame of the tables.
        persisted: FrameNumber,
        /// The oldest frame kept.
        oldest: FrameNumber,
    },
    /// The tables stand after the last frame: the journal lost what they were made from.
    #[error("the tables end at frame {persisted}, the journal at frame {last}")]
    TablesAhead {
        /// The last frame of the tables.
        persisted: FrameNumber,
        /// The last frame of the journal.
        last: FrameNumber,
    },
    /// Whoever was to take the replayed sections did not.
    #[error("replaying frame {frame} failed: {what}")]
    Replay {
        /// The frame.
        frame: FrameNumber,
        /// The taker's own words.
        what: Arc<str>,
    },
    /// The disk failed.
    #[error("opening the journal failed: {0}")]
    Io(#[from] io::Error),
}

/// Why a frame was not appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The frame, or a block in it, has more bytes than one may have. Nothing was written.
    #[error("a frame or a block in it has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// There is no room for another segment. Nothing was written: it can be tried again when there is.
    #[error("preparing the next segment failed: {0}")]
    Prepare(io::Error),
    /// Writing failed, now or before: what is on the disk after the last sync is unknown until the next opening.
    #[error("writing the journal failed: {0}")]
    Poisoned(Arc<str>),
}

/// Why the journal could not be synced: what is on the disk after the last sync is unknown until the next opening.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("syncing the journal failed: {0}")]
pub struct SyncError(pub Arc<str>);

/// Why segments could not be released; those that went before the failure are gone.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// The oldest segment cannot be understood.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The housekeeper stopped after a failed call.
    #[error("releasing segments failed: {0}")]
    Stopped(Arc<str>),
}

/// Why a place could not be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FindError {
    /// The index of a segment is broken, and so are the frames that it could be made from.
    #[error("{place} is broken: {what}")]
    Broken {
        /// Where.
        place: Place,
        /// What was found.
        what: &'static str,
    },
    /// The disk failed.
    #[error("reading segment {segment} failed: {what}")]
    Io {
        /// The segment's number.
        segment: u64,
        /// The system's error.
        what: Arc<str>,
    },
}

/// Why a block could not be read. It is never served in part.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The bytes are not what was written.
    #[error("a block of {source_partition} at {place} is broken: {what}")]
    Broken {
        /// Whose block.
        source_partition: TopicPartition,
        /// Where.
        place: Place,
        /// What was found.
        what: Arc<str>,
    },
    /// The disk failed.
    #[error("reading a block of {source_partition} at {place} failed: {what}")]
    Io {
        /// Whose block.
        source_partition: TopicPartition,
        /// Where.
        place: Place,
        /// The system's error.
        what: Arc<str>,
    },
}
