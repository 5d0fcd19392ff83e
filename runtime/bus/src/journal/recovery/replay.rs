//! The sections of the tail's frames, handed on in order.

use super::Lost;
use super::tail::TailSegment;
use super::walk::{FrameAt, FrameBytes, place_in, read_blocks};
use crate::FrameNumber;
use crate::block::BlockHeader;
use crate::journal::format::kind;
use crate::journal::index::Index;
use crate::journal::writer::Replay;
use crate::journal::{Delta, OpenError, Section};

/// Hands sections to whoever follows the journal.
pub(super) struct Replayer<'a, 'r> {
    persisted: FrameNumber,
    to: &'a mut Replay<'r>,
    bytes: FrameBytes,
    blocks: Vec<(BlockHeader, usize)>,
    headers: Vec<BlockHeader>,
    /// Frames handed on so far.
    pub(super) frames: u64,
    /// Frames that were gone past and are not told of yet.
    lost: std::slice::Iter<'a, Lost>,
}

impl<'a, 'r> Replayer<'a, 'r> {
    /// A replay of what comes after `persisted`; what was `lost` after it is told in its place.
    pub(super) fn new((persisted, lost): (FrameNumber, &'a [Lost]), to: &'a mut Replay<'r>) -> Self {
        let (bytes, lost) = (FrameBytes::default(), lost.iter());
        Self { persisted, to, bytes, blocks: Vec::new(), headers: Vec::new(), frames: 0, lost }
    }

    /// Tells of what was lost before `frame`, or at all.
    pub(super) fn lose(&mut self, frame: Option<FrameNumber>) -> Result<(), OpenError> {
        while let Some(lost) = self.lost.as_slice().first()
            && frame.is_none_or(|frame| lost.before <= frame)
        {
            self.lost.next();
            if lost.before > self.persisted.next() {
                let first = lost.after.max(self.persisted).next();
                (self.to)(first, &Section::Lost(*lost))
                    .map_err(|what| OpenError::Replay { frame: first, what })?;
            }
        }
        Ok(())
    }

    /// Replays a segment, and notes its blocks in `index`.
    pub(super) fn replay(
        &mut self,
        segment: &TailSegment,
        mut index: Option<&mut Index>,
    ) -> Result<(), OpenError> {
        for frame in &segment.frames {
            self.lose(Some(frame.number))?;
            if frame.number <= self.persisted && index.is_none() {
                continue;
            }
            if !self.bytes.read(&*segment.file, frame)? {
                return Err(OpenError::Broken {
                    place: place_in(segment.number, frame, 0),
                    what: "a frame's header has changed while the journal was opened",
                });
            }
            self.replay_frame(segment.number, frame, index.as_deref_mut())?;
        }
        Ok(())
    }

    fn replay_frame(
        &mut self,
        segment: u64,
        frame: &FrameAt,
        mut index: Option<&mut Index>,
    ) -> Result<(), OpenError> {
        let wanted = frame.number > self.persisted;
        self.frames += u64::from(wanted);
        for (section, bytes, start) in self.bytes.sections() {
            let section = match section.kind {
                kind::BLOCKS => {
                    self.blocks.clear();
                    read_blocks(&section, bytes, start, &mut self.blocks).map_err(|byte| {
                        OpenError::Broken {
                            place: place_in(segment, frame, byte),
                            what: "the header of a block that was synced",
                        }
                    })?;
                    if let Some(index) = &mut index {
                        insert(index, frame, &self.blocks);
                    }
                    self.headers.clear();
                    self.headers.extend(self.blocks.iter().map(|(header, _)| *header));
                    Section::Blocks(&self.headers)
                }
                kind::DELTA if crc32c::crc32c(bytes) == section.crc => {
                    Section::Delta(Delta { owner: section.owner, bytes })
                }
                kind::DELTA => Section::BrokenDelta { owner: section.owner },
                _ => continue,
            };
            if wanted {
                (self.to)(frame.number, &section)
                    .map_err(|what| OpenError::Replay { frame: frame.number, what })?;
            }
        }
        Ok(())
    }
}

/// Notes the blocks of a frame.
pub(super) fn insert(index: &mut Index, frame: &FrameAt, blocks: &[(BlockHeader, usize)]) {
    for (header, at) in blocks {
        let byte = u32::try_from(frame.byte + *at as u64).expect("segments are bounded by 4 GiB");
        index.insert(header, byte);
    }
}
