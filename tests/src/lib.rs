//! What the suites over the whole of Tidemill share: the real binary as a child process, and the
//! harnesses that kill it, that replace its handlers and that keep it busy for long.

pub mod crash;
pub mod harness;
pub mod replace;
pub mod soak;
