//! The kill harness: a real runtime is killed again and again under load, and a model checks that every
//! acknowledged event is there once and was processed exactly once, in order.

mod load;
mod model;
mod run;

pub use model::{Model, Violation};
pub use run::{CrashOptions, Report, run};
