//! The store: journal, committer and tables put together as one [`Log`](crate::Log), with what a server asks
//! beyond it. Cheap to clone; the files below stand in the order of its life.

mod background;
mod compact;
mod groups;
mod join;
mod log;
mod lost;
mod open;
mod options;
mod read;
mod replay;
mod retention;
mod room;
mod settle;
mod tables;
mod topics;
mod waiting;

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::commit::{Committer, Meter, Queue, Room, View};
use crate::disk::Lock;
use crate::journal::{JournalReader, Recovery};
use crate::log::Watcher;
use crate::notice::Notices;

pub use crate::commit::{LATENCY_BOUNDS_US, Mark, Metrics};
pub use background::CloseError;
pub use groups::{Group, GroupPartition};
pub use open::{OpenError, Parts};
pub use options::{Background, Checkpoints, Control, Hold, Retention, StoreOptions, Sync};
pub use room::{DiskRoom, Holder};
pub use settle::StoreSettleError;
pub(crate) use tables::open as open_tables;
pub use topics::{Readers, TopicDetails};

/// The embedded log. Clones share it; when the last one goes, the background threads end, and what was
/// committed is kept. [`Store::close`] ends it cleanly.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    committer: Arc<Mutex<Committer>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    recovery: Recovery,
    _lock: Option<Lock>,
}

/// What all threads of the store use.
pub(crate) struct Shared {
    pub(crate) options: StoreOptions,
    pub(crate) view: View,
    pub(crate) queue: Queue,
    pub(crate) reader: JournalReader,
    pub(crate) read_cache: read::ReadCache,
    pub(crate) compacted: compact::Compacted,
    pub(crate) watchers: RwLock<Vec<Arc<dyn Watcher>>>,
    pub(crate) notices: Notices,
    pub(crate) meter: Meter,
    pub(crate) room: Room,
    pub(crate) pace: background::Pace,
    /// What append times are taken from.
    pub(crate) clock: crate::clock::AppendClock,
}
