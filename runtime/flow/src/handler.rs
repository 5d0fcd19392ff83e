//! The port to handlers: what the flow asks of one, and how a call can go wrong. Knows nothing of Wasm.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tidemill_bus::{Batch, DriverKey};

use crate::output::Output;

/// One loaded version of a handler: compiled, checked, ready to be instantiated.
pub trait Handler: Send + Sync + 'static {
    /// A fresh instance for `driver`.
    fn instantiate(&self, driver: DriverKey) -> Result<Box<dyn Instance>, Fault>;

    /// As [`Handler::instantiate`], for one whose initializers may run long: then it tells `pace`.
    fn instantiate_at(&self, driver: DriverKey, pace: Arc<dyn Pace>) -> Result<Box<dyn Instance>, Fault> {
        drop(pace);
        self.instantiate(driver)
    }

    /// What tells it apart from other versions, at most [`crate::limits::VERSION_BYTES`]: for a component its hash.
    fn version(&self) -> &str;

    /// Whether it can read and write state: then all its inputs need the same number of partitions.
    fn has_state(&self) -> bool;
}

/// One instance of a handler. Its memory is a cache, never the truth: it may be replaced between two calls.
pub trait Instance: Send {
    /// Hands a batch to the handler and waits for what it made of it. After any fault but
    /// [`Fault::Refused`] the instance is not called again.
    fn process(&mut self, call: Call<'_>) -> Result<Output, Fault>;

    /// Bytes of linear memory that the instance holds.
    fn memory_bytes(&self) -> usize;
}

/// What a handler is called with.
pub struct Call<'a> {
    /// The events.
    pub batch: &'a Batch,
    /// The name of the topic that they come from.
    pub topic: &'a str,
    /// The attempt that this is at the batch's first event, from 1.
    pub attempt: u32,
    /// Running time after which the call is stopped; waiting in [`Pace::slow`] does not count.
    pub deadline: Duration,
    /// The driver's state, with what its uncommitted calls have written.
    pub state: Arc<dyn StateReader>,
    /// Told when the call runs long.
    pub pace: Arc<dyn Pace>,
}

/// A key with its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The state that a call sees.
pub trait StateReader: Send + Sync {
    /// The values of `keys`, in their order; `None` where there is none.
    fn get_many(&self, keys: &mut dyn Iterator<Item = &[u8]>) -> Result<Vec<Option<Vec<u8>>>, String>;

    /// Entries in key order that begin with `prefix` and lie after `after`, at most `limit`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, String>;
}

/// How the pool keeps a long call from holding up the others.
pub trait Pace: Send + Sync {
    /// The call has run for [`crate::limits::SLOW_AFTER`], or has taken [`crate::limits::WAITING_AFTER`]: gives its permit back and waits for a slow one.
    /// Called from within the call, on its thread; later calls of this method within it return at once.
    fn slow(&self);
}

/// A call that failed as a whole. None of these names an event.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The handler returned an error of its own. The instance stays.
    #[error("{0}")]
    Refused(String),
    /// The guest trapped.
    #[error("trapped: {message}")]
    Trap {
        /// What the trap was.
        message: String,
        /// The guest's stack, one frame a line, innermost first; empty if unknown.
        backtrace: String,
    },
    /// The guest ran past its deadline.
    #[error("ran past its deadline of {0:?}")]
    Deadline(Duration),
    /// The guest asked for more memory than it may have.
    #[error("asked for {asked} bytes of memory, the limit is {limit}")]
    Memory {
        /// Bytes asked for.
        asked: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The guest's output was larger than allowed.
    #[error("returned more than {limit} bytes of output")]
    OutputTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The columns that the guest returned contradict themselves or the batch.
    #[error("returned columns that lie: {0}")]
    Lie(String),
    /// The host could not do its part: no address space, no disk. Not the handler's fault; tried again.
    #[error("the host failed: {0}")]
    Host(String),
}

impl Fault {
    /// The fault's kind in one word, for metrics and dead letters.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "error",
            Self::Trap { .. } => "trap",
            Self::Deadline(_) => "deadline",
            Self::Memory { .. } => "memory",
            Self::OutputTooLarge { .. } => "output",
            Self::Lie(_) => "lie",
            Self::Host(_) => "host",
        }
    }

    /// Whether the instance can be called again after it.
    pub fn keeps_instance(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}
