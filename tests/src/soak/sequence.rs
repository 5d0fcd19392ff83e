//! Whether the outputs of one partition are those that must come: for each key 0, 1, 2 and so on, none missing and
//! none twice. What retention or compaction took before it was read leaves a gap in the offsets; only there may numbers
//! be missing.

use std::collections::HashMap;

use thiserror::Error;

/// An output that should not have come now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Violation {
    /// The numbers of a key are not in order.
    #[error("offset {offset}: number {number} of {key} came, {expected} was due: {}", fault(*number, *expected))]
    Number {
        /// Where.
        offset: u64,
        /// The key.
        key: String,
        /// What came.
        number: u64,
        /// What should have come, or a later one if there was a gap.
        expected: u64,
    },
    /// The offsets go back.
    #[error("offset {offset} came where {expected} was due")]
    Offset {
        /// What came.
        offset: u64,
        /// What should have come, or a later one.
        expected: u64,
    },
}

fn fault(number: u64, expected: u64) -> &'static str {
    if number < expected { "it came twice" } else { "those between are lost" }
}

/// What was seen of a partition.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    next_offset: u64,
    /// Gaps of the offsets so far.
    gaps: u64,
    /// Offsets in these gaps.
    missed: u64,
    keys: HashMap<String, Seen>,
}

/// What is due next of a key, and how many gaps there were when its last number came.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    next: u64,
    gaps: u64,
}

impl Sequence {
    /// Sees the output at `offset`, which is number `number` of `key`. Returns how many offsets that is further, those of
    /// a gap included.
    pub(super) fn see(&mut self, offset: u64, key: &str, number: u64) -> Result<u64, Violation> {
        if offset < self.next_offset {
            return Err(Violation::Offset { offset, expected: self.next_offset });
        }
        let gap = offset - self.next_offset;
        if gap > 0 {
            self.gaps += 1;
            self.missed += gap;
        }
        self.next_offset = offset + 1;
        if !self.keys.contains_key(key) {
            self.keys.insert(key.to_owned(), Seen::default());
        }
        let seen = self.keys.get_mut(key).expect("it was just put there");
        let may_leap = self.gaps > seen.gaps;
        if number < seen.next || (number > seen.next && !may_leap) {
            return Err(Violation::Number { offset, key: key.to_owned(), number, expected: seen.next });
        }
        *seen = Seen { next: number + 1, gaps: self.gaps };
        Ok(gap + 1)
    }

    /// Numbers of a key that have come or are past.
    pub(super) fn count(&self, key: &str) -> u64 {
        self.keys.get(key).map_or(0, |seen| seen.next)
    }

    /// Offsets that were not seen.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(outputs: &[(u64, &str, u64)]) -> Result<Sequence, Violation> {
        let mut sequence = Sequence::default();
        for &(offset, key, number) in outputs {
            sequence.see(offset, key, number)?;
        }
        Ok(sequence)
    }

    #[test]
    fn numbers_that_go_up_one_by_one_are_right() {
        let seen = see(&[(0, "a", 0), (1, "b", 0), (2, "a", 1)]).unwrap();
        assert_eq!((seen.count("a"), seen.count("b"), seen.count("c"), seen.missed()), (2, 1, 0, 0));
    }

    #[test]
    fn what_is_lost_doubled_or_out_of_order_is_found() {
        for wrong in [
            &[(0, "a", 0), (1, "a", 0)][..],
            &[(0, "a", 0), (1, "a", 2)],
            &[(0, "a", 1)],
            &[(0, "a", 0), (1, "a", 1), (2, "a", 0)],
            &[(1, "a", 0), (1, "b", 0)],
        ] {
            assert!(see(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_may_be_missing_where_offsets_are_and_only_there() {
        let seen = see(&[(0, "a", 0), (5, "b", 3), (6, "a", 2), (7, "a", 3)]).unwrap();
        assert_eq!((seen.count("a"), seen.missed()), (4, 4));
        // The gap excuses one leap of a key, and no way back.
        assert!(see(&[(0, "a", 0), (5, "a", 3), (6, "a", 5)]).is_err());
        assert!(see(&[(0, "a", 0), (1, "a", 1), (5, "a", 1)]).is_err());
    }
}
