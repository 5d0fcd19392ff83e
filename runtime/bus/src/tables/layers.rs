//! The tables as they are read: the overlay of newest values, the overlay that is being flushed, the tree
//! below. Owns the two frame numbers; knows no meaning of a row.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::Living;
use super::delta::{DeltaError, Deltas};
use super::gathered::Gathered;
use super::key::{KEY_PREFIX_BYTES, Owner, TableId};
use super::overlay::{Newest, Overlay};
use super::tree::{Tree, TreeError, TreeFault};
use crate::DriverKey;
use crate::log::Row;

pub(crate) struct Tables {
    tree: Box<dyn Tree>,
    overlays: RwLock<Overlays>,
    applied: AtomicU64,
    /// The frame of the overlay that is being flushed.
    sealed: AtomicU64,
    /// Held over a flush, so that there is one at a time.
    flushing: Mutex<()>,
}

#[derive(Clone, Default)]
struct Overlays {
    newest: Arc<Overlay>,
    flushing: Option<Arc<Overlay>>,
    /// What publishes are remembered by, of the overlay that was flushed last, so that those of the frames after `kept_after`
    /// are all in memory.
    kept: Arc<Overlay>,
    kept_after: u64,
}

/// What the layers in memory know of a row.
pub(crate) struct Recent {
    /// Its newest value, if it was written after the frame `after`.
    pub(crate) newest: Option<Newest>,
    pub(crate) after: u64,
}

/// What a checkpoint flushes: the rows up to a frame.
pub(crate) struct Sealed {
    pub(crate) frame: u64,
    overlay: Arc<Overlay>,
}

/// What a checkpoint does: what to flush, and whose rows are dead by then.
pub(crate) struct Checkpoint {
    pub(crate) sealed: Sealed,
    pub(crate) living: Living,
}

impl Tables {
    pub(crate) fn new(tree: Box<dyn Tree>) -> Self {
        let applied = AtomicU64::new(tree.persisted());
        Self {
            overlays: RwLock::new(Overlays { kept_after: tree.persisted(), ..Overlays::default() }),
            tree,
            applied,
            sealed: AtomicU64::new(0),
            flushing: Mutex::new(()),
        }
    }

    /// The frame up to which everything is in memory.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// The frame up to which everything is in the tree, and synced.
    pub(crate) fn persisted(&self) -> u64 {
        self.tree.persisted()
    }

    /// Estimated bytes of rows that are not in the tree yet.
    pub(crate) fn overlay_bytes(&self) -> usize {
        let overlays = self.overlays.read();
        overlays.newest.byte_len() + overlays.flushing.as_ref().map_or(0, |overlay| overlay.byte_len())
    }

    /// Applies a section of deltas of `driver`, of the frame that is being applied; `row` sees each row, too.
    pub(crate) fn apply(
        &self,
        driver: DriverKey,
        section: &[u8],
        mut row: impl FnMut(Owner, &[u8], Option<&[u8]>),
    ) -> Result<(), DeltaError> {
        let newest = Arc::clone(&self.overlays.read().newest);
        Deltas::read(driver, section, |owner, rest, value| {
            newest.put(owner, rest, value);
            row(owner, rest, value);
        })
    }

    /// Reads a section as [`Tables::apply`] does, and leaves its rows in `gathered`, to be merged before anybody reads
    /// them.
    pub(crate) fn gather(
        &self,
        (driver, section): (DriverKey, &[u8]),
        gathered: &mut Gathered,
        mut row: impl FnMut(Owner, &[u8], Option<&[u8]>),
    ) -> Result<(), DeltaError> {
        Deltas::read(driver, section, |owner, rest, value| {
            if owner.table == TableId::Broken {
                // These rows are put by a replay, too, and must not be mixed up in their order.
                self.overlays.read().newest.put(owner, rest, value);
            } else {
                gathered.push(owner, rest, value);
            }
            row(owner, rest, value);
        })
    }

    /// Applies what was gathered, of frames after all that was applied before.
    pub(crate) fn merge(&self, gathered: &mut Gathered) {
        let newest = Arc::clone(&self.overlays.read().newest);
        gathered.merge_into(&newest);
    }

    /// Puts one row of the frame that is being applied.
    pub(crate) fn put(&self, owner: Owner, rest: &[u8], value: &[u8]) {
        self.overlays.read().newest.put(owner, rest, Some(value));
    }

    /// Takes note that all of `frame` is applied. Frames follow one another.
    pub(crate) fn set_applied(&self, frame: u64) {
        let before = self.applied.swap(frame, Ordering::AcqRel);
        assert!(before <= frame, "frame {frame} is applied after frame {before}");
    }

    pub(crate) fn get(&self, owner: Owner, rest: &[u8]) -> Result<Option<Vec<u8>>, TreeError> {
        let overlays = self.overlays.read().clone();
        let layers = [Some(&overlays.newest), overlays.flushing.as_ref()];
        match layers.into_iter().flatten().find_map(|overlay| overlay.get(owner, rest)) {
            Some(newest) => Ok(newest),
            None => self.tree.get(&owner.key(rest)),
        }
    }

    /// What the layers in memory know of a row that a publish is remembered by. Never waits for the disk.
    pub(crate) fn recent(&self, owner: Owner, rest: &[u8]) -> Recent {
        let overlays = self.overlays.read().clone();
        let layers = [Some(&overlays.newest), overlays.flushing.as_ref(), Some(&overlays.kept)];
        let newest = layers.into_iter().flatten().find_map(|overlay| overlay.get(owner, rest));
        Recent { newest, after: overlays.kept_after }
    }

    /// The rows of `owner` that begin with `prefix` and lie after `after`, at most `limit`: own parts of keys
    /// and values.
    pub(crate) fn scan(
        &self,
        owner: Owner,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, TreeError> {
        let mut found = Vec::new();
        let mut after = after.map(<[u8]>::to_vec);
        while found.len() < limit {
            // A page of each layer; beyond the end of the shortest full page nothing is known.
            let page = self.page(owner, prefix, after.as_deref(), limit - found.len())?;
            found.extend(page.rows);
            let Some(known) = page.known else { break };
            after = Some(known);
        }
        found.truncate(limit);
        Ok(found)
    }

    fn page(
        &self,
        owner: Owner,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page, TreeError> {
        let overlays = self.overlays.read().clone();
        let start = after.map_or(Bound::Included(prefix), |after| Bound::Excluded(after.max(prefix)));
        let after_key = after.map(|after| owner.key(after));
        let tree = self.tree.scan(&owner.key(prefix), after_key.as_deref(), limit)?;
        let tree: Vec<(Vec<u8>, Newest)> =
            tree.into_iter().map(|(key, value)| (key[KEY_PREFIX_BYTES..].to_vec(), Some(value))).collect();
        let of = |overlay: &Arc<Overlay>| overlay.scan(owner, prefix, start, limit);
        let flushing = overlays.flushing.as_ref().map(of).unwrap_or_default();
        Ok(Page::merge([tree, flushing, of(&overlays.newest)], limit))
    }

    /// Every row in the tree whose key begins so, at opening, when there is no overlay yet.
    pub(crate) fn scan_tree(
        &self,
        prefix: &[u8],
        mut row: impl FnMut(Owner, &[u8], &[u8]),
    ) -> Result<(), TreeError> {
        const PAGE: usize = 4096;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.tree.scan(prefix, after.as_deref(), PAGE)?;
            for (key, value) in &rows {
                let broken = || TreeError {
                    attempt: "scan",
                    what: "a key is none of ours".into(),
                    fault: TreeFault::Broken,
                };
                let (owner, rest) = Owner::split(key).ok_or_else(broken)?;
                row(owner, rest, value);
            }
            match rows.into_iter().nth(PAGE - 1) {
                Some((last, _)) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// The rows whose keys begin so, as the copy beside the tree has them.
    pub(crate) fn copied(&self, prefix: &[u8]) -> Option<Vec<Row>> {
        self.tree.copied(prefix)
    }

    /// Closes the overlay at the applied frame; the next deltas go to a new one. Must not run beside
    /// [`Tables::apply`]. If the last flush failed, it is that one that is to be flushed again.
    pub(crate) fn seal(&self) -> Option<Sealed> {
        let mut overlays = self.overlays.write();
        if overlays.flushing.is_none() {
            let frame = self.applied();
            if frame == self.persisted() {
                assert!(overlays.newest.is_empty(), "rows were applied without a frame");
                return None;
            }
            overlays.flushing = Some(std::mem::take(&mut overlays.newest));
            self.sealed.store(frame, Ordering::Release);
        }
        let overlay = Arc::clone(overlays.flushing.as_ref()?);
        Some(Sealed { frame: self.sealed.load(Ordering::Acquire), overlay })
    }

    /// Writes what was sealed to the tree, without rows that are dead by then. The journal must be synced up
    /// to its frame. Waits for the disk.
    pub(crate) fn flush(&self, sealed: &Sealed, living: Living) -> Result<(), TreeError> {
        let _one_at_a_time = self.flushing.lock();
        let (before, mut result) = (self.persisted(), Ok(()));
        sealed.overlay.drain_into(&mut |entries| {
            let mut alive = entries.filter(|(key, value)| !living.is_dead(key, value.as_deref()));
            result = self.tree.persist(sealed.frame, &mut alive);
        });
        result?;
        let kept = Arc::new(sealed.overlay.only(&[TableId::Once, TableId::Producers].map(Owner::store)));
        let mut overlays = self.overlays.write();
        *overlays =
            Overlays { newest: Arc::clone(&overlays.newest), flushing: None, kept, kept_after: before };
        drop(overlays);
        self.tree.retain(living);
        Ok(())
    }

    pub(crate) fn compact(&self) -> Result<(), TreeError> {
        self.tree.compact()
    }
}

/// Rows in order, merged from layers.
struct Page {
    rows: Vec<Row>,
    /// Up to here all layers were seen; `None` if to the end.
    known: Option<Vec<u8>>,
}

impl Page {
    /// Merges pages of layers, the newest last, each full at `limit` rows.
    fn merge(layers: [Vec<(Vec<u8>, Newest)>; 3], limit: usize) -> Self {
        let full = layers.iter().filter(|rows| rows.len() == limit);
        let known = full.filter_map(|rows| rows.last()).map(|(rest, _)| rest.clone()).min();
        let mut merged = BTreeMap::new();
        for (rest, newest) in layers.into_iter().flatten() {
            if known.as_ref().is_none_or(|known| rest <= *known) {
                merged.insert(rest, newest);
            }
        }
        let rows = merged.into_iter().filter_map(|(rest, newest)| Some((rest, newest?))).collect();
        Self { rows, known }
    }
}
