//! The bytes that unanswered transactions of all drivers may have together. Counts; knows no transaction.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A share of memory, taken before a batch is read and given back when its transaction is answered.
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Takes `bytes` if they are there. If nothing is taken, any number is: a batch above the whole budget
    /// goes alone.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        let fits = |used: usize| (used == 0 || used + bytes <= self.limit).then_some(used + bytes);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
    }

    /// Puts `real` in place of the `reserved` bytes: what a call returns is known only afterwards, so the
    /// limit may be passed by one output for each worker.
    pub(crate) fn correct(&self, reserved: usize, real: usize) {
        self.used.fetch_add(real, Ordering::SeqCst);
        self.release(reserved);
    }

    /// Gives bytes back.
    pub(crate) fn release(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::SeqCst);
        assert!(before >= bytes, "more bytes are given back than were taken");
    }

    /// Bytes taken.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_budget_takes_nothing_and_an_empty_one_anything() {
        let budget = Budget::new(100);
        assert!(budget.reserve(60) && !budget.reserve(41) && budget.reserve(40));
        budget.correct(60, 10);
        assert!(!budget.reserve(51));
        budget.release(50);
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(1_000) && !budget.reserve(1));
    }
}
