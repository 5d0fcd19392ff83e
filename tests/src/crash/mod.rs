//! The kill harness: a real runtime is killed, or its power is cut, again and again under load, and a model checks that every
//! acknowledged event is there once and was processed exactly once, in order.

mod blow;
mod load;
mod model;
mod power;
mod run;

pub use model::{Model, Violation};
pub use power::PowerReport;
pub use run::{CrashOptions, Fault, Report, run};
