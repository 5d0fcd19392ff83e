//! Where drivers meet threads: the run queue and its permits, the cell that a driver lives in, one turn of a
//! driver, and the workers that take turns. The only place of the flow that locks, reads, calls and commits.

mod budget;
mod cell;
mod core;
mod errands;
mod mail;
mod permits;
mod turn;
mod worker;

pub(crate) use cell::Cell;
#[cfg(test)]
pub(crate) use core::Clock;
pub(crate) use core::{Core, Monotonic};
pub(crate) use errands::Errand;
pub(crate) use mail::{Command, Latch};
#[cfg(test)]
pub(crate) use turn::{Rest, turn};
#[cfg(test)]
pub(crate) use worker::Worker;
pub(crate) use worker::spawn;
