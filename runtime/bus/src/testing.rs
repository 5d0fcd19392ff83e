//! What tests build on, here and in the crates above: a disk in memory that loses, tears, reorders and fails, and
//! the decoders of the tables for the fuzzer, which sees nothing private.

pub use crate::disk::fake::{FakeDisk, Fault, Random};
pub use crate::tables::{reread_change, reread_key, reread_row};
