//! The port of the tables: what is asked of the tree on disk. Two implementations are held by one property
//! test: [`LsmTables`](super::LsmTables) and a model.

use std::sync::Arc;

use thiserror::Error;

use super::Living;
use crate::log::Row;

/// A row to put (`Some`) or to delete.
pub type Entry = (Vec<u8>, Option<Vec<u8>>);

/// A sorted map of bytes on disk that knows how far in the journal it has come.
pub trait Tree: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TreeError>;

    /// The rows that begin with `prefix` and lie after the key `after`, in order, at most `limit`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, TreeError>;

    /// Puts and deletes `entries`, which are sorted by key without repetition, and takes note that everything
    /// up to `frame` is in: all of it or nothing, synced when it returns.
    fn persist(&self, frame: u64, entries: &mut dyn Iterator<Item = Entry>) -> Result<(), TreeError>;

    /// The frame of the last [`Tree::persist`] that is on disk; 0 before the first.
    fn persisted(&self) -> u64;

    /// The rows that begin with `prefix` as a copy beside the tree has them, which is at least as new; `None` without
    /// one.
    fn copied(&self, prefix: &[u8]) -> Option<Vec<Row>> {
        let _ = prefix;
        None
    }

    /// Tells which ids lived at the persisted frame: rows of others may go from now on.
    fn retain(&self, living: Living);

    /// Does some of the work that keeps reading fast, on the calling thread; returns at once if there is
    /// none.
    fn compact(&self) -> Result<(), TreeError>;
}

/// Why the tree failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the tables failed to {attempt}: {what}")]
pub struct TreeError {
    /// What was attempted.
    pub attempt: &'static str,
    /// The engine's error.
    pub what: Arc<str>,
    /// What kind of error.
    pub fault: TreeFault,
}

/// What makes the tree fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeFault {
    /// Its bytes are not what was written: only making the tables again helps.
    Broken,
    /// How far it has come cannot be read; what else it holds may be sound.
    Unplaced,
    /// The disk or the system failed: it may work another time.
    Io,
}
