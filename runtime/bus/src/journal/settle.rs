//! Settling sealed segments: their blocks rewritten by partition, without the partitions and events that may go. One
//! copy may stand for several neighbours. It takes their place when it is complete and synced; readers of the old files
//! keep them until they are done.

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::format::{Entry, PAGE, Row, SegmentHeader, SegmentKind, footer_len};
use super::sealed::{LastFrame, Sealed};
use super::segment::{Segment, read_segment_header};
use super::{BlockError, BlockPlace, Control, FindError, Journal, JournalReader, Place, SegmentNumbers};
use crate::block::{Block, BlockHeader, pack, pack_nothing};
use crate::bytes::align;
use crate::crash;
use crate::disk::{DiskFile, IoSlice, IoSliceMut};
use crate::{Event, TopicPartition};

/// Bytes copied at a time.
const CHUNK: usize = 1 << 20;

/// Bytes of a copy after which it is synced: commits' syncs wait for the disk to take as much.
const SYNC_BYTES: u64 = 4 << 20;

/// A copy of neighbouring segments that waits to take their place.
pub struct Settled {
    sources: Vec<Source>,
    numbers: SegmentNumbers,
    byte_len: u64,
}

/// A segment that is copied.
struct Source {
    segment: Arc<Segment>,
    sealed: Arc<Sealed>,
}

/// Why segments could not be settled. They stay as they were.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Its index cannot be read.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The disk failed, or is full.
    #[error("rewriting the segments from {segment} on failed: {what}")]
    Io {
        /// The number of the first.
        segment: u64,
        /// The system's error.
        what: Arc<str>,
    },
}

/// What becomes of a partition's blocks in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They stay as they are.
    Stay,
    /// All of them go.
    Go,
    /// Each event goes or stays for itself.
    Compact,
}

/// What becomes of what segments hold. Asked twice for the same, it answers the same.
pub trait Choice {
    /// What becomes of a partition's blocks in a segment. Blocks that go have none before them that stays.
    fn fate(&self, segment: SegmentNumbers, source: TopicPartition) -> Fate;

    /// Whether the event at `index` of a block stays that is to be compacted.
    fn keeps(&self, block: &Block, index: usize, event: &Event<'_>) -> bool;
}

impl JournalReader {
    /// Copies the sealed segments with these numbers beside them into one file, the blocks by partition, without what
    /// goes. `None` if one is not sealed or not in use any more, or was joined with others. Waits for the disk.
    pub fn settle(
        &self,
        numbers: RangeInclusive<u64>,
        choice: &dyn Choice,
    ) -> Result<Option<Settled>, SettleError> {
        let shared = self.shared();
        let (first, last) = (*numbers.start(), *numbers.end());
        let numbers = SegmentNumbers { first, last };
        let mut sources = Vec::new();
        for segment in shared.each(first..last + 1).filter(|segment| segment.open.read().is_none()) {
            let sealed = shared.sealed(&segment)?;
            sources.push(Source { segment, sealed });
        }
        if !are_neighbours(&sources, numbers) {
            return Ok(None);
        }
        let failed = |error: io::Error| SettleError::Io { segment: first, what: error.to_string().into() };
        let name = numbers.new_name();
        let copied = Copy::plan((self, numbers), &sources, choice)?.write(&name);
        if copied.is_err() {
            // A full disk must get back what was taken. If that fails too, the next opening does it.
            let _ = shared.disk.remove(&name);
        }
        copied.map(|byte_len| Some(Settled { sources, numbers, byte_len })).map_err(failed)
    }

    /// Shows `visit` the blocks of a partition in a sealed segment; an error for one that cannot be read. Nothing of a
    /// segment that is not sealed or not in use any more. Waits for the disk.
    pub fn visit(
        &self,
        number: u64,
        source: TopicPartition,
        visit: &mut dyn FnMut(Result<Block, BlockError>),
    ) -> Result<(), FindError> {
        let shared = self.shared();
        let Some(segment) = shared.segment(number).filter(|segment| segment.open.read().is_none()) else {
            return Ok(());
        };
        let sealed = shared.sealed(&segment)?;
        let Some(row) = sealed.row_of(source) else { return Ok(()) };
        for entry in entries_of(&sealed, &sealed.rows[row])?.iter() {
            visit(self.read(&BlockPlace::new(source, entry, Arc::clone(&sealed.file), Arc::clone(&segment))));
        }
        Ok(())
    }
}

/// Whether the sources are all that there is of these numbers.
fn are_neighbours(sources: &[Source], numbers: SegmentNumbers) -> bool {
    let mut next = numbers.first;
    let follow = sources.iter().all(|source| {
        let SegmentNumbers { first, last } = source.segment.numbers;
        std::mem::replace(&mut next, last + 1) == first
    });
    follow && next == numbers.last + 1
}

fn entries_of(sealed: &Sealed, row: &Row) -> Result<Arc<[Entry]>, FindError> {
    let segment = sealed.trailer.segment;
    let broken = FindError::Broken { place: Place { segment, byte: 0 }, what: "the index of the segment" };
    match sealed.entries(row) {
        Ok(entries) => entries.ok_or(broken),
        Err(error) => Err(FindError::Io { segment, what: error.to_string().into() }),
    }
}

impl Journal {
    /// Puts a settled copy in the place of its sources; false if one of them is gone. All frames in them must be in the
    /// tables, and all that lets their blocks go be synced.
    pub fn put(&mut self, settled: Settled) -> io::Result<bool> {
        let Settled { sources, numbers, byte_len } = settled;
        let shared = self.shared();
        let is_there = |source: &Source| {
            let there = shared.segment(source.segment.numbers.first);
            there.is_some_and(|segment| Arc::ptr_eq(&segment, &source.segment))
        };
        if !sources.iter().all(is_there) {
            shared.disk.remove(&numbers.new_name())?;
            return Ok(false);
        }
        let old: Vec<SegmentNumbers> = sources.iter().map(|source| source.segment.numbers).collect();
        for Source { segment, sealed } in sources {
            segment.be_replaced(sealed);
        }
        shared.disk.rename(&numbers.new_name(), &numbers.name())?;
        crash::point("segment-settled");
        if self.options.control != Control::RemoveBeforeName {
            shared.disk.sync_directory()?;
        }
        shared.replace(Segment::sealed(numbers, byte_len));
        if old != [numbers] {
            for joined in old {
                shared.disk.remove(&joined.name())?;
                crash::point("segment-joined");
            }
            // Were one of them found when the file in its place is gone, its events would come back.
            shared.disk.sync_directory()?;
        }
        Ok(true)
    }
}

/// What a block of the copy is made of.
enum Piece {
    /// As it is, from this byte of the source of this number on.
    Whole(usize, u32),
    /// What is left of this block of the source of this number.
    Part(usize, TopicPartition, Entry),
    /// Nothing is left of some blocks but their offsets.
    Nothing(BlockHeader),
}

/// What is copied, and where to.
struct Copy<'a> {
    reader: &'a JournalReader,
    sources: &'a [Source],
    choice: &'a dyn Choice,
    header: SegmentHeader,
    last: LastFrame,
    rows: Vec<Row>,
    /// The entries of the copy, and what each is made of.
    entries: Vec<Entry>,
    pieces: Vec<Piece>,
    blocks_end: u64,
}

impl<'a> Copy<'a> {
    fn plan(
        (reader, numbers): (&'a JournalReader, SegmentNumbers),
        sources: &'a [Source],
        choice: &'a dyn Choice,
    ) -> Result<Self, FindError> {
        let (Some(first), Some(last)) = (sources.first(), sources.last()) else {
            unreachable!("segments are settled, not nothing")
        };
        let place = Place { segment: numbers.first, byte: 0 };
        let failed =
            |error: io::Error| FindError::Io { segment: numbers.first, what: error.to_string().into() };
        let header = read_segment_header(&*first.sealed.file, reader.shared().store, first.segment.numbers);
        let header = header.map_err(failed)?;
        let header = header.map_err(|_| FindError::Broken { place, what: "both headers of the segment" })?;
        let (rows, entries, pieces) = (Vec::new(), Vec::new(), Vec::new());
        let trailer = last.sealed.trailer;
        let last = LastFrame { number: trailer.last_frame, crc: trailer.last_crc };
        let blocks_end = PAGE;
        let mut copy = Self { reader, sources, choice, header, last, rows, entries, pieces, blocks_end };
        let rows = sources.iter().flat_map(|source| &source.sealed.rows);
        for source in rows.map(|row| row.source).collect::<BTreeSet<_>>() {
            copy.add_partition(source)?;
        }
        let blocks = bounded(copy.entries.len() as u64);
        copy.header = SegmentHeader { kind: SegmentKind::Settled, numbers, blocks, ..header };
        Ok(copy)
    }

    /// Adds what stays of a partition, from one source after the other.
    fn add_partition(&mut self, source: TopicPartition) -> Result<(), FindError> {
        let first_entry = self.entries.len();
        for (number, Source { segment, sealed }) in self.sources.iter().enumerate() {
            let Some(row) = sealed.row_of(source) else { continue };
            let fate = self.choice.fate(segment.numbers, source);
            if fate != Fate::Go {
                for entry in entries_of(sealed, &sealed.rows[row])?.iter() {
                    self.add(number, (source, entry), fate);
                }
            }
        }
        let entries = &self.entries[first_entry..];
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            self.rows.push(Row {
                source,
                blocks: bounded(entries.len() as u64),
                first_entry: bounded(first_entry as u64),
                entries_crc: 0,
                first: first.first,
                end: last.end(),
                newest: last.append_time,
                bytes: entries.iter().map(|entry| u64::from(entry.byte_len)).sum(),
            });
        }
        Ok(())
    }

    fn add(&mut self, from: usize, (source, entry): (TopicPartition, &Entry), fate: Fate) {
        let (entry, piece) = match fate {
            Fate::Compact => self.compacted(from, (source, entry)),
            Fate::Stay | Fate::Go => (*entry, Piece::Whole(from, entry.byte)),
        };
        match (piece, self.pieces.last_mut()) {
            (Piece::Nothing(next), Some(Piece::Nothing(gap)))
                if gap.target == source && gap.count.checked_add(next.count).is_some() =>
            {
                (gap.count, gap.append_time) = (gap.count + next.count, next.append_time);
                if let Some(last) = self.entries.last_mut() {
                    *last = Entry::of(gap, last.byte);
                }
            }
            (piece, _) => {
                self.entries.push(Entry { byte: bounded(self.blocks_end), ..entry });
                self.pieces.push(piece);
                self.blocks_end += align(entry.byte_len.into(), 8);
            }
        }
    }

    /// What becomes of a block that is to be compacted. One that is broken stays so, and says so when it is read.
    fn compacted(&self, from: usize, (source, entry): (TopicPartition, &Entry)) -> (Entry, Piece) {
        let whole = (*entry, Piece::Whole(from, entry.byte));
        let Ok(block) = self.read(from, source, entry) else { return whole };
        let keeps = |(index, event)| self.choice.keeps(&block, index, &event);
        let left = block.columns.iter().enumerate().filter(|&at| keeps(at)).count();
        match left {
            0 => {
                let (header, _) = pack_nothing(block.header);
                (Entry::of(&header, 0), Piece::Nothing(header))
            }
            left if left == block.columns.len() => whole,
            _ => (Entry::of(&self.packed(&block).0, 0), Piece::Part(from, source, *entry)),
        }
    }

    fn read(&self, from: usize, source: TopicPartition, entry: &Entry) -> Result<Block, BlockError> {
        let Source { segment, sealed } = &self.sources[from];
        let (file, segment) = (Arc::clone(&sealed.file), Arc::clone(segment));
        self.reader.read(&BlockPlace::new(source, entry, file, segment))
    }

    fn packed(&self, block: &Block) -> (BlockHeader, Vec<u8>) {
        let kept: Vec<bool> = block
            .columns
            .iter()
            .enumerate()
            .map(|(index, event)| self.choice.keeps(block, index, &event))
            .collect();
        pack(block, |index| kept[index])
    }

    /// Writes the copy and syncs it; its bytes.
    fn write(self, name: &str) -> io::Result<u64> {
        let shared = self.reader.shared();
        let footer = footer_len(self.rows.len() as u64, self.entries.len() as u64);
        let byte_len = align(self.blocks_end + footer, PAGE);
        let file = shared.disk.create(name, byte_len)?;
        let mut page = Vec::new();
        self.header.encode_page(&mut page);
        file.write_at(&[IoSlice::new(&page)], 0)?;
        self.copy_blocks(&*file)?;
        crash::point("segment-copy");
        let trailer = self.last.trailer(shared.store, self.header.numbers.first);
        // This syncs all that is written.
        Sealed::write(file, byte_len, trailer, (self.rows, self.entries))?;
        Ok(byte_len)
    }

    fn copy_blocks(&self, file: &dyn DiskFile) -> io::Result<()> {
        let (mut chunk, mut at, mut next) = (Vec::new(), PAGE, 0);
        while next < self.pieces.len() {
            next += self.copy_some(next, &mut chunk)?;
            let padded = align(chunk.len() as u64, 8);
            chunk.resize(usize::try_from(padded).unwrap_or(chunk.len()), 0);
            if chunk.len() >= CHUNK || next == self.pieces.len() {
                file.write_at(&[IoSlice::new(&chunk)], at)?;
                let synced = at / SYNC_BYTES;
                at += chunk.len() as u64;
                chunk.clear();
                // Little by little, for the syncs of commits wait for this one.
                if at / SYNC_BYTES > synced {
                    file.sync_data()?;
                }
            }
        }
        Ok(())
    }

    /// Appends one block to `chunk`, or a few that stand side by side in their source; how many. Those that stay whole
    /// are copied as they are, broken or not.
    fn copy_some(&self, next: usize, chunk: &mut Vec<u8>) -> io::Result<usize> {
        let start = chunk.len();
        let (header, body) = match &self.pieces[next] {
            &Piece::Whole(from, byte) => {
                let (count, len) = self.side_by_side(next, from, byte);
                chunk.resize(start + len, 0);
                let file = &self.sources[from].sealed.file;
                file.read_at(&mut [IoSliceMut::new(&mut chunk[start..])], byte.into())?;
                return Ok(count);
            }
            Piece::Part(from, source, entry) => {
                let block = self.read(*from, *source, entry);
                self.packed(&block.map_err(|error| io::Error::other(error.to_string()))?)
            }
            Piece::Nothing(header) => pack_nothing(*header),
        };
        header.encode(chunk);
        chunk.extend_from_slice(&body);
        if chunk.len() - start == self.entries[next].byte_len as usize {
            return Ok(1);
        }
        Err(io::Error::other("a block was not the same when it was read again"))
    }

    /// How many blocks from `next` on stand side by side in the source `from`, the first at `byte`, and their bytes, at
    /// most about a chunk.
    fn side_by_side(&self, next: usize, from: usize, byte: u32) -> (usize, usize) {
        let (mut count, mut len) = (0, 0);
        for (piece, entry) in self.pieces[next..].iter().zip(&self.entries[next..]) {
            let at = align(len as u64, 8);
            let is_next = matches!(piece, &Piece::Whole(of, there) if of == from && u64::from(there) == u64::from(byte) + at);
            if !is_next || len >= CHUNK {
                break;
            }
            count += 1;
            len = usize::try_from(at).unwrap_or(len) + entry.byte_len as usize;
        }
        (count, len)
    }
}

fn bounded(len: u64) -> u32 {
    u32::try_from(len).expect("a copy is not much longer than its sources, together far below 4 GiB")
}
