//! The segments in use and what all threads know of them: their list, their indexes, the caches.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use super::cache::Cache;
use super::format::{Entry, PAGE_BYTES, Row, SegmentFault, SegmentHeader, segment_name};
use super::index::{Index, position};
use super::recovery::rebuild;
use super::sealed::{LastFrame, Sealed};
use super::{FindError, JournalOptions, PartitionEnd, Place, Seek, SegmentSummary};
use crate::disk::{Disk, DiskFile};
use crate::limits::OPEN_SEGMENTS_MAX;
use crate::{FrameNumber, TopicPartition};

/// A segment in use. Whoever holds it keeps its file from being used again.
pub(super) struct Segment {
    /// One of its own for each file that a number had since the opening, so that what a reader still learns of a file
    /// that was settled meanwhile is not taken for the new one's.
    id: u64,
    /// The index of a file that another has taken the name of.
    replaced: OnceLock<Arc<Sealed>>,
    pub(super) number: u64,
    pub(super) byte_len: u64,
    /// Its index as long as it has no footer on disk.
    pub(super) open: RwLock<Option<OpenSegment>>,
}

/// What is known of a segment without a footer.
pub(super) struct OpenSegment {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) index: Index,
    pub(super) last: LastFrame,
}

/// What the writer, the housekeeper and the readers share.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) store: u128,
    /// Oldest first, numbered without gaps; the last one is being written.
    pub(super) segments: RwLock<VecDeque<Arc<Segment>>>,
    sealed: Mutex<Cache<u64, Arc<Sealed>>>,
    entries: Mutex<EntryCache>,
}

/// The entries of partitions, by segment and row.
type EntryCache = Cache<(u64, usize), Arc<[Entry]>>;

/// What a segment answers to a search.
pub(super) enum Lookup {
    /// It has no block of the partition.
    Absent,
    /// All its blocks of the partition lie before what is asked for.
    Before,
    /// The first one in it that is asked for: its number among the partition's entries.
    Found { index: usize, entry: Entry, file: Arc<dyn DiskFile> },
}

impl Segment {
    /// A segment whose index is found in its footer.
    pub(super) fn sealed(number: u64, byte_len: u64) -> Arc<Self> {
        Self::new((number, byte_len), None)
    }

    /// A segment that is being written.
    pub(super) fn open(number: u64, byte_len: u64, open: OpenSegment) -> Arc<Self> {
        Self::new((number, byte_len), Some(open))
    }

    fn new((number, byte_len): (u64, u64), open: Option<OpenSegment>) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, replaced: OnceLock::new(), number, byte_len, open: RwLock::new(open) })
    }

    /// Tells readers that hold the segment that its name will lead to another file.
    pub(super) fn be_replaced(&self, sealed: Arc<Sealed>) {
        // Told twice, it is the same.
        let _ = self.replaced.set(sealed);
    }
}

impl Shared {
    pub(super) fn new(disk: Arc<dyn Disk>, store: u128, options: &JournalOptions) -> Self {
        let half = options.index_cache_bytes / 2;
        Self {
            disk,
            store,
            segments: RwLock::new(VecDeque::new()),
            sealed: Mutex::new(Cache::new(half, OPEN_SEGMENTS_MAX)),
            entries: Mutex::new(Cache::new(half, usize::MAX)),
        }
    }

    /// The segment of that number, if it is in use.
    pub(super) fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let index = number.checked_sub(segments.front()?.number)?;
        segments.get(usize::try_from(index).ok()?).cloned()
    }

    /// The numbers of the oldest and the newest segment.
    pub(super) fn ends(&self) -> Option<(u64, u64)> {
        let segments = self.segments.read();
        Some((segments.front()?.number, segments.back()?.number))
    }

    /// Looks in one segment; `near` is the entry to try first.
    pub(super) fn look(
        &self,
        segment: &Segment,
        source: TopicPartition,
        seek: Seek,
        near: usize,
    ) -> Result<Lookup, FindError> {
        if let Some(open) = &*segment.open.read() {
            let entries = open.index.entries(source);
            return Ok(match position(entries, seek, near) {
                Some((index, entry)) => Lookup::Found { index, entry, file: Arc::clone(&open.file) },
                None if entries.is_empty() => Lookup::Absent,
                None => Lookup::Before,
            });
        }
        let sealed = self.sealed(segment)?;
        let Some(row) = sealed.row_of(source) else { return Ok(Lookup::Absent) };
        if !sealed.rows[row].reaches(seek) {
            return Ok(Lookup::Before);
        }
        let entries = self.entries(segment, &sealed, row)?;
        Ok(match position(&entries, seek, near) {
            Some((index, entry)) => Lookup::Found { index, entry, file: Arc::clone(&sealed.file) },
            None => Lookup::Before,
        })
    }

    /// The index of a sealed segment, from the cache, its footer, or its frames.
    pub(super) fn sealed(&self, segment: &Segment) -> Result<Arc<Sealed>, FindError> {
        if let Some(sealed) = self.sealed.lock().get(segment.id) {
            return Ok(sealed);
        }
        let sealed = self.read_sealed(segment);
        // Looked at after the file was opened: that may be the new one already.
        if let Some(replaced) = segment.replaced.get() {
            return Ok(Arc::clone(replaced));
        }
        let sealed = Arc::new(sealed?);
        self.keep(segment, Arc::clone(&sealed));
        Ok(sealed)
    }

    fn read_sealed(&self, segment: &Segment) -> Result<Sealed, FindError> {
        let failed =
            |error: std::io::Error| FindError::Io { segment: segment.number, what: error.to_string().into() };
        let file = self.disk.open(&segment_name(segment.number)).map_err(failed)?;
        let last = self.last_frame_before(segment.number + 1)?;
        let footer = Sealed::read(&file, segment.byte_len).map_err(failed)?;
        match footer.filter(|sealed| sealed.belongs(self.store, segment.number, last)) {
            Some(sealed) => Ok(sealed),
            None => rebuild(self.store, segment, file, last),
        }
    }

    /// What a sealed segment holds.
    pub(super) fn summary(&self, segment: &Segment) -> Result<SegmentSummary, FindError> {
        let sealed = self.sealed(segment)?;
        let part = |row: &Row| PartitionEnd {
            source: row.source,
            first: row.first,
            end: row.end,
            newest: row.newest,
            bytes: row.bytes,
        };
        Ok(SegmentSummary {
            number: segment.number,
            bytes: segment.byte_len,
            last_frame: sealed.trailer.last_frame,
            newest: (!sealed.rows.is_empty()).then_some(sealed.trailer.newest),
            partitions: sealed.rows.iter().map(part).collect(),
        })
    }

    /// Puts an index into the cache.
    pub(super) fn keep(&self, segment: &Segment, sealed: Arc<Sealed>) {
        let weight = sealed.weight();
        self.sealed.lock().insert(segment.id, sealed, weight);
    }

    /// Puts another file of the same number in the place of a segment.
    pub(super) fn replace(&self, segment: &Arc<Segment>) {
        let mut segments = self.segments.write();
        let there = segments.iter_mut().find(|there| there.number == segment.number);
        let replaced = there.map(|there| std::mem::replace(there, Arc::clone(segment)));
        drop(segments);
        if let Some(replaced) = replaced {
            self.forget(&replaced);
        }
    }

    /// Forgets the index of a segment that is no longer in use.
    pub(super) fn forget(&self, segment: &Segment) {
        let mut sealed = self.sealed.lock();
        let rows = sealed.get(segment.id).map_or(0, |sealed| sealed.rows.len());
        sealed.remove(segment.id);
        drop(sealed);
        let mut entries = self.entries.lock();
        (0..rows).for_each(|row| entries.remove((segment.id, row)));
    }

    /// The last frame before segment `number`, as that segment's own header tells.
    fn last_frame_before(&self, number: u64) -> Result<LastFrame, FindError> {
        let failed =
            |error: std::io::Error| FindError::Io { segment: number, what: error.to_string().into() };
        let file = self.disk.open(&segment_name(number)).map_err(failed)?;
        let header = read_segment_header(&*file, self.store, number).map_err(failed)?;
        let place = Place { segment: number, byte: 0 };
        match header {
            Ok(header) => {
                Ok(LastFrame { number: FrameNumber(header.first_frame.0 - 1), crc: header.previous_crc })
            }
            Err(_) => Err(FindError::Broken { place, what: "the segment's header is not one of this store" }),
        }
    }

    fn entries(&self, segment: &Segment, sealed: &Sealed, row: usize) -> Result<Arc<[Entry]>, FindError> {
        let key = (segment.id, row);
        if let Some(entries) = self.entries.lock().get(key) {
            return Ok(entries);
        }
        let read = sealed.entries(&sealed.rows[row]);
        let entries = match read {
            Ok(Some(entries)) => entries,
            Ok(None) => return self.entries_from_frames(segment, sealed, row),
            Err(error) => {
                return Err(FindError::Io { segment: segment.number, what: error.to_string().into() });
            }
        };
        let weight = size_of_val(&*entries);
        self.entries.lock().insert(key, Arc::clone(&entries), weight);
        Ok(entries)
    }

    /// The entries of a partition whose part of the footer is broken: the whole index is made again.
    fn entries_from_frames(
        &self,
        segment: &Segment,
        sealed: &Sealed,
        row: usize,
    ) -> Result<Arc<[Entry]>, FindError> {
        let last = LastFrame { number: sealed.trailer.last_frame, crc: sealed.trailer.last_crc };
        let rebuilt = Arc::new(rebuild(self.store, segment, Arc::clone(&sealed.file), last)?);
        let broken = FindError::Broken {
            place: Place { segment: segment.number, byte: 0 },
            what: "the index and the frames disagree",
        };
        let same = rebuilt.rows.get(row).filter(|rebuilt| rebuilt.source == sealed.rows[row].source);
        let Some(Ok(Some(entries))) = same.map(|row| rebuilt.entries(row)) else { return Err(broken) };
        self.keep(segment, rebuilt);
        Ok(entries)
    }
}

/// Reads the first page of segment `number`.
pub(super) fn read_segment_header(
    file: &dyn DiskFile,
    store: u128,
    number: u64,
) -> std::io::Result<Result<SegmentHeader, SegmentFault>> {
    let mut page = [0; PAGE_BYTES];
    match file.read_at(&mut [IoSliceMut::new(&mut page)], 0) {
        Ok(()) => Ok(SegmentHeader::decode_page(&page, store, number)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(Err(SegmentFault::Broken)),
        Err(error) => Err(error),
    }
}
