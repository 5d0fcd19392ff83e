//! Events column by column: the one layout on disk, in the tail cache, on the wire and in a guest's memory.

mod batch;
mod columns;
mod compress;
mod pack;
mod stored;

pub use batch::Batch;
pub use columns::{Columns, ColumnsError, Event, Events, body_crc, header};
pub use compress::Compressed;
pub use pack::{pack, pack_nothing};
pub(crate) use stored::body_slices_of;
pub use stored::{Block, BlockHeader, Body, BrokenBlock, CauseHeader, HEADER_BYTES, body_slices};
