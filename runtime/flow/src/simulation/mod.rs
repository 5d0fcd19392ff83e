//! The flow under test: a log that gaps, aborts and delays, a handler with every vice, a manual clock, and a model
//! that says what must come out. No thread, no sleep: the same seed gives the same run.

mod bounds;
mod handler;
mod histories;
mod layers;
mod log;
mod model;
mod notes;
mod operations;
mod threads;
mod versions;
mod world;
