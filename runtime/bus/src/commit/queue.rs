//! What waits for the committer: drivers and publishers each with a budget of bytes, served in turn, and the
//! operators' changes. Nobody waits here but the committer.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::admin::{AdminDone, AdminOp};
use super::handed_in::HandedIn;
use crate::limits::{DRIVERS_BYTES_MAX, GROUP_BYTES_MAX, QUEUE_LEN_MAX};
use crate::log::{Abort, AdminError, Answer};

/// Where the result of an operator's change goes; room for one.
pub(crate) type AdminReply = SyncSender<Result<AdminDone, AdminError>>;

/// A transaction that waits.
pub(crate) struct Waiting {
    pub(crate) handed_in: HandedIn,
    pub(crate) answer: Answer,
    pub(crate) bytes: usize,
    pub(crate) since: Instant,
}

/// What the committer does next.
pub(crate) enum Work {
    /// A change by an operator, alone.
    Admin(AdminOp, AdminReply),
    /// Transactions that become one frame.
    Group(Vec<Waiting>),
    /// Nothing came in time.
    Idle,
    /// Nothing will come any more.
    Closed,
}

pub(crate) struct Queue {
    state: Mutex<State>,
    came: Condvar,
    /// Bytes of publishers that may wait; more are told that the store is busy.
    publishers_bytes_max: usize,
}

#[derive(Default)]
struct State {
    admin: VecDeque<(AdminOp, AdminReply)>,
    drivers: Lane,
    publishers: Lane,
    /// Transactions that found no room: they are told so by the committer, like all others.
    refused: Vec<Answer>,
    is_closed: bool,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl Lane {
    fn has_room(&self, bytes: usize, bytes_max: usize) -> bool {
        self.waiting.is_empty()
            || (self.bytes.saturating_add(bytes) <= bytes_max && self.waiting.len() < QUEUE_LEN_MAX)
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes;
        self.waiting.push_back(waiting);
    }

    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.bytes;
        Some(waiting)
    }
}

impl Queue {
    /// An empty queue in which publishers have so many bytes.
    pub(crate) fn new(publishers_bytes_max: usize) -> Self {
        Self { state: Mutex::default(), came: Condvar::new(), publishers_bytes_max }
    }

    /// Takes a transaction in, to be answered by the committer; after the close it is answered at once.
    pub(crate) fn submit(&self, handed_in: HandedIn, answer: Answer) {
        let mut state = self.state.lock();
        if state.is_closed {
            drop(state);
            answer.send(crate::log::Outcome::Aborted(Abort::Closing));
            return;
        }
        let bytes = handed_in.transaction.byte_len();
        let (lane, bytes_max) = match handed_in.transaction.driver {
            Some(_) => (&mut state.drivers, DRIVERS_BYTES_MAX),
            None => (&mut state.publishers, self.publishers_bytes_max),
        };
        if lane.has_room(bytes, bytes_max) {
            lane.push(Waiting { handed_in, answer, bytes, since: Instant::now() });
        } else {
            state.refused.push(answer);
        }
        drop(state);
        self.came.notify_one();
    }

    /// Takes an operator's change in; false after the close.
    pub(crate) fn submit_admin(&self, op: AdminOp, reply: AdminReply) -> bool {
        let mut state = self.state.lock();
        if state.is_closed {
            return false;
        }
        state.admin.push_back((op, reply));
        drop(state);
        self.came.notify_one();
        true
    }

    /// Takes what is to be done next, and those who are to be told that there was no room; waits up to
    /// `timeout` for something to come.
    pub(crate) fn take(&self, timeout: Duration, refused: &mut Vec<Answer>) -> Work {
        let mut state = self.state.lock();
        if state.is_empty() && !state.is_closed {
            self.came.wait_for(&mut state, timeout);
        }
        refused.append(&mut state.refused);
        if let Some((op, reply)) = state.admin.pop_front() {
            return Work::Admin(op, reply);
        }
        let group = state.take_group();
        match (group.is_empty(), state.is_closed) {
            (false, _) => Work::Group(group),
            (true, false) => Work::Idle,
            (true, true) => Work::Closed,
        }
    }

    /// Refuses what comes from now on.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.came.notify_all();
    }

    /// Whether something waits.
    pub(crate) fn has_work(&self) -> bool {
        !self.state.lock().is_empty()
    }

    /// Transactions that wait, and their bytes.
    pub(crate) fn backlog(&self) -> (usize, usize) {
        let state = self.state.lock();
        (
            state.drivers.waiting.len() + state.publishers.waiting.len(),
            state.drivers.bytes + state.publishers.bytes,
        )
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.admin.is_empty()
            && self.refused.is_empty()
            && self.drivers.waiting.is_empty()
            && self.publishers.waiting.is_empty()
    }

    /// One of the drivers, one of the publishers, and so on, until the group is full: each side gets half
    /// when both have enough.
    fn take_group(&mut self) -> Vec<Waiting> {
        let mut group = Vec::with_capacity(self.drivers.waiting.len() + self.publishers.waiting.len());
        let (mut driver_bytes, mut publisher_bytes) = (0, 0);
        while driver_bytes + publisher_bytes < GROUP_BYTES_MAX {
            let publishers_turn = publisher_bytes <= driver_bytes;
            let lanes =
                [(&mut self.publishers, &mut publisher_bytes), (&mut self.drivers, &mut driver_bytes)];
            let order = if publishers_turn { [0, 1] } else { [1, 0] };
            let mut lanes = lanes;
            let taken = order.into_iter().find_map(|index| {
                let (lane, bytes) = &mut lanes[index];
                let waiting = lane.pop()?;
                **bytes += waiting.bytes + 1;
                Some(waiting)
            });
            match taken {
                Some(waiting) => group.push(waiting),
                None => break,
            }
        }
        group
    }
}
