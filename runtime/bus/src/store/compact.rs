//! Compaction by key: of the events of a compacted topic that have the same key, which may go. Looks at sealed segments
//! only, and at no event that a group has still to read.

use std::collections::{BTreeMap, HashMap, HashSet};

use parking_lot::Mutex;

use super::{Hold, Shared};
use crate::block::Block;
use crate::journal::{FindError, SegmentSummary};
use crate::limits::{COMPACTION_KEYS_BYTES_MAX, TOMBSTONE_AGE};
use crate::{Event, Offset, Policy, TopicPartition};

/// Bytes that a key takes besides its own, by estimate.
const BYTES_PER_KEY: usize = 64;

/// What former looks found, so that a partition is not read again and again for nothing.
#[derive(Default)]
pub(crate) struct Compacted(Mutex<HashMap<TopicPartition, Look>>);

/// What the last look at a partition left.
#[derive(Clone, Copy)]
struct Look {
    /// Where the next one begins: in the middle if there were too many keys.
    from: Offset,
    /// Bytes that the partition had in sealed segments.
    bytes: u64,
    /// Groups held events back: the next look waits until they have come so far.
    held_until: Option<Offset>,
    /// When the first tombstone is old enough, in milliseconds since the Unix epoch.
    tombstone_due_ms: Option<i64>,
}

/// A look at all partitions that are due.
pub(super) struct Compaction {
    parts: HashMap<TopicPartition, Keys>,
    /// Events without a value may go that were appended before this.
    cutoff_ms: i64,
}

/// The keys of a partition.
struct Keys {
    newest: HashMap<Box<[u8]>, Offset>,
    /// Only events before this may go.
    bound: Offset,
    /// Keys of whom an event stays in an older segment though it is superseded: a tombstone of theirs stays as well, for
    /// without it that event would be the newest.
    left: HashSet<Box<[u8]>>,
    /// Whether every older event is known, so that tombstones may go.
    is_all: bool,
    look: Look,
}

/// What may go of a partition's blocks in a segment.
#[derive(Default)]
pub(super) struct Gone {
    pub(super) bytes: u64,
    /// Events that stay.
    pub(super) left: u64,
    keys: Vec<Box<[u8]>>,
}

impl Keys {
    fn is_superseded(&self, offset: Offset, event: &Event<'_>) -> bool {
        let newest = event.key.and_then(|key| self.newest.get(key));
        offset < self.bound && newest.is_some_and(|&newest| newest > offset)
    }

    /// Whether an event is the newest of its key, has no value, and hides nothing any more.
    fn is_idle_tombstone(&self, offset: Offset, event: &Event<'_>) -> bool {
        let Some(key) = event.key.filter(|_| event.value.is_none() && self.is_all) else { return false };
        offset < self.bound && self.newest.get(key) == Some(&offset) && !self.left.contains(key)
    }
}

impl Compaction {
    pub(super) fn compacts(&self, source: TopicPartition) -> bool {
        self.parts.contains_key(&source)
    }

    /// Whether an event stays.
    pub(super) fn keeps(&self, block: &Block, index: usize, event: &Event<'_>) -> bool {
        let Some(keys) = self.parts.get(&block.header.target) else { return true };
        let offset = block.offset(index);
        let is_old = block.header.append_time < self.cutoff_ms;
        !(keys.is_superseded(offset, event) || (is_old && keys.is_idle_tombstone(offset, event)))
    }

    /// Counts what may go of a block into `gone`.
    fn count(&mut self, block: &Block, gone: &mut Gone) {
        let source = block.header.target;
        let mut bytes = 0;
        for (index, event) in block.columns.iter().enumerate() {
            if self.keeps(block, index, &event) {
                gone.left += 1;
            } else {
                bytes += (crate::Columns::BYTES_PER_EVENT + block.columns.data_len(index)) as u64;
                gone.keys.extend(event.key.map(Box::from));
            }
            let is_young = block.header.append_time >= self.cutoff_ms;
            if let Some(keys) = self.parts.get_mut(&source).filter(|_| is_young)
                && keys.is_idle_tombstone(block.offset(index), &event)
            {
                let due_ms = block.header.append_time.saturating_add(tombstone_age_ms());
                let first = keys.look.tombstone_due_ms.map_or(due_ms, |first| first.min(due_ms));
                keys.look.tombstone_due_ms = Some(first);
            }
        }
        // Of a block that is compressed, its part of what is stored.
        let whole = (block.columns.byte_len() as u64).max(1);
        gone.bytes += bytes * block.header.byte_len().min(whole) / whole;
    }

    /// Takes note that what may go of a partition in a segment stays there.
    pub(super) fn stays(&mut self, source: TopicPartition, gone: Gone) {
        if let Some(keys) = self.parts.get_mut(&source) {
            keys.left.extend(gone.keys);
        }
    }

    /// Takes note that it went.
    pub(super) fn went(&mut self, source: TopicPartition, gone: &Gone) {
        if let Some(keys) = self.parts.get_mut(&source) {
            keys.look.bytes = keys.look.bytes.saturating_sub(gone.bytes);
        }
    }
}

fn tombstone_age_ms() -> i64 {
    i64::try_from(TOMBSTONE_AGE.as_millis()).unwrap_or(i64::MAX)
}

impl Shared {
    /// Reads the keys of the compacted partitions that are worth it.
    pub(super) fn look_at_keys(
        &self,
        segments: &[SegmentSummary],
        now_ms: i64,
    ) -> Result<Compaction, FindError> {
        let mut bytes: BTreeMap<TopicPartition, u64> = BTreeMap::new();
        for part in segments.iter().flat_map(|segment| &segment.partitions) {
            if self.view.catalog.policy(part.source.topic) == Some(Policy::Compact) {
                *bytes.entry(part.source).or_default() += part.bytes;
            }
        }
        let positions = self.view.groups.positions();
        let cutoff_ms = now_ms.saturating_sub(tombstone_age_ms());
        let mut compaction = Compaction { parts: HashMap::new(), cutoff_ms };
        let mut room = COMPACTION_KEYS_BYTES_MAX;
        for (source, bytes) in bytes {
            let handlers = positions.get(&source).map_or(&[][..], Vec::as_slice);
            let read = match self.options.retention.hold {
                Hold::Handlers => handlers.iter().map(|&(_, next)| next).min().unwrap_or(Offset(u64::MAX)),
                Hold::None => Offset(u64::MAX),
            };
            let last = self.compacted.0.lock().get(&source).copied();
            if room > 0 && last.is_none_or(|last| last.is_due(bytes, (read, now_ms))) {
                let from = last.map_or(Offset(0), |last| last.from);
                let keys = self.keys_of((source, from), segments, &mut room)?;
                compaction.parts.insert(source, keys.held_by(read, bytes));
            }
        }
        Ok(compaction)
    }

    /// The newest offset of each key of a partition from `from` on, as far as there is room.
    fn keys_of(
        &self,
        (source, from): (TopicPartition, Offset),
        segments: &[SegmentSummary],
        room: &mut usize,
    ) -> Result<Keys, FindError> {
        let look = Look { from: Offset(0), bytes: 0, held_until: None, tombstone_due_ms: None };
        let (newest, left) = (HashMap::new(), HashSet::new());
        let mut keys = Keys { newest, bound: from, left, is_all: from == Offset(0), look };
        for segment in segments {
            let part = segment.partitions.iter().find(|part| part.source == source);
            if part.is_none_or(|part| part.end <= from) {
                continue;
            }
            self.reader.visit(segment.numbers.first, source, &mut |block| match block {
                Ok(block) if *room > 0 => keys.note(&block, room),
                Ok(_) => keys.look.from = keys.bound,
                Err(_) => keys.is_all = false,
            })?;
        }
        Ok(keys)
    }

    /// Counts what may go of a compacted partition in a segment.
    pub(super) fn gone(
        &self,
        number: u64,
        source: TopicPartition,
        compaction: &mut Compaction,
    ) -> Result<Gone, FindError> {
        let mut gone = Gone::default();
        self.reader.visit(number, source, &mut |block| match block {
            Ok(block) => compaction.count(&block, &mut gone),
            // It stays, and says so when it is read.
            Err(_) => gone.left += 1,
        })?;
        Ok(gone)
    }

    /// Remembers what was found.
    pub(super) fn looked(&self, compaction: Compaction) {
        let looks = compaction.parts.into_iter().map(|(source, keys)| (source, keys.look));
        self.compacted.0.lock().extend(looks);
    }
}

impl Keys {
    fn note(&mut self, block: &Block, room: &mut usize) {
        for (index, event) in block.columns.iter().enumerate() {
            if let Some(key) = event.key
                && self.newest.insert(key.into(), block.offset(index)).is_none()
            {
                *room = room.saturating_sub(key.len() + BYTES_PER_KEY);
            }
        }
        self.bound = self.bound.max(block.header.end());
    }

    /// Events that a group has still to read, which is at `read`, stay.
    fn held_by(mut self, read: Offset, bytes: u64) -> Self {
        self.look.bytes = bytes;
        self.look.held_until = (read < self.bound).then_some(self.bound);
        self.bound = self.bound.min(read);
        self
    }
}

impl Look {
    /// Whether another look is worth it, for a partition that has so many bytes now and is read so far.
    fn is_due(&self, bytes: u64, (read, now_ms): (Offset, i64)) -> bool {
        let has_grown = bytes > self.bytes && bytes - self.bytes >= self.bytes;
        let is_read = self.held_until.is_some_and(|until| read >= until);
        let has_tombstone = self.tombstone_due_ms.is_some_and(|due_ms| due_ms < now_ms);
        self.from > Offset(0) || has_grown || is_read || has_tombstone
    }
}
