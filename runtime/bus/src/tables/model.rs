//! The model of the tree: a map that remembers every flush, and may come back from a crash at any of them.
//! For tests, here and above; never on disk.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Living;
use super::tree::{Entry, Tree, TreeError, TreeFault};
use crate::log::Row;

type Rows = Arc<BTreeMap<Vec<u8>, Vec<u8>>>;

/// Tables in memory. Clones share them, as two openings of one directory do.
#[derive(Clone, Default)]
pub struct ModelTables(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Every flush: the frame and all rows then.
    flushes: Vec<(u64, Rows)>,
    living: Living,
    /// The next flush fails.
    fail_next: bool,
}

impl ModelTables {
    /// The frames that a crash may bring back, the oldest first.
    pub fn flushes(&self) -> Vec<u64> {
        self.0.lock().flushes.iter().map(|(frame, _)| *frame).collect()
    }

    /// Tables of their own as a crash may leave them: as the flush `index` of [`ModelTables::flushes`] made
    /// them; `None` is before the first.
    #[must_use]
    pub fn crashed_at(&self, index: Option<usize>) -> Self {
        let count = index.map_or(0, |index| index + 1);
        let flushes = self.0.lock().flushes.iter().take(count).cloned().collect();
        Self(Arc::new(Mutex::new(State { flushes, ..State::default() })))
    }

    /// Lets the next flush fail.
    pub fn fail_next_flush(&self) {
        self.0.lock().fail_next = true;
    }

    fn rows(&self) -> Rows {
        self.0.lock().flushes.last().map(|(_, rows)| Arc::clone(rows)).unwrap_or_default()
    }
}

impl Tree for ModelTables {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TreeError> {
        Ok(self.rows().get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, TreeError> {
        let start = after.map_or(Bound::Included(prefix), |after| Bound::Excluded(after.max(prefix)));
        let rows = self.rows();
        let found = rows
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn persist(&self, frame: u64, entries: &mut dyn Iterator<Item = Entry>) -> Result<(), TreeError> {
        let mut rows = (*self.rows()).clone();
        for (key, value) in entries {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        let mut state = self.0.lock();
        if std::mem::take(&mut state.fail_next) {
            return Err(TreeError {
                attempt: "flush",
                what: "as the test asked".into(),
                fault: TreeFault::Io,
            });
        }
        state.flushes.push((frame, Arc::new(rows)));
        Ok(())
    }

    fn persisted(&self) -> u64 {
        self.0.lock().flushes.last().map_or(0, |(frame, _)| *frame)
    }

    fn retain(&self, living: Living) {
        self.0.lock().living = living;
    }

    fn compact(&self) -> Result<(), TreeError> {
        let mut state = self.0.lock();
        let living = state.living.clone();
        if let Some((_, rows)) = state.flushes.last_mut() {
            Arc::make_mut(rows).retain(|key, value| !living.is_dead(key, Some(value)));
        }
        Ok(())
    }
}
