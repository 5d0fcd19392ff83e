//! The bytes of the journal's files, one file per structure. `FORMAT.md` describes them; nothing here touches
//! a disk.

mod footer;
mod frame;
mod names;
mod segment;
mod store;

pub use footer::{Entry, Row, Trailer, footer_len};
pub use frame::{
    FIXED_BYTES, FrameFault, FrameHeader, MAGIC as FRAME_MAGIC, SECTION_BYTES, SectionHeader, kind,
};
pub use names::{STORE, STORE_NEW, SegmentNumbers, is_leftover};
pub use segment::{SegmentFault, SegmentHeader, SegmentKind};
pub use store::{StoreFault, StoreFile};

/// The version of the format that is written, and the newest that is read.
pub const VERSION: u16 = 1;

/// What frames are aligned to, and what a segment's header takes: the page of the page cache, so that no
/// write touches a page with bytes of an earlier frame.
pub const PAGE: u64 = PAGE_BYTES as u64;

/// The same, as a length in memory.
pub const PAGE_BYTES: usize = 4096;
