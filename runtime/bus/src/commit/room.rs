//! Who may still write when the disk fills: first publishers wait, then all handlers but those that hold the oldest
//! segment, at last these, too. What is read frees the disk, so readers come last. Knows no file.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::limits::{ROOM_HANDLERS_STOP, ROOM_HOLDERS_STOP, ROOM_PUBLISHERS_STOP};
use crate::log::Abort;
use crate::{DriverKey, HandlerId};

/// How full the disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// There is room for everybody.
    #[default]
    Free,
    /// Publishers are refused.
    NoPublishers,
    /// Of the handlers only those go on that hold the oldest segment.
    HoldersOnly,
    /// Nobody goes on: an operator must let something go.
    Full,
}

impl Mark {
    /// The mark at which the disk has room for so many segments.
    pub(crate) fn at(segments: u64) -> Self {
        if segments > ROOM_PUBLISHERS_STOP {
            Self::Free
        } else if segments > ROOM_HANDLERS_STOP {
            Self::NoPublishers
        } else if segments > ROOM_HOLDERS_STOP {
            Self::HoldersOnly
        } else {
            Self::Full
        }
    }
}

/// How full the disk is, for all threads.
#[derive(Default)]
pub(crate) struct Room(RwLock<State>);

#[derive(Clone, Default)]
struct State {
    mark: Mark,
    /// What those are told who must wait.
    words: Arc<str>,
    holders: Vec<HandlerId>,
    /// The oldest segment when the holders were looked for.
    oldest: u64,
}

impl Room {
    pub(crate) fn mark(&self) -> Mark {
        self.0.read().mark
    }

    /// Whether the holders must be looked for again.
    pub(crate) fn is_news(&self, mark: Mark, oldest: u64) -> bool {
        let state = self.0.read();
        state.mark != mark || state.oldest != oldest
    }

    pub(crate) fn set(&self, mark: Mark, words: Arc<str>, holders: Vec<HandlerId>, oldest: u64) {
        *self.0.write() = State { mark, words, holders, oldest };
    }

    /// Whether a transaction of `driver` (`None` is a publisher) may take room.
    pub(crate) fn admit(&self, driver: Option<DriverKey>) -> Result<(), Abort> {
        let state = self.0.read();
        let is_admitted = match (state.mark, driver) {
            (Mark::Free, _) | (Mark::NoPublishers, Some(_)) => true,
            (Mark::HoldersOnly, Some(driver)) => state.holders.contains(&driver.handler),
            (Mark::NoPublishers | Mark::HoldersOnly, None) | (Mark::Full, _) => false,
        };
        if is_admitted { Ok(()) } else { Err(Abort::Full(Arc::clone(&state.words))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lane, Partition};

    #[test]
    fn publishers_stop_first_and_who_holds_the_oldest_segment_last() {
        let driver = |id| Some(DriverKey { handler: HandlerId(id), partition: Partition(0), lane: Lane(0) });
        let admitted = |segments| {
            let room = Room::default();
            room.set(Mark::at(segments), "full".into(), vec![HandlerId(1)], 1);
            [None, driver(2), driver(1)].map(|driver| room.admit(driver).is_ok())
        };
        assert_eq!(admitted(ROOM_PUBLISHERS_STOP + 1), [true, true, true]);
        assert_eq!(admitted(ROOM_PUBLISHERS_STOP), [false, true, true]);
        assert_eq!(admitted(ROOM_HANDLERS_STOP + 1), [false, true, true]);
        assert_eq!(admitted(ROOM_HANDLERS_STOP), [false, false, true]);
        assert_eq!(admitted(ROOM_HOLDERS_STOP), [false, false, false]);
        assert_eq!(admitted(0), [false, false, false]);
    }
}
