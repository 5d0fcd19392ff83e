//! The real binary as a child process, driven over its HTTP API. Knows nothing of its insides.

mod api;
mod component;
mod process;

pub use api::{Api, Place, Published, Record};
pub use component::versioned;
pub use process::{PowerOptions, Process, ProcessOptions};
