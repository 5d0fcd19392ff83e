//! The store as a whole: crashed at every call of the disk, compared with a model, driven to its bounds.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod answers;
mod bounds;
mod check;
mod compact;
mod compression;
mod crash;
mod directory;
mod disk;
mod faults;
mod fixture;
mod flips;
mod harness;
mod history;
mod join;
mod lost;
mod model;
mod panics;
mod producers;
mod settle;
mod tables;
mod threads;
mod time;
mod topics;
