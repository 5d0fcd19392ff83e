//! The tree on disk: one `lsm-tree` 3 tree without a write-ahead log, for the journal is one. The only file
//! that names the engine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_tree::compaction::Leveled;
use lsm_tree::compaction::filter::{CompactionFilter, Context, Factory, ItemAccessor, Verdict};
use lsm_tree::{AbstractTree, AnyTree, Config, Guard, SeqNo, SequenceNumberCounter};
use parking_lot::{Mutex, RwLock};

use super::Living;
use super::copy::{COPIED, Copy, is_copied};
use super::files::{BrokenTable, broken_tables, check_list};
use super::key::{Owner, TableId};
use super::tree::{Entry, Tree, TreeError, TreeFault};
use crate::log::Row;

/// The engine numbers its writes itself: everything is read at the newest.
const NEWEST: SeqNo = SeqNo::MAX;

/// The tables of a store on disk.
pub struct LsmTables {
    tree: AnyTree,
    sequence: SequenceNumberCounter,
    path: Box<Path>,
    persisted: AtomicU64,
    living: Arc<RwLock<Arc<Living>>>,
    /// Held over a compaction, so that there is one at a time.
    compacting: Mutex<()>,
}

impl LsmTables {
    /// Opens the tree in the directory `path`, or creates it.
    pub fn open(path: &Path) -> Result<Self, TreeError> {
        let tables = Self::open_at(path, 0)?;
        let frame =
            tables.tree.get(persisted_key(), NEWEST).map_err(|error| match failed("open", &error) {
                TreeError { fault: TreeFault::Broken, .. } => unplaced(error.to_string()),
                error => error,
            })?;
        let persisted = match frame.as_deref().map(<[u8; 8]>::try_from) {
            None => tables.begins_anew()?,
            Some(Ok(bytes)) => u64::from_le_bytes(bytes),
            Some(Err(_)) => return Err(unplaced("broken frame number".to_owned())),
        };
        tables.persisted.store(persisted, Ordering::Release);
        Ok(tables)
    }

    /// Opens the tree in the directory `path`, or creates it, as one that has everything up to `frame`.
    pub(crate) fn open_at(path: &Path, frame: u64) -> Result<Self, TreeError> {
        check_list(path)?;
        let living = Arc::new(RwLock::new(Arc::new(Living::default())));
        let sequence = SequenceNumberCounter::default();
        let tree = Config::new(path, sequence.clone(), SequenceNumberCounter::default())
            .with_compaction_filter_factory(Some(Arc::new(Filters { living: Arc::clone(&living) })))
            .open()
            .map_err(|error| failed("open", &error))?;
        // The counter is ours to keep: a table that is ingested must be newer than all before it.
        sequence.fetch_max(tree.get_highest_seqno().map_or(0, |highest| highest + 1));
        let persisted = AtomicU64::new(frame);
        let compacting = Mutex::new(());
        Ok(Self { tree, sequence, path: path.into(), persisted, living, compacting })
    }

    /// A tree without a frame number is new, unless its copy knows better.
    fn begins_anew(&self) -> Result<u64, TreeError> {
        match Copy::read(&self.path) {
            Ok(Some(copy)) if copy.before > 0 => {
                let what = format!("there are none, and tables.copy tells of frame {}", copy.before);
                Err(TreeError { attempt: "open", what: what.into(), fault: TreeFault::Broken })
            }
            _ => Ok(0),
        }
    }

    /// Reads every file, and tells which are not as they were written. Takes time by the size of the tables.
    pub fn broken_tables(&self) -> Vec<BrokenTable> {
        broken_tables(&self.tree)
    }

    /// Leaves a word for the next opening, beside the tree, when bytes of it were found broken: it looks at all
    /// of them, and makes the tables again if it can.
    fn suspect(&self, error: TreeError) -> TreeError {
        if error.fault == TreeFault::Broken {
            // The error itself says more, and is told in any case.
            let _ = std::fs::write(suspect_path(&self.path), error.to_string());
        }
        error
    }
}

/// The file that says that a tree's bytes were found broken.
pub(crate) fn suspect_path(tree: &Path) -> PathBuf {
    tree.with_extension("suspect")
}

impl Tree for LsmTables {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TreeError> {
        let value = self.tree.get(key, NEWEST).map_err(|error| self.suspect(failed("get a row", &error)))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, TreeError> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let start = after.map_or(Included(prefix), |after| Excluded(after.max(prefix)));
        let mut rows = Vec::new();
        for guard in self.tree.range::<&[u8], _>((start, Unbounded), NEWEST, None) {
            let row = guard.into_inner().map_err(|error| self.suspect(failed("scan", &error)));
            let (key, value) = row?;
            if rows.len() == limit || !key.starts_with(prefix) {
                break;
            }
            rows.push((key.to_vec(), value.to_vec()));
        }
        Ok(rows)
    }

    fn persist(&self, frame: u64, entries: &mut dyn Iterator<Item = Entry>) -> Result<(), TreeError> {
        let mut entries = entries.peekable();
        let copied: Vec<Entry> = std::iter::from_fn(|| entries.next_if(|(key, _)| is_copied(key))).collect();
        self.write_copy(frame, &copied)?;
        let mut all = copied.into_iter().chain(entries);
        self.ingest(frame, &mut all).map_err(|error| failed("flush", &error))?;
        self.persisted.store(frame, Ordering::Release);
        Ok(())
    }

    fn persisted(&self) -> u64 {
        self.persisted.load(Ordering::Acquire)
    }

    fn copied(&self, prefix: &[u8]) -> Option<Vec<Row>> {
        let copy = Copy::read(&self.path).ok()??;
        (copy.frame >= self.persisted()).then(|| copy.rows(prefix))
    }

    fn retain(&self, living: Living) {
        *self.living.write() = Arc::new(living);
    }

    fn compact(&self) -> Result<(), TreeError> {
        let _one_at_a_time = self.compacting.lock();
        self.tree
            .compact(Arc::new(Leveled::default()), self.sequence.get())
            .map_err(|error| self.suspect(failed("compact", &error)))
    }
}

impl LsmTables {
    /// Writes the copy of the store's own rows as they are with `changes`. It is never behind the tree: whoever flushes
    /// after this gets there, and what was flushed in part is replayed.
    fn write_copy(&self, frame: u64, changes: &[Entry]) -> Result<(), TreeError> {
        let before = self.persisted();
        let known = Copy::read(&self.path).ok().flatten().filter(|copy| copy.frame >= before);
        let rows = match known {
            Some(copy) => copy.rows,
            None => self.scan_copied()?.into_iter().collect(),
        };
        let mut copy = Copy { frame, before, rows };
        copy.apply(changes);
        copy.write(&self.path).map_err(|error| TreeError {
            attempt: "copy rows before a flush",
            what: error.to_string().into(),
            fault: TreeFault::Io,
        })
    }

    fn scan_copied(&self) -> Result<Vec<Row>, TreeError> {
        let mut rows = Vec::new();
        for table in COPIED {
            rows.extend(self.scan(&[table as u8], None, usize::MAX)?);
        }
        Ok(rows)
    }

    /// A flush: sorted rows go to new tables without a memtable, registered in one step. The frame number's
    /// key is lower than any other.
    fn ingest(&self, frame: u64, entries: &mut dyn Iterator<Item = Entry>) -> lsm_tree::Result<()> {
        let mut ingestion = self.tree.ingestion()?;
        ingestion.write(persisted_key(), frame.to_le_bytes())?;
        for (key, value) in entries {
            match value {
                Some(value) => ingestion.write(key, value)?,
                None => ingestion.write_tombstone(key)?,
            }
        }
        ingestion.finish()?;
        // An ingestion keeps the versions before it; nobody reads them, and each is a file. A reader under
        // way holds its own.
        self.tree.get_version_history_lock().maintenance(&self.path, NEWEST)
    }
}

fn persisted_key() -> Vec<u8> {
    Owner::store(TableId::Meta).key(b"")
}

fn failed(attempt: &'static str, error: &lsm_tree::Error) -> TreeError {
    let fault = match error {
        lsm_tree::Error::Io(error) if !is_of_bytes(error) => TreeFault::Io,
        _ => TreeFault::Broken,
    };
    TreeError { attempt, what: error.to_string().into(), fault }
}

fn unplaced(what: String) -> TreeError {
    TreeError { attempt: "tell how far they have come", what: what.into(), fault: TreeFault::Unplaced }
}

/// Whether an error of the system tells that a file has not the bytes that it should, or is not there.
fn is_of_bytes(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput | NotFound)
}

/// Makes the filter of each compaction.
struct Filters {
    living: Arc<RwLock<Arc<Living>>>,
}

// The lock is only held to clone or to replace the pointer in it; no panic leaves it half done.
impl std::panic::RefUnwindSafe for Filters {}

impl Factory for Filters {
    fn name(&self) -> &'static str {
        "living"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Filter(Arc::clone(&self.living.read())))
    }
}

struct Filter(Arc<Living>);

impl CompactionFilter for Filter {
    /// Dead rows go without a tombstone: all older versions of the row are dead, too, and never read.
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> lsm_tree::Result<Verdict> {
        let value = item.value()?;
        Ok(if self.0.is_dead(item.key(), Some(&value)) { Verdict::Destroy } else { Verdict::Keep })
    }
}
