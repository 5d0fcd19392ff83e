//! The marks of free disk: how many segments still fit, who holds the oldest ones, and what an operator is told.

use std::sync::Arc;

use super::{Shared, Store};
use crate::commit::Mark;
use crate::notice::Notice;
use crate::{HandlerId, TopicPartition};

/// How full the disk is, and who could free some of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskRoom {
    /// Segments that still fit on the disk.
    pub segments: u64,
    /// Who may still write.
    pub mark: Mark,
    /// The handlers that have still to read what is in the oldest segment, and what each of them holds. Ways out: let
    /// them run, seek, delete the group, or set `hold = "none"`.
    pub holders: Vec<Holder>,
}

/// A handler that keeps segments from being released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The handler.
    pub handler: HandlerId,
    /// Its name.
    pub name: Arc<str>,
    /// Bytes of the segments in which it has still to read.
    pub bytes: u64,
}

impl Shared {
    /// Takes note of how many segments still fit on the disk.
    pub(crate) fn look_at_room(&self, segments: u64) {
        let mark = Mark::at(segments);
        let oldest = self.reader.oldest().unwrap_or(0);
        if !self.room.is_news(mark, oldest) {
            return;
        }
        let before = self.room.mark();
        let holders = if mark >= Mark::HoldersOnly { self.holders() } else { Vec::new() };
        let words: Arc<str> = words(segments, mark, &holders).into();
        self.room.set(
            mark,
            Arc::clone(&words),
            holders.iter().map(|holder| holder.handler).collect(),
            oldest,
        );
        if mark != before {
            self.notices.push(Notice::Disk(words));
        }
    }

    /// Who has still to read what is in the oldest segment.
    fn holders(&self) -> Vec<Holder> {
        let positions = self.view.groups.positions();
        let waits = |source: TopicPartition, end, handler| {
            let handlers = positions.get(&source).map_or(&[][..], Vec::as_slice);
            handlers.iter().any(|&(of, next)| of == handler && next < end)
        };
        let mut holders: Vec<Holder> = self.view.catalog.handlers().into_iter().map(Holder::of).collect();
        let mut is_oldest = true;
        self.reader.each_sealed(&mut |segment| {
            let holds = |handler| segment.partitions.iter().any(|part| waits(part.source, part.end, handler));
            holders.retain_mut(|holder| {
                let holds = holds(holder.handler);
                holder.bytes += if holds { segment.bytes } else { 0 };
                holds || !is_oldest
            });
            is_oldest = false;
            !holders.is_empty()
        });
        // Without a sealed segment nobody holds any.
        holders.retain(|holder| holder.bytes > 0);
        holders
    }
}

impl Holder {
    fn of((name, handler): (Arc<str>, HandlerId)) -> Self {
        Self { handler, name, bytes: 0 }
    }
}

/// What is told to those who must wait.
fn words(segments: u64, mark: Mark, holders: &[Holder]) -> String {
    let held = |holder: &Holder| format!("{} holds {} bytes", holder.name, holder.bytes);
    let held = holders.iter().map(held).collect::<Vec<_>>().join(", ");
    let held = if held.is_empty() { "no handler holds any of it".to_owned() } else { held };
    match mark {
        Mark::Free => format!("there is room again: {segments} segments"),
        Mark::NoPublishers => format!("room for {segments} segments is left, publishers wait for it"),
        Mark::HoldersOnly => {
            format!("room for {segments} segments is left, only who holds the oldest one goes on: {held}")
        }
        Mark::Full => format!(
            "room for {segments} segments is left, nobody goes on: {held}; seek or delete the group, or set hold to none"
        ),
    }
}

impl Store {
    /// How full the disk is. Reads the index of segments that handlers hold, if there is little room.
    pub fn disk_room(&self) -> std::io::Result<DiskRoom> {
        let shared = &self.inner.shared;
        let segments = self.inner.committer.lock().room()?;
        shared.look_at_room(segments);
        Ok(DiskRoom { segments, mark: shared.room.mark(), holders: shared.holders() })
    }
}
