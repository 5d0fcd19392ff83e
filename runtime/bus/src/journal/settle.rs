//! Settling a sealed segment: its blocks rewritten by partition, without the partitions whose blocks may go. The copy
//! takes the segment's name when it is complete and synced; readers of the old file keep it until they are done.

use std::io;
use std::sync::Arc;

use super::format::{
    Entry, PAGE, Row, SegmentHeader, SegmentKind, footer_len, new_segment_name, segment_name,
};
use super::sealed::{LastFrame, Sealed};
use super::segment::{Segment, Shared, read_segment_header};
use super::{FindError, Journal, JournalReader, Place};
use crate::TopicPartition;
use crate::bytes::align;
use crate::crash;
use crate::disk::{DiskFile, IoSlice, IoSliceMut};

/// Bytes copied at a time.
const CHUNK: usize = 1 << 20;

/// A copy of a segment that waits to take its place.
pub struct Settled {
    source: Arc<Segment>,
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

impl JournalReader {
    /// Copies the sealed segment `number` beside it, its blocks by partition, without those of partitions that
    /// `goes` names. `None` if it is not sealed or not in use any more. Waits for the disk.
    pub fn settle(
        &self,
        number: u64,
        goes: &dyn Fn(TopicPartition) -> bool,
    ) -> Result<Option<Settled>, SettleError> {
        let shared = self.shared();
        let Some(source) = shared.segment(number).filter(|segment| segment.open.read().is_none()) else {
            return Ok(None);
        };
        let sealed = shared.sealed(&source)?;
        let failed = |error: io::Error| SettleError::Io { segment: number, what: error.to_string().into() };
        let name = new_segment_name(number);
        let copied = Copy::plan(shared, &sealed, goes)?.write(&name);
        if copied.is_err() {
            // A full disk must get back what was taken. If that fails too, the next opening does it.
            let _ = shared.disk.remove(&name);
        }
        copied.map(|byte_len| Some(Settled { source, byte_len })).map_err(failed)
    }
}

impl Journal {
    /// Puts a settled copy in the place of its segment; false if the segment is gone. All frames in it must be in the
    /// tables, and all that lets its blocks go be synced.
    pub fn put(&mut self, settled: Settled) -> io::Result<bool> {
        let Settled { source, byte_len } = settled;
        let (shared, number) = (self.shared(), source.number);
        let is_there = shared.segment(number).is_some_and(|segment| Arc::ptr_eq(&segment, &source));
        if !is_there {
            shared.disk.remove(&new_segment_name(number))?;
            return Ok(false);
        }
        shared.disk.rename(&new_segment_name(number), &segment_name(number))?;
        crash::point("segment-settled");
        shared.disk.sync_directory()?;
        shared.replace(Segment::sealed(number, byte_len));
        Ok(true)
    }
}

/// What is copied, and where to.
struct Copy<'a> {
    shared: &'a Shared,
    sealed: &'a Sealed,
    header: SegmentHeader,
    rows: Vec<Row>,
    /// The entries of the copy, and where each block begins in the source.
    entries: Vec<Entry>,
    from: Vec<u32>,
    blocks_end: u64,
}

impl<'a> Copy<'a> {
    fn plan(
        shared: &'a Shared,
        sealed: &'a Sealed,
        goes: &dyn Fn(TopicPartition) -> bool,
    ) -> Result<Self, FindError> {
        let number = sealed.trailer.segment;
        let place = Place { segment: number, byte: 0 };
        let failed = |error: io::Error| FindError::Io { segment: number, what: error.to_string().into() };
        let header = read_segment_header(&*sealed.file, shared.store, number).map_err(failed)?;
        let header = header.map_err(|_| FindError::Broken { place, what: "both headers of the segment" })?;
        let mut copy =
            Self { shared, sealed, header, rows: vec![], entries: vec![], from: vec![], blocks_end: PAGE };
        for row in sealed.rows.iter().filter(|row| !goes(row.source)) {
            let entries = sealed.entries(row).map_err(failed)?;
            copy.add(row, &entries.ok_or(FindError::Broken { place, what: "the index of the segment" })?);
        }
        copy.header = SegmentHeader {
            kind: SegmentKind::Settled,
            blocks: u32::try_from(copy.entries.len()).expect("a segment holds far fewer than 2^32 blocks"),
            ..header
        };
        Ok(copy)
    }

    fn add(&mut self, row: &Row, entries: &[Entry]) {
        let bounded = |len: u64| u32::try_from(len).expect("a copy is no longer than its source");
        self.rows.push(Row { first_entry: bounded(self.entries.len() as u64), ..*row });
        for entry in entries {
            self.from.push(entry.byte);
            self.entries.push(Entry { byte: bounded(self.blocks_end), ..*entry });
            self.blocks_end += align(entry.byte_len.into(), 8);
        }
    }

    /// Writes the copy and syncs it; its bytes.
    fn write(self, name: &str) -> io::Result<u64> {
        let footer = footer_len(self.rows.len() as u64, self.entries.len() as u64);
        let byte_len = align(self.blocks_end + footer, PAGE);
        let file = self.shared.disk.create(name, byte_len)?;
        let mut page = Vec::new();
        self.header.encode_page(&mut page);
        file.write_at(&[IoSlice::new(&page)], 0)?;
        self.copy_blocks(&*file)?;
        crash::point("segment-copy");
        let last = LastFrame { number: self.sealed.trailer.last_frame, crc: self.sealed.trailer.last_crc };
        let trailer = last.trailer(self.shared.store, self.sealed.trailer.segment);
        // This syncs all that is written.
        Sealed::write(file, byte_len, trailer, (self.rows, self.entries))?;
        Ok(byte_len)
    }

    /// Copies the blocks as they are: one that is broken stays so, and says so when it is read.
    fn copy_blocks(&self, file: &dyn DiskFile) -> io::Result<()> {
        let (mut chunk, mut at) = (Vec::new(), PAGE);
        for (entry, from) in self.entries.iter().zip(&self.from) {
            let start = chunk.len();
            chunk.resize(start + entry.byte_len as usize, 0);
            self.sealed.file.read_at(&mut [IoSliceMut::new(&mut chunk[start..])], (*from).into())?;
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
}
