//! Which partition a key belongs to: as Kafka's default partitioner has it, so that a topic mirrors one to
//! one. Knows no topic.

use crate::Partition;

/// The partition of `key` in a topic of `partitions` partitions, of which there is at least one.
pub fn of_key(key: &[u8], partitions: u32) -> Partition {
    Partition((murmur2(key) & 0x7fff_ffff) % partitions)
}

/// Austin Appleby's `MurmurHash2`, 32 bits, with the seed that Kafka uses.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let len = u32::try_from(bytes.len()).expect("a key is bounded far below 4 GiB");
    let (words, tail) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(SEED ^ len, |hash, word| {
        let word = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        let word = (word ^ (word >> 24)).wrapping_mul(MULTIPLIER);
        hash.wrapping_mul(MULTIPLIER) ^ word
    });
    if !tail.is_empty() {
        let mut word = [0; 4];
        word[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u32::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `UtilsTest.testMurmur2` of Apache Kafka.
    #[test]
    fn keys_hash_as_kafka_hashes_them() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn every_key_has_a_partition() {
        for key in 0..1_000_u32 {
            assert!(of_key(&key.to_le_bytes(), 7).0 < 7);
        }
        assert_eq!(of_key(b"", 1), Partition(0));
    }
}
