//! What the owner of a journal may choose.

use crate::limits;

/// Sizes and ways of a journal.
#[derive(Clone, Copy, Debug)]
pub struct JournalOptions {
    /// Bytes of a segment; a frame that needs more gets a segment of its own size.
    pub segment_bytes: u64,
    /// Bytes of the first segment of a new store.
    pub first_segment_bytes: u64,
    /// Bytes of sealed segments' indexes that are kept in memory.
    pub index_cache_bytes: usize,
    /// Who prepares, seals and recycles segments.
    pub housekeeping: Housekeeping,
    /// A fault that a test asks for, to see that it is found.
    #[doc(hidden)]
    pub control: Control,
}

/// Who prepares, seals and recycles segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Housekeeping {
    /// A thread of the journal's own, ahead of need.
    #[default]
    Thread,
    /// The appending thread at the moment of need, so that a test sees the same calls every time.
    Inline,
}

/// Faults built in on purpose: a test that does not find them proves nothing.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Control {
    /// None.
    #[default]
    Sound,
    /// The recovered tail is served without being written again.
    ServeTailUnwritten,
    /// What was joined is removed before the name of the file in its place is synced.
    RemoveBeforeName,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: limits::SEGMENT_BYTES,
            first_segment_bytes: limits::FIRST_SEGMENT_BYTES,
            index_cache_bytes: limits::INDEX_CACHE_BYTES,
            housekeeping: Housekeeping::Thread,
            control: Control::Sound,
        }
    }
}
