//! The replacement harness: a handler with state is replaced again and again while events pass as fast as they can, by
//! versions of which half are no good, and at the end every event was counted once, in its order, by a good one.

mod follow;
mod publish;
mod run;
mod versions;

pub use run::{ReplaceOptions, Report, run};
pub use versions::Kind;
