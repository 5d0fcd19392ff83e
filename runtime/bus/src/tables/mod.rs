//! What is derived from the journal: handler state, progress, metadata, as rows of a few tables.
//!
//! A commit brings *deltas* (physical puts and deletes, so that replaying them changes nothing). They are
//! applied to the *overlay* in memory; a checkpoint hands it to the *tree* on disk. Two frame numbers are
//! never confused: *applied* (in memory) and *persisted* (in the tree and synced).

#[cfg(test)]
mod check;
mod copy;
mod delta;
mod files;
mod gathered;
mod key;
mod layers;
mod living;
mod lsm;
mod model;
mod overlay;
mod reread;
mod rows;
mod tree;

pub(crate) use copy::Copy;
pub(crate) use delta::{DeltaError, Deltas};
pub use files::BrokenTable;
pub(crate) use gathered::Gathered;
pub(crate) use key::{Owner, TableId, partition_of, partition_rest, topic_of, topic_rest};
pub(crate) use layers::{Checkpoint, Tables};
pub use living::Living;
pub(crate) use living::is_expired;
pub use lsm::LsmTables;
pub(crate) use lsm::suspect_path;
pub use model::ModelTables;
#[doc(hidden)]
pub use reread::{reread_change, reread_key, reread_row};
pub(crate) use rows::{
    BrokenRow, EndRow, HandlerRow, NextId, OnceRow, ProducerRow, ProgressRow, RowError, TopicRow,
};
pub use tree::{Entry, Tree, TreeError, TreeFault};
