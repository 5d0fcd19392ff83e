//! Random numbers for ids that must differ between stores and between openings; not for secrets.

use std::hash::{BuildHasher, RandomState};

/// A random number, from the keys that the standard library draws for its hash maps.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0)
}
