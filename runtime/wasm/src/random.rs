//! A guest's random numbers: by its place in the log, so that a batch run again gives the same bytes.

use sha2::{Digest, Sha256};
use tidemill_flow::{Offset, Partition};

/// `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator for the batch of `handler` that begins there.
    pub(crate) fn seeded(handler: &str, partition: Partition, first: Offset) -> Self {
        let mut digest = Sha256::new();
        digest.update(partition.0.to_le_bytes());
        digest.update(first.0.to_le_bytes());
        digest.update(handler);
        let digest = digest.finalize();
        let (seed, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        Self(u64::from_le_bytes(*seed))
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_the_place_and_on_nothing_else() {
        let numbers = |handler, partition, offset| {
            let mut random = Random::seeded(handler, Partition(partition), Offset(offset));
            [random.next(), random.next()]
        };
        assert_eq!(numbers("a", 1, 2), numbers("a", 1, 2));
        assert_ne!(numbers("a", 1, 2), numbers("b", 1, 2));
        assert_ne!(numbers("a", 1, 2), numbers("a", 2, 2));
        assert_ne!(numbers("a", 1, 2), numbers("a", 1, 3));
        let [first, second] = numbers("a", 1, 2);
        assert_ne!(first, second);
    }

    #[test]
    fn the_generator_is_splitmix() {
        // The first outputs for seed 0, as published with the algorithm.
        let mut random = Random(0);
        assert_eq!([random.next(), random.next()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }
}
