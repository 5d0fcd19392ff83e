//! The event bus of Tidemill: durable, partitioned topics in one journal, and the tables derived from it.
//!
//! Sync code on a small file-system port; knows nothing of tokio, wasmtime or HTTP. The modules stand in
//! the order of an event's way down: a block of columns, the frame of the journal that carries it, the
//! committer that assigns its offsets, the tables that follow, and [`Log`], the border that the rest sees.

#[cfg(target_endian = "big")]
compile_error!("columns lie on disk as they lie in memory, little-endian; a big-endian port must swap them");

mod bytes;
mod ids;

pub mod block;
pub mod check;
pub mod clock;
mod commit;
pub mod crash;
pub mod disk;
pub mod journal;
pub mod limits;
pub mod log;
pub mod notice;
pub mod partition;
pub mod store;
pub mod tables;
pub mod testing;
mod topics;
pub mod transaction;

pub use block::{Batch, Columns, Event};
pub use check::check;
pub use ids::{DriverKey, FrameNumber, HandlerId, Lane, Offset, Partition, TopicId, TopicPartition};
pub use log::Log;
pub use store::{Store, StoreOptions};
pub use topics::{Compression, Policy, TopicSettings};
pub use transaction::Transaction;
