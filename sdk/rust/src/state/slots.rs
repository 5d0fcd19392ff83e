//! The values of a batch: read from the host once, changed by events, taken back when an event fails, written once
//! at the end.

use std::any::Any;

use super::cell::{Cell, Entry};
use super::keys::{KeyId, Keys};
use super::value::StateValue;
use crate::Failure;
use crate::bindings::Batch;
use crate::event::{Event, events};
use crate::host;
use crate::limits::{STATE_KEY_BYTES, STATE_VALUE_BYTES};

/// The state of the batch in hand.
#[derive(Default)]
pub(crate) struct State {
    keys: Keys,
    /// For each event of the batch the number of its key; empty until a cell asks, and it begins at `first`.
    key_of: Vec<KeyId>,
    /// The event that `key_of` begins with.
    first: usize,
    /// The cells by name. They stay from batch to batch, empty.
    cells: Vec<(&'static str, Box<dyn AnySlots>)>,
    /// Whether the event in hand had a cell.
    touched: bool,
    /// Room for what is asked of the host.
    asked: Asked,
}

/// What is asked of the host in one call.
#[derive(Default)]
struct Asked {
    ids: Vec<KeyId>,
    key_lens: Vec<u32>,
    keys: Vec<u8>,
}

/// The state columns of the output.
#[derive(Default)]
pub(crate) struct Writes {
    pub(crate) key_lens: Vec<u32>,
    pub(crate) value_lens: Vec<i32>,
    pub(crate) data: Vec<u8>,
}

impl State {
    /// Forgets the batch before.
    pub(crate) fn begin(&mut self) {
        self.keys.clear();
        self.key_of.clear();
        self.touched = false;
        for (_, slots) in &mut self.cells {
            slots.clear();
        }
    }

    /// A cell's value for the key of `event`. The first use in a batch reads the values for the keys of this
    /// event and all after it.
    pub(crate) fn of_event<T: StateValue>(
        &mut self,
        cell: &Cell<T>,
        batch: &Batch,
        event: &Event<'_>,
    ) -> Result<Entry<'_, T>, Failure> {
        if self.key_of.is_empty() {
            self.first = event.index();
            let keys = &mut self.keys;
            self.key_of
                .extend(events(batch, event.index(), event.start()).map(|event| keys.intern(event.key())));
        }
        let id = self.key_of[event.index() - self.first];
        let at = self.slots_of(cell);
        let Self { keys, key_of, first, cells, asked, .. } = self;
        let slots = slots::<T>(&mut cells[at]);
        if slots.is_unread(id) {
            asked.ids.clear();
            asked.ids.extend_from_slice(&key_of[event.index() - *first..]);
            slots.read(cell.name(), keys, asked);
        }
        slots.entry(id)
    }

    /// A cell's value for `key`.
    pub(crate) fn of_key<T: StateValue>(
        &mut self,
        cell: &Cell<T>,
        key: &[u8],
    ) -> Result<Entry<'_, T>, Failure> {
        let id = self.keys.intern(Some(key));
        let at = self.slots_of(cell);
        let slots = slots::<T>(&mut self.cells[at]);
        if slots.is_unread(id) {
            self.asked.ids.clear();
            self.asked.ids.push(id);
            slots.read(cell.name(), &self.keys, &mut self.asked);
        }
        slots.entry(id)
    }

    /// Keeps what the event in hand wrote.
    pub(crate) fn keep(&mut self) {
        if std::mem::take(&mut self.touched) {
            self.cells.iter_mut().for_each(|(_, slots)| slots.keep());
        }
    }

    /// Takes back what the event in hand wrote.
    pub(crate) fn roll_back(&mut self) {
        if std::mem::take(&mut self.touched) {
            self.cells.iter_mut().for_each(|(_, slots)| slots.roll_back());
        }
    }

    /// All values that were written, each once, by cell and by the first appearance of the key.
    pub(crate) fn writes(&self) -> Result<Writes, String> {
        let mut writes = Writes::default();
        for (name, slots) in &self.cells {
            slots.write((name, &self.keys), &mut writes)?;
        }
        Ok(writes)
    }

    /// Where the cell's values are in `cells`; it is taken up if it is new.
    fn slots_of<T: StateValue>(&mut self, cell: &Cell<T>) -> usize {
        self.touched = true;
        let name = cell.name();
        let known = |(known, _): &(&'static str, _)| std::ptr::eq(*known, name) || *known == name;
        if let Some(at) = self.cells.iter().position(known) {
            return at;
        }
        self.cells.push((name, Box::new(Slots::<T>::default())));
        self.cells.len() - 1
    }
}

/// The values of a cell with their type.
fn slots<'a, T: StateValue>((name, slots): &'a mut (&'static str, Box<dyn AnySlots>)) -> &'a mut Slots<T> {
    let known = slots.as_any();
    known.downcast_mut().unwrap_or_else(|| panic!("two cells of different types are named `{name}`"))
}

/// The values of a cell, whatever their type.
trait AnySlots {
    fn as_any(&mut self) -> &mut dyn Any;
    fn clear(&mut self);
    fn keep(&mut self);
    fn roll_back(&mut self);
    fn write(&self, place: (&str, &Keys), writes: &mut Writes) -> Result<(), String>;
}

/// The values of a cell by the number of their key.
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// What the event in hand replaced, in order.
    replaced: Vec<(KeyId, Slot<T>)>,
}

struct Slot<T> {
    value: Value<T>,
    /// Whether an event that was kept wrote it, or the one in hand did.
    written: bool,
}

enum Value<T> {
    Unread,
    Known(Option<T>),
    /// It cannot be read, or its key is too long.
    Broken(Failure),
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), replaced: Vec::new() }
    }
}

impl<T: StateValue> Slots<T> {
    pub(super) fn get(&self, id: KeyId) -> Option<&T> {
        match &self.slots[id].value {
            Value::Known(value) => value.as_ref(),
            Value::Unread | Value::Broken(_) => None,
        }
    }

    pub(super) fn put(&mut self, id: KeyId, value: Option<T>) {
        let slot = Slot { value: Value::Known(value), written: true };
        self.replaced.push((id, std::mem::replace(&mut self.slots[id], slot)));
    }

    fn is_unread(&self, id: KeyId) -> bool {
        self.slots.get(id).is_none_or(|slot| matches!(slot.value, Value::Unread))
    }

    fn entry(&mut self, id: KeyId) -> Result<Entry<'_, T>, Failure> {
        match &self.slots[id].value {
            Value::Broken(failure) => Err(failure.clone()),
            Value::Unread | Value::Known(_) => Ok(Entry::new(self, id)),
        }
    }

    /// Reads those of the keys in `asked.ids` that were not, with one call.
    fn read(&mut self, cell: &str, keys: &Keys, asked: &mut Asked) {
        self.slots.resize_with(keys.len(), || Slot { value: Value::Unread, written: false });
        asked.key_lens.clear();
        asked.keys.clear();
        asked.ids.retain(|&id| {
            let slot = &mut self.slots[id].value;
            if !matches!(slot, Value::Unread) {
                return false;
            }
            // Whatever is asked for is known from here on, so that a key that comes again is asked for once.
            *slot = Value::Known(None);
            let start = asked.keys.len();
            state_key(cell, keys.get(id), &mut asked.keys);
            let len = asked.keys.len() - start;
            if len > STATE_KEY_BYTES {
                asked.keys.truncate(start);
                let reason = format!("a state key of {len} bytes, the limit is {STATE_KEY_BYTES}");
                *slot = Value::Broken(Failure::reject(reason));
                return false;
            }
            asked.key_lens.push(u32::try_from(len).unwrap_or(u32::MAX));
            true
        });
        if asked.ids.is_empty() {
            return;
        }
        let values = host::get_many(&asked.key_lens, &asked.keys);
        let mut rest = values.data.as_slice();
        for (&id, &len) in asked.ids.iter().zip(&values.value_lens) {
            let Ok(len) = usize::try_from(len) else { continue };
            let (bytes, after) = rest.split_at(len);
            rest = after;
            self.slots[id].value = match T::decode(bytes) {
                Ok(value) => Value::Known(Some(value)),
                Err(reason) => Value::Broken(Failure::reject(format!("state of cell `{cell}`: {reason}"))),
            };
        }
    }
}

impl<T: StateValue> AnySlots for Slots<T> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.replaced.clear();
    }

    fn keep(&mut self) {
        self.replaced.clear();
    }

    fn roll_back(&mut self) {
        while let Some((id, slot)) = self.replaced.pop() {
            self.slots[id] = slot;
        }
    }

    fn write(&self, (cell, keys): (&str, &Keys), writes: &mut Writes) -> Result<(), String> {
        for (id, slot) in self.slots.iter().enumerate() {
            let (true, Value::Known(value)) = (slot.written, &slot.value) else { continue };
            let start = writes.data.len();
            state_key(cell, keys.get(id), &mut writes.data);
            let value_at = writes.data.len();
            writes.key_lens.push(u32::try_from(value_at - start).unwrap_or(u32::MAX));
            let Some(value) = value else {
                writes.value_lens.push(-1);
                continue;
            };
            value.encode(&mut writes.data).map_err(|reason| format!("state of cell `{cell}`: {reason}"))?;
            let len = writes.data.len() - value_at;
            if len > STATE_VALUE_BYTES {
                let limit = STATE_VALUE_BYTES;
                return Err(format!("state of cell `{cell}`: a value of {len} bytes, the limit is {limit}"));
            }
            writes.value_lens.push(i32::try_from(len).unwrap_or(i32::MAX));
        }
        Ok(())
    }
}

/// Where a cell's value lies in the host's tables.
fn state_key(cell: &str, key: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(cell.as_bytes());
    if let Some(key) = key {
        out.push(0);
        out.extend_from_slice(key);
    }
}
