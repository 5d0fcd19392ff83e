//! The segments in use and what all threads know of them: their list, their indexes, the caches.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use super::cache::Cache;
use super::format::{Entry, PAGE_BYTES, Row, SegmentFault, SegmentHeader, SegmentNumbers};
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
    /// that was settled or joined meanwhile is not taken for the new one's.
    id: u64,
    /// The index of a file that another has taken the place of.
    replaced: OnceLock<Arc<Sealed>>,
    pub(super) numbers: SegmentNumbers,
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
    /// Oldest first, their numbers without gaps; the last one is being written.
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
    pub(super) fn sealed(numbers: SegmentNumbers, byte_len: u64) -> Arc<Self> {
        Self::new((numbers, byte_len), None)
    }

    /// A segment whose footer is not written.
    pub(super) fn open(numbers: SegmentNumbers, byte_len: u64, open: OpenSegment) -> Arc<Self> {
        Self::new((numbers, byte_len), Some(open))
    }

    fn new((numbers, byte_len): (SegmentNumbers, u64), open: Option<OpenSegment>) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, replaced: OnceLock::new(), numbers, byte_len, open: RwLock::new(open) })
    }

    /// Tells readers that hold the segment that its name will lead to another file, or to none.
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

    /// The segment of that number, if it is in use: alone, or joined with others.
    pub(super) fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        self.each(number..number.saturating_add(1)).next()
    }

    /// The segments in use with these numbers, the oldest first. Each is looked for when it is its turn: what was
    /// released or joined meanwhile is not held.
    pub(super) fn each(&self, numbers: Range<u64>) -> impl Iterator<Item = Arc<Segment>> + '_ {
        let mut next = numbers.start;
        std::iter::from_fn(move || {
            let segments = self.segments.read();
            let index = segments.partition_point(|segment| segment.numbers.last < next);
            let segment = segments.get(index).filter(|segment| segment.numbers.first < numbers.end)?;
            next = segment.numbers.last + 1;
            Some(Arc::clone(segment))
        })
    }

    /// All numbers of the segments in use; `None` if there is none.
    pub(super) fn numbers(&self) -> Option<Range<u64>> {
        let segments = self.segments.read();
        Some(segments.front()?.numbers.first..segments.back()?.numbers.last + 1)
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
        let failed = |error: std::io::Error| FindError::Io {
            segment: segment.numbers.first,
            what: error.to_string().into(),
        };
        let file = self.disk.open(&segment.numbers.name()).map_err(failed)?;
        let last = self.last_frame_before(segment.numbers.last + 1)?;
        let footer = Sealed::read(&file, segment.byte_len).map_err(failed)?;
        match footer.filter(|sealed| sealed.belongs(self.store, segment.numbers.first, last)) {
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
            numbers: segment.numbers,
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

    /// Puts a segment in the place of those that have its numbers.
    pub(super) fn replace(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write();
        let SegmentNumbers { first, last } = segment.numbers;
        let start = segments.partition_point(|there| there.numbers.last < first);
        let end = segments.partition_point(|there| there.numbers.first <= last);
        let mut newer = segments.split_off(start);
        let replaced: Vec<_> = newer.drain(..end - start).collect();
        segments.push_back(segment);
        segments.append(&mut newer);
        drop(segments);
        for replaced in replaced {
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
        let (file, numbers) = self.open_at(number).map_err(failed)?;
        let header = read_segment_header(&*file, self.store, numbers).map_err(failed)?;
        let place = Place { segment: number, byte: 0 };
        match header {
            Ok(header) => {
                Ok(LastFrame { number: FrameNumber(header.first_frame.0 - 1), crc: header.previous_crc })
            }
            Err(_) => Err(FindError::Broken { place, what: "the segment's header is not one of this store" }),
        }
    }

    /// The file with the segment that begins with this number, which may be joined with others meanwhile.
    fn open_at(&self, number: u64) -> std::io::Result<(Arc<dyn DiskFile>, SegmentNumbers)> {
        let now = || self.segment(number).map_or(SegmentNumbers::one(number), |segment| segment.numbers);
        let mut numbers = now();
        loop {
            match self.disk.open(&numbers.name()) {
                Ok(file) => return Ok((file, numbers)),
                Err(error) if now() == numbers => return Err(error),
                Err(_) => numbers = now(),
            }
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
                return Err(FindError::Io { segment: segment.numbers.first, what: error.to_string().into() });
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
            place: Place { segment: segment.numbers.first, byte: 0 },
            what: "the index and the frames disagree",
        };
        let same = rebuilt.rows.get(row).filter(|rebuilt| rebuilt.source == sealed.rows[row].source);
        let Some(Ok(Some(entries))) = same.map(|row| rebuilt.entries(row)) else { return Err(broken) };
        self.keep(segment, rebuilt);
        Ok(entries)
    }
}

/// Reads the first page of segment `numbers`.
pub(super) fn read_segment_header(
    file: &dyn DiskFile,
    store: u128,
    numbers: SegmentNumbers,
) -> std::io::Result<Result<SegmentHeader, SegmentFault>> {
    let mut page = [0; PAGE_BYTES];
    match file.read_at(&mut [IoSliceMut::new(&mut page)], 0) {
        Ok(()) => Ok(SegmentHeader::decode_page(&page, store, numbers)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(Err(SegmentFault::Broken)),
        Err(error) => Err(error),
    }
}
