//! What reaches a driver from other threads between its turns. Bounded: by the transactions in flight, and by
//! what operators do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tidemill_bus::log::{Outcome, Topic};
use tidemill_bus::{Offset, TopicId};

/// Answers and commands that wait for the driver's next turn.
#[derive(Default)]
pub(crate) struct Mailbox {
    /// Answers, in the order of the calls.
    pub(crate) answers: Vec<(u64, Outcome)>,
    /// What operators want.
    pub(crate) commands: Vec<Command>,
    /// Transactions without an answer.
    pub(crate) launched: VecDeque<Launched>,
}

/// An unanswered transaction, as it is accounted for.
pub(crate) struct Launched {
    pub(crate) token: u64,
    /// Bytes that it holds of the budget.
    pub(crate) bytes: usize,
    /// When it was handed in.
    pub(crate) at: Duration,
}

/// What an operator or the topology wants of a driver.
pub(crate) enum Command {
    /// Let stopped inputs try again.
    Resume,
    /// Go on from here, and say so when that is committed.
    Seek(TopicId, Offset, Arc<Latch>),
    /// Read this topic too.
    Add(Topic),
}

/// Opens when it was counted down to nothing.
pub(crate) struct Latch {
    left: Mutex<usize>,
    open: Condvar,
}

impl Latch {
    /// A latch to be counted down `count` times.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(count), open: Condvar::new() })
    }

    /// Counts down.
    pub(crate) fn release(&self) {
        let mut left = self.left.lock();
        *left = left.checked_sub(1).expect("a latch is released as often as it was made for");
        if *left == 0 {
            self.open.notify_all();
        }
    }

    /// Waits until it is open.
    pub(crate) fn wait(&self) {
        let mut left = self.left.lock();
        while *left > 0 {
            self.open.wait(&mut left);
        }
    }
}
