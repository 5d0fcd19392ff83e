//! The journey of an event through Tidemill's handlers: scheduler, pool, partition driver, outcomes, retry.
//!
//! Knows handlers and the log only as traits ([`handler::Handler`], [`Log`]); no wasmtime, no HTTP, no tokio.

pub mod config;
pub mod handler;
pub mod limits;
pub mod output;

pub use tidemill_bus::{
    Batch, Columns, DriverKey, Event, HandlerId, Lane, Log, Offset, Partition, TopicId, TopicPartition,
};
