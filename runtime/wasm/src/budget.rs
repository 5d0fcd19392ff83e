//! What one instance may take in memory. A refused growth is an error of the call, not a −1 for the guest.

use thiserror::Error;
use wasmtime::ResourceLimiter;

use crate::limits;

/// Growth that was refused; travels through the guest's frames to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("asked for {asked} bytes of memory, the limit is {limit}")]
pub(crate) struct Refused {
    pub(crate) asked: usize,
    pub(crate) limit: usize,
}

/// Counts the memories and tables of one instance against one limit.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: usize,
    /// Bytes granted by the last growth, taken back if it fails after all.
    granted: usize,
    /// Bytes in use when the instance was new.
    baseline: usize,
}

/// Bytes of an entry of a table.
const ENTRY_BYTES: usize = size_of::<usize>();

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: 0, granted: 0, baseline: 0 }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Takes what is in use as what a fresh instance needs.
    pub(crate) fn settle(&mut self) {
        self.baseline = self.used;
    }

    /// Whether so much is in use that the instance had better be replaced. A runtime that is large from the
    /// start may grow by half of what is left, or it would be replaced at every call.
    pub(crate) fn past_watermark(&self) -> bool {
        let share = self.limit / 100 * limits::WATERMARK_PERCENT;
        self.used >= share.max(self.baseline + (self.limit - self.baseline) / 2)
    }

    fn grow(&mut self, bytes: usize) -> wasmtime::Result<bool> {
        let asked = self.used.saturating_add(bytes);
        if asked > self.limit {
            return Err(Refused { asked, limit: self.limit }.into());
        }
        (self.used, self.granted) = (asked, bytes);
        Ok(true)
    }

    fn take_back(&mut self) {
        self.used -= std::mem::take(&mut self.granted);
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(desired.saturating_sub(current))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(desired.saturating_sub(current).saturating_mul(ENTRY_BYTES))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        limits::CORE_INSTANCES_PER_INSTANCE as usize
    }

    fn tables(&self) -> usize {
        limits::TABLES_PER_INSTANCE as usize
    }

    fn memories(&self) -> usize {
        limits::MEMORIES_PER_INSTANCE as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit_and_a_failed_growth_costs_nothing() {
        let mut budget = Budget::new(1_000);
        assert!(budget.memory_growing(0, 400, None).unwrap());
        assert!(budget.table_growing(0, 50, None).unwrap());
        assert_eq!(budget.used(), 800);
        budget.table_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert!(budget.memory_growing(400, 1_000, None).unwrap());
        let error = budget.memory_growing(1_000, 1_001, None).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Refused { asked: 1_001, limit: 1_000 }));
    }

    #[test]
    fn the_watermark_lies_below_the_limit() {
        let mut budget = Budget::new(1_000);
        budget.grow(700).unwrap();
        assert!(!budget.past_watermark());
        budget.grow(100).unwrap();
        assert!(budget.past_watermark());
        budget.settle();
        assert!(!budget.past_watermark());
        budget.grow(100).unwrap();
        assert!(budget.past_watermark());
    }
}
