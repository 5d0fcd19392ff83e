//! A handler's state: cells by key, read once and written once per key and batch, with what a failing event did
//! taken back. Knows the host only as one function that reads many keys.

mod cell;
mod keys;
mod slots;
mod value;

pub use cell::{Cell, Entry};
pub(crate) use slots::State;
pub use value::StateValue;
