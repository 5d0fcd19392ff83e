//! A sealed segment's index: written as the file's footer, read back in parts, or made again from the frames.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use super::format::{Entry, Row, Trailer};
use super::index::Index;
use crate::disk::DiskFile;
use crate::{FrameNumber, TopicPartition};

/// What a segment's last frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastFrame {
    pub(super) number: FrameNumber,
    pub(super) crc: u32,
}

impl LastFrame {
    /// The trailer of a segment that ends with this frame; what depends on its blocks is not filled in.
    pub(super) fn trailer(self, store: u128, segment: u64) -> Trailer {
        let Self { number: last_frame, crc: last_crc } = self;
        Trailer { store, segment, last_frame, last_crc, rows: 0, blocks: 0, rows_crc: 0, newest: 0 }
    }
}

/// The rows of a sealed segment in memory; its entries are read when a partition is asked for.
pub(super) struct Sealed {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) byte_len: u64,
    pub(super) trailer: Trailer,
    pub(super) rows: Vec<Row>,
    /// All entries, if the footer on disk cannot be used.
    rebuilt: Option<Vec<Entry>>,
}

impl Sealed {
    /// The index of a segment whose footer is broken, from its frames.
    pub(super) fn rebuilt(
        file: Arc<dyn DiskFile>,
        byte_len: u64,
        mut trailer: Trailer,
        index: &Index,
    ) -> Self {
        let (rows, entries) = index.sorted();
        trailer.newest = newest(&rows);
        Self { file, byte_len, trailer, rows, rebuilt: Some(entries) }
    }

    /// Writes the footer and syncs it. The frames before it must be synced.
    pub(super) fn write(
        file: Arc<dyn DiskFile>,
        byte_len: u64,
        mut trailer: Trailer,
        (mut rows, entries): (Vec<Row>, Vec<Entry>),
    ) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        for row in &mut rows {
            let start = bytes.len();
            for entry in entries_of(&entries, row) {
                entry.encode(&mut bytes);
            }
            row.entries_crc = crc32c::crc32c(&bytes[start..]);
        }
        let start = bytes.len();
        for row in &rows {
            row.encode(&mut bytes);
        }
        let bounded = |len: usize| u32::try_from(len).expect("a segment holds far fewer than 2^32 blocks");
        trailer.rows_crc = crc32c::crc32c(&bytes[start..]);
        trailer.rows = bounded(rows.len());
        trailer.blocks = bounded(entries.len());
        trailer.newest = newest(&rows);
        trailer.encode(&mut bytes);
        let offset = byte_len - trailer.footer_len();
        debug_assert_eq!(trailer.footer_len(), bytes.len() as u64);
        file.write_at(&[IoSlice::new(&bytes)], offset)?;
        file.sync_data()?;
        Ok(Self { file, byte_len, trailer, rows, rebuilt: None })
    }

    /// Reads the footer; `None` if the file has none that is sound.
    pub(super) fn read(file: &Arc<dyn DiskFile>, byte_len: u64) -> std::io::Result<Option<Self>> {
        let Some(trailer_at) = byte_len.checked_sub(Trailer::BYTES as u64) else { return Ok(None) };
        let mut bytes = [0; Trailer::BYTES];
        file.read_at(&mut [IoSliceMut::new(&mut bytes)], trailer_at)?;
        let Some(trailer) = Trailer::decode(&bytes) else { return Ok(None) };
        let rows_len = u64::from(trailer.rows) * Row::BYTES as u64;
        if trailer.footer_len() > byte_len {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(rows_len).unwrap_or(0)];
        file.read_at(&mut [IoSliceMut::new(&mut bytes)], trailer_at - rows_len)?;
        if crc32c::crc32c(&bytes) != trailer.rows_crc {
            return Ok(None);
        }
        let rows: Option<Vec<Row>> = bytes.chunks_exact(Row::BYTES).map(Row::decode).collect();
        let Some(rows) = rows else { return Ok(None) };
        Ok(Some(Self { file: Arc::clone(file), byte_len, trailer, rows, rebuilt: None }))
    }

    /// Whether it is the footer of this segment, written after its last frame: one that tells another last
    /// frame was written before a crash, after which the segment went on.
    pub(super) fn belongs(&self, store: u128, segment: u64, last: LastFrame) -> bool {
        let Trailer { last_frame: number, last_crc: crc, .. } = self.trailer;
        self.trailer.store == store && self.trailer.segment == segment && LastFrame { number, crc } == last
    }

    /// The number of the partition's row.
    pub(super) fn row_of(&self, source: TopicPartition) -> Option<usize> {
        self.rows.binary_search_by_key(&source, |row| row.source).ok()
    }

    /// The entries of a row; `None` if they are broken.
    pub(super) fn entries(&self, row: &Row) -> std::io::Result<Option<Arc<[Entry]>>> {
        if let Some(entries) = &self.rebuilt {
            return Ok(Some(entries_of(entries, row).into()));
        }
        let footer_at = self.byte_len - self.trailer.footer_len();
        let (first, blocks) = (u64::from(row.first_entry), u64::from(row.blocks));
        if first + blocks > u64::from(self.trailer.blocks) {
            return Ok(None);
        }
        let mut bytes = vec![0; row.blocks as usize * Entry::BYTES];
        self.file.read_at(&mut [IoSliceMut::new(&mut bytes)], footer_at + first * Entry::BYTES as u64)?;
        if crc32c::crc32c(&bytes) != row.entries_crc {
            return Ok(None);
        }
        Ok(bytes.chunks_exact(Entry::BYTES).map(Entry::decode).collect())
    }

    /// Bytes that it takes in memory.
    pub(super) fn weight(&self) -> usize {
        let rebuilt = self.rebuilt.as_ref().map_or(0, |entries| entries.len() * size_of::<Entry>());
        size_of::<Self>() + self.rows.len() * size_of::<Row>() + rebuilt
    }
}

fn newest(rows: &[Row]) -> i64 {
    rows.iter().map(|row| row.newest).max().unwrap_or(0)
}

fn entries_of<'a>(entries: &'a [Entry], row: &Row) -> &'a [Entry] {
    let start = row.first_entry as usize;
    &entries[start..start + row.blocks as usize]
}
