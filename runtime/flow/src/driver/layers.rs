//! The state that a call sees: what the driver's uncommitted calls wrote, over what the log has. A layer is one
//! unanswered transaction; it goes when the transaction is committed, and with all after it when it is aborted.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_bus::log::StateError;
use tidemill_bus::transaction::StateWrites;
use tidemill_bus::{DriverKey, Log};

use crate::handler::{Entry, StateReader};

/// A value; `None` where there is none, or not any more.
type Value = Option<Vec<u8>>;

/// One driver's state with its layers.
pub(crate) struct Layers {
    log: Arc<dyn Log>,
    driver: DriverKey,
    stack: Mutex<VecDeque<Layer>>,
    hasher: RandomState,
}

/// The writes of one unanswered transaction, with a hash table over their keys: open addressing, each place
/// the number of a write plus one. The keys are under guest control, hence the keyed hash.
struct Layer {
    token: u64,
    writes: StateWrites,
    /// Where in the data each write's key begins.
    starts: Vec<usize>,
    table: Vec<u32>,
}

impl Layers {
    /// No layers yet.
    pub(crate) fn new(log: Arc<dyn Log>, driver: DriverKey) -> Self {
        Self { log, driver, stack: Mutex::default(), hasher: RandomState::new() }
    }

    /// Puts the writes of transaction `token` on top.
    pub(crate) fn push(&self, token: u64, writes: StateWrites) {
        if !writes.is_empty() {
            let layer = Layer::new(token, writes, &self.hasher);
            self.stack.lock().push_back(layer);
        }
    }

    /// Transaction `token` is committed: the log has its writes now.
    pub(crate) fn committed(&self, token: u64) {
        self.stack.lock().retain(|layer| layer.token != token);
    }

    /// Transaction `token` was aborted: it and all that was built on it never was.
    pub(crate) fn aborted(&self, token: u64) {
        self.stack.lock().retain(|layer| layer.token < token);
    }

    /// What the layers say of each key: `None` where the log must be asked.
    fn layered(&self, keys: &[&[u8]]) -> Vec<Option<Value>> {
        let layers = self.stack.lock();
        let find = |key: &&[u8]| {
            let newest = |layer: &Layer| {
                let write = layer.write_of(key, &self.hasher)?;
                Some(layer.value(write).map(<[u8]>::to_vec))
            };
            layers.iter().rev().find_map(newest)
        };
        keys.iter().map(find).collect()
    }

    /// The newest layered value of every key that begins with `prefix` and lies after `after`.
    fn layered_range(&self, prefix: &[u8], after: Option<&[u8]>) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let mut range = BTreeMap::new();
        for layer in &*self.stack.lock() {
            for (key, value) in layer.writes.iter() {
                if key.starts_with(prefix) && after.is_none_or(|after| key > after) {
                    range.insert(key.to_vec(), value.map(<[u8]>::to_vec));
                }
            }
        }
        range
    }

    fn committed_values(&self, keys: &mut dyn Iterator<Item = &[u8]>) -> Result<Vec<Value>, StateError> {
        let mut values = Vec::new();
        self.log.state_get(self.driver, keys, &mut values)?;
        Ok(values)
    }
}

impl StateReader for Layers {
    fn get_many(&self, keys: &mut dyn Iterator<Item = &[u8]>) -> Result<Vec<Option<Vec<u8>>>, String> {
        if self.stack.lock().is_empty() {
            return self.committed_values(keys).map_err(|error| error.to_string());
        }
        let keys: Vec<&[u8]> = keys.collect();
        let layered = self.layered(&keys);
        let mut missing = keys.iter().zip(&layered).filter(|(_, value)| value.is_none()).map(|(key, _)| *key);
        let committed = self.committed_values(&mut missing).map_err(|error| error.to_string())?;
        let mut committed = committed.into_iter();
        Ok(layered.into_iter().map(|value| value.unwrap_or_else(|| committed.next().flatten())).collect())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, String> {
        let mut layered = self.layered_range(prefix, after).into_iter().peekable();
        let mut committed = Cursor::new(self, prefix, limit);
        let mut entries = Vec::new();
        committed.fill(after).map_err(|error| error.to_string())?;
        while entries.len() < limit {
            let layer_first = match (committed.peek(), layered.peek()) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(committed), Some((layered, _))) => layered.as_slice() <= committed,
            };
            if layer_first && let Some((key, value)) = layered.next() {
                if committed.peek() == Some(&key) {
                    committed.next().map_err(|error| error.to_string())?;
                }
                entries.extend(value.map(|value| (key, value)));
            } else {
                let Some(entry) = committed.next().map_err(|error| error.to_string())? else { break };
                entries.push(entry);
            }
        }
        Ok(entries)
    }
}

/// The committed entries of a scan, page by page: layers may delete any number of them.
struct Cursor<'a> {
    layers: &'a Layers,
    prefix: &'a [u8],
    limit: usize,
    page: VecDeque<Entry>,
    /// Whether the log had as many entries as a page takes, and so may have more.
    more: bool,
}

impl<'a> Cursor<'a> {
    fn new(layers: &'a Layers, prefix: &'a [u8], limit: usize) -> Self {
        Self { layers, prefix, limit, page: VecDeque::new(), more: true }
    }

    fn fill(&mut self, after: Option<&[u8]>) -> Result<(), StateError> {
        let page = self.layers.log.state_scan(self.layers.driver, self.prefix, after, self.limit)?;
        self.more = page.len() >= self.limit.max(1);
        self.page = page.into();
        Ok(())
    }

    fn peek(&self) -> Option<&[u8]> {
        self.page.front().map(|(key, _)| key.as_slice())
    }

    /// Takes the next entry; the page is never left empty while the log may have more.
    fn next(&mut self) -> Result<Option<Entry>, StateError> {
        let Some(entry) = self.page.pop_front() else { return Ok(None) };
        if self.page.is_empty() && self.more {
            self.fill(Some(&entry.0))?;
        }
        Ok(Some(entry))
    }
}

impl Layer {
    fn new(token: u64, writes: StateWrites, hasher: &RandomState) -> Self {
        let places = (writes.len() * 2).next_power_of_two();
        let mut layer =
            Self { token, starts: Vec::with_capacity(writes.len()), table: vec![0; places], writes };
        let mut start = 0;
        for write in 0..layer.writes.len() {
            layer.starts.push(start);
            start += layer.writes.key_lens[write] as usize + value_width(&layer.writes, write).unwrap_or(0);
            let place = layer.find(layer.key(write), hasher);
            layer.table[place] = u32::try_from(write + 1).expect("an output has fewer writes than 2^32");
        }
        layer
    }

    fn key(&self, write: usize) -> &[u8] {
        &self.writes.data[self.starts[write]..][..self.writes.key_lens[write] as usize]
    }

    /// The place of `key` in the table, or the empty one where it would be.
    fn find(&self, key: &[u8], hasher: &RandomState) -> usize {
        let mask = self.table.len() - 1;
        let hash = usize::try_from(hasher.hash_one(key) & u64::from(u32::MAX)).expect("32 bits fit");
        let mut place = hash & mask;
        while self.table[place] != 0 && self.key(self.table[place] as usize - 1) != key {
            place = (place + 1) & mask;
        }
        place
    }

    /// The number of the newest write of `key`, if the layer has one.
    fn write_of(&self, key: &[u8], hasher: &RandomState) -> Option<usize> {
        (self.table[self.find(key, hasher)] as usize).checked_sub(1)
    }

    fn value(&self, write: usize) -> Option<&[u8]> {
        let start = self.starts[write] + self.writes.key_lens[write] as usize;
        value_width(&self.writes, write).map(|width| &self.writes.data[start..][..width])
    }
}

/// Bytes of the value of a write; `None` if it deletes.
fn value_width(writes: &StateWrites, write: usize) -> Option<usize> {
    usize::try_from(writes.value_lens[write]).ok()
}
