//! What opening a journal found and did.

use super::Place;
use crate::FrameNumber;

/// The report of an opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the store was new.
    pub created: bool,
    /// Whether it had been closed: its last frame is a closing one.
    pub clean: bool,
    /// The oldest frame kept; the one after the last if there is none.
    pub oldest: FrameNumber,
    /// The last frame, now synced.
    pub last: FrameNumber,
    /// Frames handed to the replay.
    pub frames_replayed: u64,
    /// Frames written again and synced, for nobody knew whether they had been.
    pub frames_rewritten: u64,
    /// What was found after the last frame and given up.
    pub cut: Option<Cut>,
}

/// Frames that were written in part, or whose like follow a frame that was: none of them was ever synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The first frame that is gone.
    pub frame: FrameNumber,
    /// Where it began.
    pub place: Place,
    /// Bytes of the frames given up, as far as their headers tell.
    pub bytes: u64,
}
