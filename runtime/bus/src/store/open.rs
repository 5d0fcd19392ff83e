//! Opening: the lock, the tables as they were flushed, and the frames since then played into them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use thiserror::Error;

use super::background::{self, Pace};
use super::replay::Replay;
use super::{Inner, Shared, Store, StoreOptions};
use crate::FrameNumber;
use crate::clock::{AppendClock, Clock, SystemClock};
use crate::commit::{Committer, LoadError, Meter, Queue, Room, View};
use crate::disk::{Disk, Lock, LockError, RealDisk};
use crate::journal::{self, Journal};
use crate::limits::LOCK_WAIT_MS;
use crate::notice::{Notice, Notices};
use crate::tables::{Tree, TreeError};

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The data directory cannot be made or used.
    #[error("opening the data directory {} failed: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another process has it, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The tables cannot be opened.
    #[error(transparent)]
    Tables(#[from] TreeError),
    /// A row of the tables is broken, or was written by a newer version.
    #[error(
        "opening the tables failed: {0}; open the store with the newest version that has used it, or put the whole data \
         directory of a backup in its place"
    )]
    Row(Arc<str>),
    /// The tables are broken, and so is all that they could be made again from: nobody knows what topics and
    /// handlers there are.
    #[error(
        "{what}, in {}; the journal does not reach back far enough to make them again, and the copy of topics, handlers and \
         ends, tables.copy, {copy}: put sound copies of the broken files in their place, or tables and tables.copy of \
         a backup that is not older than the journal's first frame, or the whole data directory of a backup",
        path.display()
    )]
    TablesGone {
        /// The directory of the tables.
        path: PathBuf,
        /// What is broken.
        what: Arc<str>,
        /// What is wrong with the copy.
        copy: Arc<str>,
    },
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// A thread could not be started.
    #[error("starting a thread failed: {0}")]
    Thread(io::Error),
}

/// What a store stands on.
pub struct Parts {
    /// Where the journal is; locked by the caller.
    pub disk: Arc<dyn Disk>,
    /// The tables' tree.
    pub tree: Box<dyn Tree>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
}

/// What a store stands on, with its tables in memory.
struct Loaded {
    disk: Arc<dyn Disk>,
    view: View,
    clock: Arc<dyn Clock>,
    notices: Notices,
}

impl From<LoadError> for OpenError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Tree(error) => Self::Tables(error),
            LoadError::Row(error) => Self::Row(error.to_string().into()),
        }
    }
}

impl Store {
    /// Opens the store in a data directory, or creates it there. Waits for the disk, and up to 5 s for
    /// another process to let the directory go.
    pub fn open(options: StoreOptions) -> Result<Self, OpenError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Directory { path, source }
        };
        std::fs::create_dir_all(&options.dir).map_err(failed(&options.dir))?;
        let lock = Lock::acquire(&options.dir, Duration::from_millis(LOCK_WAIT_MS))?;
        let journal_dir = options.dir.join("journal");
        let disk = RealDisk::open(&journal_dir).map_err(failed(&journal_dir))?;
        let notices = Notices::default();
        let view = super::tables::load(&options.dir, &disk, &notices)?;
        // Each syncs its own directory; that they are in this one is ours to sync.
        let synced = std::fs::File::open(&options.dir).and_then(|dir| dir.sync_all());
        synced.map_err(failed(&options.dir))?;
        let clock = Arc::new(SystemClock::default());
        let parts = Loaded { disk: Arc::new(disk), view, clock, notices };
        Self::open_loaded(parts, options, Some(lock))
    }

    /// Opens a store on parts of the caller's choice; `options.dir` is not used.
    pub fn open_on(parts: Parts, options: StoreOptions) -> Result<Self, OpenError> {
        let Parts { disk, tree, clock } = parts;
        let loaded = Loaded { disk, view: View::load(tree)?, clock, notices: Notices::default() };
        Self::open_loaded(loaded, options, None)
    }

    fn open_loaded(parts: Loaded, options: StoreOptions, lock: Option<Lock>) -> Result<Self, OpenError> {
        let view = parts.view;
        let persisted = FrameNumber(view.tables.persisted());
        let bytes_max = options.checkpoints.bytes_max;
        let mut replay = Replay::new((&view, &parts.notices), bytes_max, options.control);
        let (journal, recovery) =
            Journal::open(parts.disk, options.journal, persisted, &mut |frame, section| {
                replay.section(frame, section)
            })?;
        replay.finish();
        view.tables.set_applied(recovery.last.0);
        if recovery.frames_mended > 0 {
            parts.notices.push(Notice::Mended(recovery.frames_mended));
        }
        for lost in recovery.lost.iter().filter(|lost| lost.before <= persisted.next()) {
            parts.notices.push(Notice::FramesLost(*lost));
        }
        let newest_ms = view.tails.newest_ms().unwrap_or(0);
        let clock = AppendClock::new(parts.clock, newest_ms);
        let shared = Arc::new(Shared {
            queue: Queue::new(options.publishers_bytes),
            options,
            view,
            reader: journal.reader(),
            read_cache: super::read::ReadCache::default(),
            compacted: super::compact::Compacted::default(),
            watchers: RwLock::default(),
            notices: parts.notices,
            meter: Meter::default(),
            room: Room::default(),
            pace: Pace::default(),
            clock,
        });
        let committer = Arc::new(Mutex::new(Committer::new(Arc::clone(&shared), journal)));
        let threads = background::start(&shared, &committer).map_err(OpenError::Thread)?;
        let threads = Mutex::new(threads);
        Ok(Self { inner: Arc::new(Inner { shared, committer, threads, recovery, _lock: lock }) })
    }
}
