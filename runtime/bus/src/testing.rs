//! What tests build on, here and in the crates above: a disk in memory that loses, tears, reorders and fails.

pub use crate::disk::fake::{FakeDisk, Fault, Random};
