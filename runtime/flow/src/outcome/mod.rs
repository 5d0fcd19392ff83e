//! What a call comes to: its output checked against the batch, and its events scattered over the partitions of
//! their topics. Pure; everything that comes in is under guest control.

mod check;
mod scatter;

pub(crate) use check::{Checked, check};
pub(crate) use scatter::{Emission, Scatter, Target};
