//! The newest values of rows that a checkpoint has not taken yet, in memory, each row once however often it
//! was written. Grouped by owner, so that drivers do not meet. Knows no frame and no tree.

use std::cmp::Ordering::{Equal, Greater, Less};
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

/// The rows of an owner by their own parts of the key.
type Rows = BTreeMap<Box<[u8]>, Newest>;

#[derive(Default)]
pub(crate) struct Overlay {
    owners: DashMap<Owner, Rows>,
    bytes: AtomicUsize,
}

impl Overlay {
    /// Puts or deletes a row. A row written before keeps its memory.
    pub(crate) fn put(&self, owner: Owner, rest: &[u8], value: Option<&[u8]>) {
        let (grown, shrunk) = put_into(&mut self.owners.entry(owner).or_default(), rest, value);
        self.bytes.fetch_add(grown, Ordering::Relaxed);
        self.bytes.fetch_sub(shrunk, Ordering::Relaxed);
    }

    /// Puts or deletes rows of `owner`, sorted by key without repetition.
    pub(crate) fn put_sorted<'a>(
        &self,
        owner: Owner,
        sorted: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) {
        let mut rows = self.owners.entry(owner).or_default();
        let (mut grown, mut shrunk) = (0, 0);
        if sorted.len() < rows.len() / 8 {
            for (rest, value) in sorted {
                let (more, less) = put_into(&mut rows, rest, value);
                (grown, shrunk) = (grown + more, shrunk + less);
            }
        } else {
            // The map is built anew of both: that takes a look at each row's neighbour, and no search.
            let (mut old, mut new) = (std::mem::take(&mut *rows).into_iter().peekable(), sorted.peekable());
            let merged = std::iter::from_fn(|| {
                let order = match (old.peek(), new.peek()) {
                    (Some((old, _)), Some((new, _))) => (**old).cmp(new),
                    (Some(_), None) => Less,
                    (None, _) => Greater,
                };
                if order == Less {
                    return old.next();
                }
                let (rest, value) = new.next()?;
                if let Some((rest, replaced)) = old.next_if(|_| order == Equal) {
                    shrunk += row_len(&rest, replaced.as_deref());
                }
                grown += row_len(rest, value);
                Some((rest.into(), value.map(<[u8]>::to_vec)))
            });
            *rows = merged.collect();
        }
        self.bytes.fetch_add(grown, Ordering::Relaxed);
        self.bytes.fetch_sub(shrunk, Ordering::Relaxed);
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

/// What a row that was not there takes of memory.
fn row_len(rest: &[u8], value: Option<&[u8]>) -> usize {
    rest.len() + value.map_or(0, <[u8]>::len) + ROW_OVERHEAD_BYTES
}

/// Puts or deletes a row; by how much memory grew, and by how much it shrank.
fn put_into(rows: &mut Rows, rest: &[u8], value: Option<&[u8]>) -> (usize, usize) {
    let Some(newest) = rows.get_mut(rest) else {
        rows.insert(rest.into(), value.map(<[u8]>::to_vec));
        return (row_len(rest, value), 0);
    };
    let old = newest.as_ref().map_or(0, Vec::len);
    match (newest, value) {
        (Some(newest), Some(value)) => {
            newest.clear();
            newest.extend_from_slice(value);
        }
        (newest, value) => *newest = value.map(<[u8]>::to_vec),
    }
    (value.map_or(0, <[u8]>::len), old)
}
