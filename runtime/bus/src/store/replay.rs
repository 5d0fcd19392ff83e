//! The replay of the journal's tail into memory. Rows of the tables are gathered, and sorted and merged in large parts;
//! what is held in memory as a whole follows each of them at once.

use std::sync::Arc;

use super::lost::Doubts;
use super::options::Control;
use crate::commit::View;
use crate::journal::Section;
use crate::limits::REPLAY_BYTES_GATHERED;
use crate::notice::{Notice, Notices};
use crate::tables::Gathered;
use crate::{DriverKey, FrameNumber};

/// Plays sections in the order of their frames.
pub(super) struct Replay<'a> {
    view: &'a View,
    notices: &'a Notices,
    /// Bytes of changes that memory may hold beside those that are gathered.
    bytes_max: usize,
    /// The frame whose sections come.
    frame: FrameNumber,
    gathered: Gathered,
    doubts: Doubts,
    control: Control,
}

impl<'a> Replay<'a> {
    /// A replay into `view`, which may hold `bytes_max` of changes.
    pub(super) fn new((view, notices): (&'a View, &'a Notices), bytes_max: usize, control: Control) -> Self {
        let (gathered, doubts) = (Gathered::default(), Doubts::default());
        Self { view, notices, bytes_max, frame: FrameNumber(0), gathered, doubts, control }
    }

    /// Plays a section of a frame into memory, as it was when the frame was committed.
    pub(super) fn section(&mut self, frame: FrameNumber, section: &Section<'_>) -> Result<(), Arc<str>> {
        if self.frame != frame {
            self.frame = frame;
            self.make_room()?;
        }
        match section {
            Section::Blocks(headers) => {
                self.doubts.look_at(self.view, headers)?;
                self.view.recover(headers);
            }
            Section::Delta(delta) => {
                self.doubts.look_at_change(self.view, delta.owner.handler)?;
                self.view.gather(delta.owner, delta.bytes, &mut self.gathered)?;
            }
            Section::Lost(_) if self.control == Control::ServePastLost => {}
            Section::Lost(lost) => {
                // What is put into the tables now is newer than what was gathered.
                self.view.tables.merge(&mut self.gathered);
                self.doubts.add(self.view, *lost);
                self.notices.push(Notice::ChangesLost(*lost));
            }
            Section::BrokenDelta { owner } if *owner == DriverKey::NONE => {
                return Err("a change of the store's metadata is broken".into());
            }
            Section::BrokenDelta { owner } if *owner == DriverKey::PUBLISHERS => {
                self.notices.push(Notice::PublishesForgotten(frame));
            }
            Section::BrokenDelta { owner } => self.view.stop(*owner, frame),
        }
        Ok(())
    }

    /// Merges what is left.
    pub(super) fn finish(mut self) {
        self.doubts.settle(self.view);
        self.view.tables.merge(&mut self.gathered);
    }

    /// Merges what was gathered before this frame, if it is enough, and flushes it, if memory is full.
    fn make_room(&mut self) -> Result<(), Arc<str>> {
        if self.gathered.byte_len() < REPLAY_BYTES_GATHERED.min(self.bytes_max / 2) {
            return Ok(());
        }
        let tables = &self.view.tables;
        tables.merge(&mut self.gathered);
        if tables.overlay_bytes() < self.bytes_max {
            return Ok(());
        }
        // A later opening no longer sees what was lost before this.
        self.doubts.settle(self.view);
        self.view.flush_before(self.frame).map_err(|error| error.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Delta;
    use crate::limits::STATE_VALUE_BYTES_MAX;
    use crate::tables::{Deltas, ModelTables, Owner, TableId};
    use crate::{HandlerId, Lane, Partition};

    #[test]
    fn no_more_is_gathered_than_the_bound_and_a_frame_and_nothing_is_lost() {
        let view = View::load(Box::new(ModelTables::default())).unwrap();
        let notices = Notices::default();
        let mut replay = Replay::new((&view, &notices), usize::MAX, Control::Sound);
        let driver = DriverKey { handler: HandlerId(1), partition: Partition(0), lane: Lane(0) };
        let value = |frame: u64| vec![u8::try_from(frame).unwrap(); STATE_VALUE_BYTES_MAX];
        let frames = (REPLAY_BYTES_GATHERED / STATE_VALUE_BYTES_MAX) as u64 + 3;
        let (mut section, mut most) = (Vec::new(), 0);
        for frame in 1..=frames {
            section.clear();
            Deltas::push(&mut section, TableId::State, &[u8::from(frame == 2)], Some(&value(frame)));
            let delta = Section::Delta(Delta { owner: driver, bytes: &section });
            replay.section(FrameNumber(frame), &delta).unwrap();
            most = most.max(replay.gathered.byte_len());
        }
        assert!((REPLAY_BYTES_GATHERED..REPLAY_BYTES_GATHERED + 2 * STATE_VALUE_BYTES_MAX).contains(&most));
        replay.finish();
        let owner = Owner { table: TableId::State, driver };
        assert_eq!(view.tables.get(owner, &[0]).unwrap(), Some(value(frames)));
        assert_eq!(view.tables.get(owner, &[1]).unwrap(), Some(value(2)));
    }
}
