//! Why an operation of the flow was refused.

use thiserror::Error;
use tidemill_bus::log::{AdminError, ReadError};

/// Why a handler could not be installed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InstallError {
    /// A handler of that name is installed.
    #[error("handler {0:?} is installed already")]
    Exists(String),
    /// It reads nothing.
    #[error("handler {0:?} has no input")]
    NoInput(String),
    /// It may emit to what leads back to it.
    #[error("handler {handler:?} would close the cycle {}; set allow-cycle = true if that is meant", .path.join(" -> "))]
    Cycle {
        /// The handler.
        handler: String,
        /// Topics and handlers in turn, from a topic back to it.
        path: Vec<String>,
    },
    /// A handler with state needs all its inputs to have the same number of partitions.
    #[error(
        "handler {handler:?} keeps state, and its inputs {first:?} and {second:?} have {first_partitions} and \
         {second_partitions} partitions: state belongs to a partition number, so they must have the same"
    )]
    Partitions {
        /// The handler.
        handler: String,
        /// One input.
        first: String,
        /// Its partitions.
        first_partitions: u32,
        /// Another.
        second: String,
        /// Its partitions.
        second_partitions: u32,
    },
    /// A topic, or the handler's id, could not be had.
    #[error("handler {handler:?} needs {what:?}: {source}")]
    Admin {
        /// The handler.
        handler: String,
        /// The topic or group.
        what: String,
        /// Why not.
        source: AdminError,
    },
    /// What was noted of it is broken, or was written by a newer version of Tidemill.
    #[error("what was noted of handler {0:?} cannot be read: delete its group, or use the newer version")]
    Note(String),
    /// Its version is named by too many bytes.
    #[error("handler {handler:?} is of a version named by {bytes} bytes, the limit is {limit}")]
    Version {
        /// The handler.
        handler: String,
        /// Bytes of the version.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// There are as many handlers as there may be.
    #[error("{0} handlers are installed, which is the limit")]
    TooMany(usize),
    /// The flow was stopped.
    #[error("the flow is stopped")]
    Stopped,
}

impl InstallError {
    /// The log could not give a handler `what` it needs.
    pub(crate) fn of(handler: &str, what: &str, source: AdminError) -> Self {
        Self::Admin { handler: handler.to_owned(), what: what.to_owned(), source }
    }
}

/// No such handler.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no handler {0:?} is installed")]
pub struct UnknownHandler(pub String);

/// Why a handler was not paused or resumed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OperateError {
    /// No such handler.
    #[error(transparent)]
    Unknown(#[from] UnknownHandler),
    /// The log did not take it.
    #[error("the change of handler {handler:?} was not committed: {source}")]
    Note {
        /// The handler.
        handler: String,
        /// Why not.
        source: AdminError,
    },
    /// Its group was reset, and it could not begin anew.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The flow was stopped.
    #[error("the flow is stopped")]
    Stopped,
}

/// Why a handler was not moved.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SeekError {
    /// No such handler.
    #[error(transparent)]
    Unknown(#[from] UnknownHandler),
    /// It reads no such topic or partition.
    #[error("handler {handler:?} does not read {what}")]
    NotRead {
        /// The handler.
        handler: String,
        /// The topic or partition asked for.
        what: String,
    },
    /// The position could not be found.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log did not take it.
    #[error("the new position of handler {handler:?} was not committed: {reason}")]
    Failed {
        /// The handler.
        handler: String,
        /// Why.
        reason: String,
    },
    /// The flow was stopped.
    #[error("the flow is stopped")]
    Stopped,
}
