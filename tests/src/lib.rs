//! What the suites over the whole of Tidemill share: the real binary as a child process, and its crash model.

pub mod crash;
pub mod harness;
