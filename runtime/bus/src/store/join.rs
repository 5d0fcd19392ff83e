//! Which neighbouring settled segments are worth becoming one. Knows sizes only.

use std::ops::Range;

use crate::limits::JOIN_SEGMENTS_MAX;

/// The runs that are worth it, of segments with so many bytes each, oldest first; `None` for one that is not to be
/// joined. None has more than `bytes_max`.
///
/// What a run has is half as much again as the largest segment in it, at least: so whatever is copied ends in a larger
/// segment each time, and is copied as often as the logarithm of what a segment holds.
pub(super) fn runs(sizes: &[Option<u64>], bytes_max: u64) -> Vec<Range<usize>> {
    let (mut runs, mut start) = (Vec::new(), 0);
    while start < sizes.len() {
        let end = start + longest(&sizes[start..], bytes_max);
        if end > start {
            runs.push(start..end);
        }
        start = end.max(start + 1);
    }
    runs
}

/// How many of the first segments are worth being joined; 0 if not even two are.
fn longest(sizes: &[Option<u64>], bytes_max: u64) -> usize {
    let (mut bytes, mut largest, mut longest) = (0_u64, 0, 0);
    for (index, size) in sizes.iter().map_while(|size| *size).take(JOIN_SEGMENTS_MAX).enumerate() {
        bytes = bytes.saturating_add(size);
        largest = size.max(largest);
        if bytes > bytes_max {
            break;
        }
        if bytes >= largest.saturating_add(largest / 2) {
            longest = index + 1;
        }
    }
    if longest > 1 { longest } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_neighbours_are_joined_and_others_stay() {
        let check = |sizes: &[u64], expected: Option<Range<usize>>| {
            let sizes: Vec<_> = sizes.iter().map(|&size| (size > 0).then_some(size)).collect();
            assert_eq!(runs(&sizes, 64), Vec::from_iter(expected), "{sizes:?}");
        };
        check(&[8, 8], Some(0..2));
        check(&[8, 0, 8], None);
        check(&[32, 1], None);
        check(&[32, 16, 8, 8, 1], Some(0..4));
        check(&[32, 1, 1], Some(1..3));
        check(&[1, 32, 16, 1, 1], Some(0..5));
        check(&[64, 60, 5, 60], None);
        check(&[], None);
    }

    #[test]
    fn many_are_joined_some_at_a_time() {
        let runs = runs(&[Some(1); JOIN_SEGMENTS_MAX * 2 + 1], u64::MAX);
        assert_eq!(runs, [0..JOIN_SEGMENTS_MAX, JOIN_SEGMENTS_MAX..JOIN_SEGMENTS_MAX * 2]);
    }

    proptest! {
        #[test]
        fn runs_are_in_order_within_the_bound_and_larger_than_their_largest(
            sizes in proptest::collection::vec(proptest::option::weighted(0.9, 1..40_u64), 0..60),
        ) {
            let mut before = 0;
            for run in runs(&sizes, 64) {
                prop_assert!(run.start >= before && run.len() > 1);
                let joined: Vec<u64> = sizes[run.clone()].iter().copied().collect::<Option<_>>().unwrap();
                let bytes: u64 = joined.iter().sum();
                prop_assert!(bytes <= 64 && 2 * bytes + 1 >= 3 * joined.iter().max().unwrap());
                before = run.end;
            }
        }

        /// A store whose segments are settled one after the other, for long.
        #[test]
        fn few_segments_stay_and_none_is_copied_often(
            sizes in proptest::collection::vec(1..8_u64, 1..600),
        ) {
            let (mut there, mut copied) = (Vec::new(), 0);
            for &size in &sizes {
                there.push(Some(size));
                for run in runs(&there, 64).into_iter().rev() {
                    let bytes: u64 = there[run.clone()].iter().flatten().sum();
                    copied += bytes;
                    there.splice(run, [Some(bytes)]);
                }
            }
            let total: u64 = sizes.iter().sum();
            prop_assert!(there.len() as u64 <= total / 24 + 8, "{} of {total}: {there:?}", there.len());
            prop_assert!(copied <= total * 8, "{copied} of {total}");
        }
    }
}
