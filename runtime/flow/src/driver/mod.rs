//! One driver: what it reads next, what its calls come to, how far it has come. A state machine without thread
//! or clock: time is an argument, and whoever holds it reads, calls and commits. Knows no instance and no log.

mod machine;

mod input;

mod settle;

mod flight;

mod trial;

mod layers;
mod size;

pub(crate) use flight::{Effects, Landed};
pub(crate) use input::{Input, Start};
pub(crate) use layers::Layers;
pub(crate) use machine::{Driver, Gate, Plan, Step};
pub(crate) use settle::{Ending, Settlement, Taken};
pub(crate) use size::BatchSize;
pub(crate) use trial::Standing;
