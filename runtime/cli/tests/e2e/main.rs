//! The real binary, driven over its command line and HTTP as users drive it.

#![expect(clippy::unwrap_used, reason = "what is not as it should be fails the test")]

#[path = "../../../../tests/guests/bomb.rs"]
mod bomb;
mod mill;

mod api;
mod bounds;
mod cli;
mod compiling;
mod faults;
mod handlers;
mod twins;
mod vices;
