//! Deficit round-robin by time used (Shreedhar and Varghese, 1995, charged afterwards: what a call will take is
//! not known before). Each handler in turn is served until it has used up its balance; each round adds to it.

use std::collections::VecDeque;
use std::time::Duration;

use super::Slot;
use crate::limits;

/// The handlers and their ripe drivers.
pub(super) struct Fair<T> {
    shares: Vec<Share<T>>,
    vacant: Vec<Slot>,
    /// Handlers with ripe drivers, the next in turn first.
    ring: VecDeque<Slot>,
    /// So many calls are slow that handlers which were slow the last time wait too.
    crowded: bool,
}

struct Share<T> {
    drivers: VecDeque<T>,
    /// Nanoseconds that it may use; below zero what it has used too much. Kept while it has nothing to do: it
    /// never saves more than one quantum, and a single driver is away from the queue whenever it runs.
    balance: i64,
    /// Long calls that hold it.
    held: u32,
    /// Whether its last call was a long one.
    suspect: bool,
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        Self { shares: Vec::new(), vacant: Vec::new(), ring: VecDeque::new(), crowded: false }
    }
}

impl<T> Fair<T> {
    pub(super) fn open(&mut self) -> Slot {
        self.vacant.pop().unwrap_or_else(|| {
            self.shares.push(Share { drivers: VecDeque::new(), balance: 0, held: 0, suspect: false });
            Slot(self.shares.len() - 1)
        })
    }

    pub(super) fn close(&mut self, slot: Slot) {
        self.ring.retain(|other| *other != slot);
        self.shares[slot.0] = Share { drivers: VecDeque::new(), balance: 0, held: 0, suspect: false };
        self.vacant.push(slot);
    }

    pub(super) fn push(&mut self, slot: Slot, driver: T) {
        let share = &mut self.shares[slot.0];
        if share.drivers.is_empty() {
            self.ring.push_back(slot);
        }
        share.drivers.push_back(driver);
    }

    pub(super) fn take(&mut self) -> Option<(Slot, T)> {
        let at = if let Some(at) = self.solvent() {
            at
        } else {
            self.add_rounds()?;
            self.solvent()?
        };
        // Those before it have used up their balance: their turn is over.
        self.ring.rotate_left(at);
        let slot = *self.ring.front()?;
        let share = &mut self.shares[slot.0];
        let driver = share.drivers.pop_front()?;
        if share.drivers.is_empty() {
            self.ring.pop_front();
        }
        Some((slot, driver))
    }

    pub(super) fn charge(&mut self, slot: Slot, used: Duration) {
        let used = i64::try_from(used.as_nanos()).unwrap_or(i64::MAX);
        let share = &mut self.shares[slot.0];
        share.balance = share.balance.saturating_sub(used);
    }

    pub(super) fn hold(&mut self, slot: Slot) {
        self.shares[slot.0].held += 1;
        self.shares[slot.0].suspect = true;
    }

    pub(super) fn was_quick(&mut self, slot: Slot) {
        self.shares[slot.0].suspect = false;
    }

    pub(super) fn crowd(&mut self, crowded: bool) {
        self.crowded = crowded;
    }

    pub(super) fn release(&mut self, slot: Slot) {
        let held = &mut self.shares[slot.0].held;
        *held = held.checked_sub(1).expect("only what is held is released");
    }

    pub(super) fn is_held(&self, slot: Slot) -> bool {
        let share = &self.shares[slot.0];
        share.held > 0 || (share.suspect && self.crowded)
    }

    pub(super) fn has_work(&self) -> bool {
        self.ring.iter().any(|slot| !self.is_held(*slot))
    }

    pub(super) fn clear(&mut self) {
        self.ring.clear();
        self.shares.iter_mut().for_each(|share| share.drivers.clear());
    }

    /// The place in the ring of the next handler that may be served.
    fn solvent(&self) -> Option<usize> {
        self.ring.iter().position(|slot| self.shares[slot.0].balance > 0 && !self.is_held(*slot))
    }

    /// Adds as many rounds at once as the richest handler needs; `None` if all are held.
    fn add_rounds(&mut self) -> Option<()> {
        let quantum = i64::try_from(limits::QUANTUM.as_nanos()).unwrap_or(i64::MAX);
        let served = |slot: &&Slot| !self.is_held(**slot);
        let richest = self.ring.iter().filter(served).map(|slot| self.shares[slot.0].balance).max()?;
        let rounds = richest.saturating_neg() / quantum + 1;
        for at in 0..self.ring.len() {
            let slot = self.ring[at];
            if !self.is_held(slot) {
                let share = &mut self.shares[slot.0];
                share.balance = share.balance.saturating_add(rounds.saturating_mul(quantum));
            }
        }
        Some(())
    }
}
