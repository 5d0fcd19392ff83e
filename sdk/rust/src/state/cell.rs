//! A cell and its value for one key, as the handler sees them.

use std::marker::PhantomData;

use super::slots::Slots;
use super::value::StateValue;

/// A named part of a handler's state, with a value for each key. Declare it once:
///
/// ```
/// static TOTAL: tidemill_sdk::Cell<u64> = tidemill_sdk::Cell::new("total");
/// ```
///
/// State belongs to the partition that the event is from: two events with the same key share a value if their
/// topic is partitioned by that key. A name is for ever: renaming a cell leaves its values behind. In the host's
/// tables a value lies under the cell's name, a zero byte and the key; under the name alone for a null key.
pub struct Cell<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T: StateValue> Cell<T> {
    /// A cell of this name, which is not empty and has no zero byte.
    ///
    /// # Panics
    /// If the name is wrong; in a `static` that is a compile error.
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty(), "the name of a cell is empty");
        let mut at = 0;
        while at < bytes.len() {
            assert!(bytes[at] != 0, "the name of a cell has a zero byte");
            at += 1;
        }
        Self { name, value: PhantomData }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// A cell's value for one key.
pub struct Entry<'a, T> {
    slots: &'a mut Slots<T>,
    slot: usize,
}

impl<'a, T: StateValue> Entry<'a, T> {
    pub(super) fn new(slots: &'a mut Slots<T>, slot: usize) -> Self {
        Self { slots, slot }
    }

    /// The value, if there is one.
    pub fn get(&self) -> Option<&T> {
        self.slots.get(self.slot)
    }

    /// Writes the value.
    pub fn set(&mut self, value: T) {
        self.slots.put(self.slot, Some(value));
    }

    /// Deletes the value.
    pub fn remove(&mut self) {
        self.slots.put(self.slot, None);
    }

    /// Changes the value in place, which begins as the default of its type, and returns what `change` does.
    pub fn update<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R
    where
        T: Clone + Default,
    {
        let mut value = self.get().cloned().unwrap_or_default();
        let result = change(&mut value);
        self.set(value);
        result
    }
}
