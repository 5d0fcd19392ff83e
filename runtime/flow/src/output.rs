//! What a handler returns, in columns, and the check that it tells no lies. All of it is under guest control.

use tidemill_bus::{Columns, transaction::StateWrites};

/// What a call did, as the guest says; see `wit/` for the meaning of each field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Events `0..settled` of the batch are done; the effects below are theirs alone.
    pub settled: u32,
    /// Of the settled: those given up, without effects, in ascending order of their index.
    pub rejected: Vec<Failure>,
    /// Why event `settled` was not done; `None` if all are settled.
    pub stopped: Option<Stop>,
    /// Names of the topics that are emitted to.
    pub topics: Vec<String>,
    /// Each emitted event's index into `topics`; empty: all to the first.
    pub topic_of: Vec<u16>,
    /// Each emitted event's cause, an index into the batch, in ascending order.
    pub cause_of: Vec<u32>,
    /// The emitted events. In `times`, `key_lens` and `header_lens` an empty column stands for its default:
    /// the time of the cause, the key of the cause, no headers.
    pub events: Columns,
    /// Writes to the state.
    pub state: StateWrites,
}

/// An event that the handler gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its index in the batch.
    pub index: u32,
    /// Why.
    pub reason: String,
}

/// Where the handler stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Why.
    pub reason: String,
    /// How long to wait before the event is tried again, in milliseconds, at least.
    pub after_ms: Option<u64>,
}
