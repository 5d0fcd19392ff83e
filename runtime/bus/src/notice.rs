//! What the store has to say to its operator between calls: a short list, for the bus writes no log.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;

use crate::journal::Lost;
use crate::limits::NOTICES_MAX;
use crate::tables::BrokenTable;
use crate::{FrameNumber, HandlerId};

/// Something an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Notice {
    /// The wall clock jumped ahead and is not followed.
    #[error(
        "the wall clock leapt to {wall_ms} ms, {expected_ms} ms was expected: append times do not follow it"
    )]
    ClockLeapt {
        /// What the wall clock said.
        wall_ms: i64,
        /// What the monotonic clock let expect.
        expected_ms: i64,
    },
    /// Retention passed a group, as `hold = "none"` allows.
    #[error("retention removed {events} events that handler {handler} had not read")]
    Lost {
        /// The group's handler.
        handler: HandlerId,
        /// Events lost.
        events: u64,
    },
    /// Work in the background failed; it is tried again.
    #[error("{work} failed: {what}")]
    Failed {
        /// What was tried.
        work: &'static str,
        /// The error.
        what: Arc<str>,
    },
    /// Somebody who was told of a commit panicked. The commit is done; the teller goes on.
    #[error("{who} panicked when it was told of a commit: {what}")]
    Panicked {
        /// Who was told.
        who: &'static str,
        /// What the panic said.
        what: Arc<str>,
    },
    /// The tables were broken, and were made again from the journal, which still held all of it.
    #[error("the tables were broken and were made again from the journal: {0}")]
    TablesRebuilt(Arc<str>),
    /// A file of the tables is broken, and the journal no longer holds what it was made of.
    #[error("{0}; the journal does not reach back far enough to make it again")]
    TablesBroken(BrokenTable),
    /// Rows of the store's own cannot be read in the tables; the copy beside them has them.
    #[error("rows of {rows} cannot be read: {what}; they were taken from their copy in tables.copy")]
    RowsCopied {
        /// Whose they are.
        rows: String,
        /// The error.
        what: Arc<str>,
    },
    /// How far the tables have come cannot be read; the copy beside them tells.
    #[error("{what}; tables.copy tells that it is frame {frame}")]
    FrameCopied {
        /// The frame from which on the journal was replayed.
        frame: FrameNumber,
        /// The error.
        what: Arc<str>,
    },
    /// The tables could not be opened, and the journal no longer holds what they were made of.
    #[error(
        "the tables were broken and the journal does not reach back far enough to make them again: {0}; topics, \
         handlers and ends were taken from tables.copy, all else is lost: handlers stand still until their groups are \
         reset, and a publish that is sent again may be done twice; what was there is in tables.broken"
    )]
    TablesLost(Arc<str>),
    /// How far a handler has come cannot be read, and the journal no longer holds what it was made of.
    #[error(
        "how far handler {handler} has come cannot be read: {what}; reset its group, until then no events go"
    )]
    ProgressBroken {
        /// The handler.
        handler: HandlerId,
        /// The error.
        what: Arc<str>,
    },
    /// One byte was broken in the headers of so many frames; they were read as they had been written.
    #[error("one byte is broken in the headers of {0} frames: they are read as they were written")]
    Mended(u64),
    /// Frames cannot be read. All they changed is in the tables; events of theirs may be missing.
    #[error("the frames between {} and {} at {} cannot be read", _0.after, _0.before, _0.place)]
    FramesLost(Lost),
    /// Frames cannot be read that are not in the tables: nobody knows what they changed.
    #[error(
        "the frames between {} and {} at {} cannot be read, and what they changed is not in the tables: handlers \
         stand still as they were before them until their groups are restored or reset, events of theirs are missing \
         in any partition, a publish in them that is sent again may be done twice, and a topic or a group that was \
         made, changed or deleted then may not be",
        _0.after, _0.before, _0.place
    )]
    ChangesLost(Lost),
    /// What publishes in a frame are remembered by is broken: one of them that is sent again may be done twice.
    #[error("frame {0} no longer tells which publishes are in it: one that is sent again may be done twice")]
    PublishesForgotten(FrameNumber),
    /// The disk fills, or has room again.
    #[error("{0}")]
    Disk(Arc<str>),
    /// A write or a sync failed, or the committer panicked: the store takes nothing more until it is opened again.
    #[error("the store stopped after a failed write or a bug: {0}")]
    Poisoned(Arc<str>),
}

/// Notices that nobody has taken yet; when there are too many the oldest go.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<VecDeque<Notice>>);

impl Notices {
    pub(crate) fn push(&self, notice: Notice) {
        let mut notices = self.0.lock();
        if notices.len() == NOTICES_MAX {
            notices.pop_front();
        }
        notices.push_back(notice);
    }

    pub(crate) fn take(&self) -> Vec<Notice> {
        self.0.lock().drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_full_the_oldest_notice_goes() {
        let notices = Notices::default();
        for events in 0..=NOTICES_MAX as u64 {
            notices.push(Notice::Lost { handler: HandlerId(1), events });
        }
        let taken = notices.take();
        assert_eq!(taken.len(), NOTICES_MAX);
        assert_eq!(taken[0], Notice::Lost { handler: HandlerId(1), events: 1 });
        assert!(notices.take().is_empty());
    }
}
