//! A cache bounded by weight and by number, whose oldest unused entry goes first (second chance). Knows
//! nothing of what it holds.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

struct Slot<V> {
    value: V,
    weight: usize,
    used: bool,
}

/// The cache.
pub(super) struct Cache<K, V> {
    weight_max: usize,
    count_max: usize,
    weight: usize,
    slots: HashMap<K, Slot<V>>,
    queue: VecDeque<K>,
}

impl<K: Copy + Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(weight_max: usize, count_max: usize) -> Self {
        Self { weight_max, count_max, weight: 0, slots: HashMap::new(), queue: VecDeque::new() }
    }

    pub(super) fn get(&mut self, key: K) -> Option<V> {
        let slot = self.slots.get_mut(&key)?;
        slot.used = true;
        Some(slot.value.clone())
    }

    /// Puts a value in; one that weighs more than all may weigh is let in alone.
    pub(super) fn insert(&mut self, key: K, value: V, weight: usize) {
        self.remove(key);
        self.make_room(weight);
        self.weight += weight;
        self.slots.insert(key, Slot { value, weight, used: false });
        self.queue.push_back(key);
    }

    pub(super) fn remove(&mut self, key: K) {
        if let Some(slot) = self.slots.remove(&key) {
            self.weight -= slot.weight;
            self.trim();
        }
    }

    /// Forgets the places of what was removed, once they are more than those of what is there.
    fn trim(&mut self) {
        if self.queue.len() > 2 * self.slots.len() + 16 {
            let mut listed = HashSet::with_capacity(self.slots.len());
            self.queue.retain(|key| self.slots.contains_key(key) && listed.insert(*key));
        }
    }

    fn make_room(&mut self, weight: usize) {
        while self.weight + weight > self.weight_max || self.slots.len() >= self.count_max {
            let Some(key) = self.queue.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            if std::mem::take(&mut slot.used) {
                self.queue.push_back(key);
            } else {
                self.weight -= slot.weight;
                self.slots.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_was_not_used_goes_first() {
        let mut cache = Cache::new(3, 10);
        (1..=3).for_each(|key| cache.insert(key, key * 10, 1));
        assert_eq!(cache.get(1), Some(10));
        cache.insert(4, 40, 1);
        assert_eq!([1, 2, 3, 4].map(|key| cache.get(key)), [Some(10), None, Some(30), Some(40)]);
    }

    #[test]
    fn weight_and_number_are_bounded() {
        let mut cache = Cache::new(100, 4);
        for key in 0..50_usize {
            cache.insert(key, (), key);
            assert!(cache.slots.len() <= 4);
            assert!(cache.weight <= 100 || cache.slots.len() == 1);
        }
        cache.insert(49, (), 1);
        assert_eq!(cache.slots.values().map(|slot| slot.weight).sum::<usize>(), cache.weight);
        cache.insert(1, (), 1_000);
        assert_eq!(cache.slots.len(), 1);
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing_behind() {
        let mut cache = Cache::new(100, 100);
        for key in 0..10_000 {
            cache.insert(key % 7, (), 1);
            cache.remove(key % 5);
        }
        assert!(cache.queue.len() <= 2 * cache.slots.len() + 17);
        assert_eq!(cache.weight, cache.slots.len());
    }
}
