//! What the suites over the whole of Tidemill share: the real binary as a child process, and the
//! harnesses that kill it and that replace its handlers.

pub mod crash;
pub mod harness;
pub mod replace;
