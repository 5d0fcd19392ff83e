//! Settling a sealed segment: its blocks rewritten by partition, without the partitions and events that may go. The copy
//! takes the segment's name when it is complete and synced; readers of the old file keep it until they are done.

use std::io;
use std::sync::Arc;

use super::format::{
    Entry, PAGE, Row, SegmentHeader, SegmentKind, footer_len, new_segment_name, segment_name,
};
use super::sealed::{LastFrame, Sealed};
use super::segment::{Segment, read_segment_header};
use super::{BlockError, BlockPlace, FindError, Journal, JournalReader, Place};
use crate::block::{Block, BlockHeader, pack, pack_nothing};
use crate::bytes::align;
use crate::crash;
use crate::disk::{DiskFile, IoSlice, IoSliceMut};
use crate::{Event, TopicPartition};

/// Bytes copied at a time.
const CHUNK: usize = 1 << 20;

/// A copy of a segment that waits to take its place.
pub struct Settled {
    source: Arc<Segment>,
    sealed: Arc<Sealed>,
    byte_len: u64,
}

/// Why a segment could not be settled. It stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Its index cannot be read.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The disk failed, or is full.
    #[error("rewriting segment {segment} failed: {what}")]
    Io {
        /// The segment's number.
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

/// What becomes of what a segment holds. Asked twice for the same, it answers the same.
pub trait Choice {
    /// What becomes of a partition's blocks.
    fn fate(&self, source: TopicPartition) -> Fate;

    /// Whether the event at `index` of a block stays that is to be compacted.
    fn keeps(&self, block: &Block, index: usize, event: &Event<'_>) -> bool;
}

impl JournalReader {
    /// Copies the sealed segment `number` beside it, its blocks by partition, without what goes. `None` if it is not
    /// sealed or not in use any more. Waits for the disk.
    pub fn settle(&self, number: u64, choice: &dyn Choice) -> Result<Option<Settled>, SettleError> {
        let shared = self.shared();
        let Some(source) = shared.segment(number).filter(|segment| segment.open.read().is_none()) else {
            return Ok(None);
        };
        let failed = |error: io::Error| SettleError::Io { segment: number, what: error.to_string().into() };
        let (name, sealed) = (new_segment_name(number), shared.sealed(&source)?);
        let copied = Copy::plan((self, &source), choice)?.write(&name);
        if copied.is_err() {
            // A full disk must get back what was taken. If that fails too, the next opening does it.
            let _ = shared.disk.remove(&name);
        }
        copied.map(|byte_len| Some(Settled { source, sealed, byte_len })).map_err(failed)
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

fn entries_of(sealed: &Sealed, row: &Row) -> Result<Arc<[Entry]>, FindError> {
    let segment = sealed.trailer.segment;
    let broken = FindError::Broken { place: Place { segment, byte: 0 }, what: "the index of the segment" };
    match sealed.entries(row) {
        Ok(entries) => entries.ok_or(broken),
        Err(error) => Err(FindError::Io { segment, what: error.to_string().into() }),
    }
}

impl Journal {
    /// Puts a settled copy in the place of its segment; false if the segment is gone. All frames in it must be in the
    /// tables, and all that lets its blocks go be synced.
    pub fn put(&mut self, settled: Settled) -> io::Result<bool> {
        let Settled { source, sealed, byte_len } = settled;
        let (shared, number) = (self.shared(), source.number);
        let is_there = shared.segment(number).is_some_and(|segment| Arc::ptr_eq(&segment, &source));
        if !is_there {
            shared.disk.remove(&new_segment_name(number))?;
            return Ok(false);
        }
        source.be_replaced(sealed);
        shared.disk.rename(&new_segment_name(number), &segment_name(number))?;
        crash::point("segment-settled");
        shared.disk.sync_directory()?;
        shared.replace(&Segment::sealed(number, byte_len));
        Ok(true)
    }
}

/// A block of the copy.
enum Piece {
    /// As it is, from this byte of the source on.
    Whole(u32),
    /// What is left of this block of the source.
    Part(Entry),
    /// Nothing is left of some blocks but their offsets.
    Nothing(BlockHeader),
}

/// What is copied, and where to.
struct Copy<'a> {
    reader: &'a JournalReader,
    segment: &'a Arc<Segment>,
    choice: &'a dyn Choice,
    sealed: Arc<Sealed>,
    header: SegmentHeader,
    rows: Vec<Row>,
    /// The entries of the copy, and what each is made of.
    entries: Vec<Entry>,
    pieces: Vec<(TopicPartition, Piece)>,
    blocks_end: u64,
}

impl<'a> Copy<'a> {
    fn plan(
        (reader, segment): (&'a JournalReader, &'a Arc<Segment>),
        choice: &'a dyn Choice,
    ) -> Result<Self, FindError> {
        let (shared, number) = (reader.shared(), segment.number);
        let sealed = shared.sealed(segment)?;
        let place = Place { segment: number, byte: 0 };
        let failed = |error: io::Error| FindError::Io { segment: number, what: error.to_string().into() };
        let header = read_segment_header(&*sealed.file, shared.store, number).map_err(failed)?;
        let header = header.map_err(|_| FindError::Broken { place, what: "both headers of the segment" })?;
        let (rows, entries, pieces) = (Vec::new(), Vec::new(), Vec::new());
        let mut copy = Self {
            reader,
            segment,
            choice,
            sealed: Arc::clone(&sealed),
            header,
            rows,
            entries,
            pieces,
            blocks_end: PAGE,
        };
        for row in &sealed.rows {
            let fate = choice.fate(row.source);
            if fate != Fate::Go {
                copy.add((row, fate), &entries_of(&sealed, row)?);
            }
        }
        copy.header = SegmentHeader {
            kind: SegmentKind::Settled,
            blocks: bounded(copy.entries.len() as u64),
            ..header
        };
        Ok(copy)
    }

    fn add(&mut self, (row, fate): (&Row, Fate), entries: &[Entry]) {
        let first_entry = self.entries.len();
        for entry in entries {
            let source = row.source;
            let (entry, piece) = match fate {
                Fate::Compact => self.compacted(source, entry),
                Fate::Stay | Fate::Go => (*entry, Piece::Whole(entry.byte)),
            };
            match (piece, self.pieces.last_mut()) {
                (Piece::Nothing(next), Some((of, Piece::Nothing(gap))))
                    if *of == source && gap.count.checked_add(next.count).is_some() =>
                {
                    (gap.count, gap.append_time) = (gap.count + next.count, next.append_time);
                    if let Some(last) = self.entries.last_mut() {
                        *last = Entry::of(gap, last.byte);
                    }
                }
                (piece, _) => {
                    self.entries.push(Entry { byte: bounded(self.blocks_end), ..entry });
                    self.pieces.push((source, piece));
                    self.blocks_end += align(entry.byte_len.into(), 8);
                }
            }
        }
        let entries = &self.entries[first_entry..];
        self.rows.push(Row {
            first_entry: bounded(first_entry as u64),
            blocks: bounded(entries.len() as u64),
            bytes: entries.iter().map(|entry| u64::from(entry.byte_len)).sum(),
            ..*row
        });
    }

    /// What becomes of a block that is to be compacted. One that is broken stays so, and says so when it is read.
    fn compacted(&self, source: TopicPartition, entry: &Entry) -> (Entry, Piece) {
        let whole = (*entry, Piece::Whole(entry.byte));
        let Ok(block) = self.read(source, entry) else { return whole };
        let keeps = |(index, event)| self.choice.keeps(&block, index, &event);
        let left = block.columns.iter().enumerate().filter(|&at| keeps(at)).count();
        match left {
            0 => {
                let (header, _) = pack_nothing(block.header);
                (Entry::of(&header, 0), Piece::Nothing(header))
            }
            left if left == block.columns.len() => whole,
            _ => (Entry::of(&self.packed(&block).0, 0), Piece::Part(*entry)),
        }
    }

    fn read(&self, source: TopicPartition, entry: &Entry) -> Result<Block, BlockError> {
        let (file, segment) = (Arc::clone(&self.sealed.file), Arc::clone(self.segment));
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
        let last = LastFrame { number: self.sealed.trailer.last_frame, crc: self.sealed.trailer.last_crc };
        let trailer = last.trailer(shared.store, self.sealed.trailer.segment);
        // This syncs all that is written.
        Sealed::write(file, byte_len, trailer, (self.rows, self.entries))?;
        Ok(byte_len)
    }

    fn copy_blocks(&self, file: &dyn DiskFile) -> io::Result<()> {
        let (mut chunk, mut at) = (Vec::new(), PAGE);
        for (entry, piece) in self.entries.iter().zip(&self.pieces) {
            self.copy_block((entry, piece), &mut chunk)?;
            let padded = align(chunk.len() as u64, 8);
            chunk.resize(usize::try_from(padded).unwrap_or(chunk.len()), 0);
            if chunk.len() >= CHUNK {
                file.write_at(&[IoSlice::new(&chunk)], at)?;
                at += chunk.len() as u64;
                chunk.clear();
            }
        }
        if chunk.is_empty() { Ok(()) } else { file.write_at(&[IoSlice::new(&chunk)], at) }
    }

    /// Appends a block to `chunk`. One that stays whole is copied as it is, broken or not.
    fn copy_block(
        &self,
        (entry, (source, piece)): (&Entry, &(TopicPartition, Piece)),
        chunk: &mut Vec<u8>,
    ) -> io::Result<()> {
        let start = chunk.len();
        let (header, body) = match piece {
            Piece::Whole(from) => {
                chunk.resize(start + entry.byte_len as usize, 0);
                return self.sealed.file.read_at(&mut [IoSliceMut::new(&mut chunk[start..])], (*from).into());
            }
            Piece::Part(from) => {
                self.packed(&self.read(*source, from).map_err(|error| io::Error::other(error.to_string()))?)
            }
            Piece::Nothing(header) => pack_nothing(*header),
        };
        header.encode(chunk);
        chunk.extend_from_slice(&body);
        if chunk.len() - start == entry.byte_len as usize {
            return Ok(());
        }
        Err(io::Error::other("a block was not the same when it was read again"))
    }
}

fn bounded(len: u64) -> u32 {
    u32::try_from(len).expect("a copy is not much longer than its source, far below 4 GiB")
}
