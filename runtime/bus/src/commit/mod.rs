//! The committer: the one place where transactions become frames. It takes what came while the last frame
//! was synced, checks it, gives offsets and append times, writes and syncs, and only then lets it be seen.

mod admin;
mod check;
mod committer;
mod contain;
mod groups;
mod handed_in;
mod metrics;
mod once;
mod producer;
mod queue;
mod room;
mod tails;
mod view;

pub(crate) use admin::{AdminDone, AdminOp};
pub(crate) use committer::{Committer, Stopped};
pub(crate) use contain::{contained, words_of};
pub(crate) use metrics::Meter;
pub use metrics::{LATENCY_BOUNDS_US, Metrics};
pub(crate) use queue::{Queue, Work};
pub use room::Mark;
pub(crate) use room::Room;
pub(crate) use tails::{Left, TailBlock};
pub(crate) use view::{LoadError, View};
