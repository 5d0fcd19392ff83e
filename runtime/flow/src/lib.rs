//! The journey of an event through Tidemill's handlers: scheduler, pool, partition driver, outcomes, retry.
//!
//! Knows handlers and the log only as traits ([`handler::Handler`], [`Log`]); no wasmtime, no HTTP, no tokio.
//! The modules stand in the order of the journey: the facade, the scheduler that picks a driver, the pool whose
//! worker gives it a turn, the driver that says what to read, the call's outcome, and what follows a failure.

mod flow;
mod graph;
mod installed;
mod note;
mod trial;

mod scheduler;

mod pool;

mod driver;

mod outcome;

mod isolation;
mod retry;
mod tally;

#[cfg(test)]
mod simulation;

pub mod config;
pub mod dead_letter;
#[doc(hidden)]
pub mod fuzzing;
pub mod handler;
pub mod limits;
pub mod output;
pub mod status;

pub use flow::{Flow, InstallError, OperateError, Options, Seek, SeekError, SeekTo, UnknownHandler};
pub use scheduler::Policy;
pub use tidemill_bus::{
    Batch, Columns, DriverKey, Event, HandlerId, Lane, Log, Offset, Partition, TopicId, TopicPartition,
};
