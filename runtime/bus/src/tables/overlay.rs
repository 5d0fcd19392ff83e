//! The newest values of rows that a checkpoint has not taken yet, in memory, each row once however often it
//! was written. Grouped by owner, so that drivers do not meet. Knows no frame and no tree.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use super::key::Owner;
use super::tree::Entry;

/// A value in the overlay: `None` was deleted.
pub(crate) type Newest = Option<Vec<u8>>;

/// What a row costs in memory beside its key and value, by estimate.
const ROW_OVERHEAD_BYTES: usize = 96;

#[derive(Default)]
pub(crate) struct Overlay {
    owners: DashMap<Owner, BTreeMap<Box<[u8]>, Newest>>,
    bytes: AtomicUsize,
}

impl Overlay {
    /// Puts or deletes a row. A row written before keeps its memory.
    pub(crate) fn put(&self, owner: Owner, rest: &[u8], value: Option<&[u8]>) {
        let mut rows = self.owners.entry(owner).or_default();
        let new = value.map_or(0, <[u8]>::len);
        if let Some(newest) = rows.get_mut(rest) {
            let old = newest.as_ref().map_or(0, Vec::len);
            match (newest, value) {
                (Some(newest), Some(value)) => {
                    newest.clear();
                    newest.extend_from_slice(value);
                }
                (newest, value) => *newest = value.map(<[u8]>::to_vec),
            }
            self.bytes.fetch_add(new, Ordering::Relaxed);
            self.bytes.fetch_sub(old, Ordering::Relaxed);
        } else {
            rows.insert(rest.into(), value.map(<[u8]>::to_vec));
            self.bytes.fetch_add(rest.len() + new + ROW_OVERHEAD_BYTES, Ordering::Relaxed);
        }
    }

    /// The newest value of a row, if it was written since the overlay began.
    pub(crate) fn get(&self, owner: Owner, rest: &[u8]) -> Option<Newest> {
        self.owners.get(&owner)?.get(rest).cloned()
    }

    /// The rows of `owner` that begin with `prefix`, from `start` on, at most `limit`.
    pub(crate) fn scan(
        &self,
        owner: Owner,
        prefix: &[u8],
        start: Bound<&[u8]>,
        limit: usize,
    ) -> Vec<(Vec<u8>, Newest)> {
        let Some(rows) = self.owners.get(&owner) else { return Vec::new() };
        rows.range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(rest, _)| rest.starts_with(prefix))
            .take(limit)
            .map(|(rest, newest)| (rest.to_vec(), newest.clone()))
            .collect()
    }

    /// A copy that holds the rows of `owners` alone.
    pub(crate) fn only(&self, owners: &[Owner]) -> Self {
        let copy = Self::default();
        for &owner in owners {
            if let Some(rows) = self.owners.get(&owner) {
                copy.owners.insert(owner, rows.clone());
            }
        }
        copy
    }

    /// Estimated bytes of memory.
    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Hands all rows to `take`, sorted by key. Nobody writes meanwhile.
    pub(crate) fn drain_into(&self, take: &mut dyn FnMut(&mut dyn Iterator<Item = Entry>)) {
        let mut owners: Vec<Owner> = self.owners.iter().map(|entry| *entry.key()).collect();
        owners.sort_unstable();
        let mut entries = owners.into_iter().flat_map(|owner| {
            let rows = self.owners.get(&owner);
            let rows: Vec<Entry> = rows.map_or_else(Vec::new, |rows| {
                rows.iter().map(|(rest, newest)| (owner.key(rest), newest.clone())).collect()
            });
            rows
        });
        take(&mut entries);
    }
}
