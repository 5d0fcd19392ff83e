//! The journal: frames in segment files, what is written once and is the storage of the topics.
//!
//! One thread owns the [`Journal`] and appends frames; any number of threads find and read blocks through
//! clones of its [`JournalReader`]. The bytes are described in `FORMAT.md`. The journal knows blocks by
//! partition and offset, and tables only as sections with an owner; it knows no topic's name, no high
//! watermark and no group: whoever reads decides how far.

mod error;
mod frame;
mod options;
mod place;

mod assemble;
mod cache;
mod housekeeping;
mod index;
mod random;
mod reader;
mod recovery;
mod sealed;
mod segment;
mod settle;
mod writer;

#[doc(hidden)]
pub mod format;

pub use error::{AppendError, BlockError, FindError, OpenError, Place, ReleaseError, SyncError};
pub use format::SegmentNumbers;
pub use frame::{Delta, FrameParts, PlacedBlock, Section};
pub use options::{Control, Housekeeping, JournalOptions};
pub use place::{BlockPlace, PartitionEnd, ReadHint, Seek, SegmentSummary};
pub use reader::JournalReader;
pub use recovery::{Cut, JournalSummary, Lost, Recovery};
pub(crate) use recovery::{check_journal, oldest_frame, reaches_back};
pub use settle::{Choice, Fate, SettleError, Settled};
pub use writer::{Journal, Replay};
