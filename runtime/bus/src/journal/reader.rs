//! Finding and reading blocks, on any thread.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSliceMut};
use std::sync::Arc;

use super::format::{Entry, SegmentKind};
use super::segment::{Lookup, Segment, Shared, read_segment_header};
use super::{BlockError, BlockPlace, FindError, Place, ReadHint, Seek, SegmentSummary};
use crate::block::{Block, BlockHeader, Body, BrokenBlock, HEADER_BYTES};
use crate::disk::DiskFile;
use crate::limits::BLOCK_BYTES_MAX;
use crate::{Columns, TopicPartition};

/// Finds and reads blocks. Cheap to clone; clones share the cache of indexes.
#[derive(Clone)]
pub struct JournalReader {
    shared: Arc<Shared>,
}

impl JournalReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The first block of `source` that `seek` asks for, or `None` if there is none (yet). Sees frames that
    /// are not synced: the caller bounds what it asks for by its high watermark.
    ///
    /// `hint` (at first a default one) is where the last search of this partition ended; kept from call to
    /// call, it makes reading on in order cost no search.
    pub fn find(
        &self,
        source: TopicPartition,
        seek: Seek,
        hint: &mut ReadHint,
    ) -> Result<Option<BlockPlace>, FindError> {
        let Some(numbers) = self.shared.numbers() else { return Ok(None) };
        let newest = numbers.end - 1;
        let found = match hint.start(source, seek) {
            Some(from) => self.walk(source, seek, from.max(numbers.start)..numbers.end, hint.entry)?,
            None => self.search(source, seek, numbers)?,
        };
        let (segment, entry) =
            found.as_ref().map_or((newest, 0), |(place, entry)| (place.place.segment, *entry));
        hint.set(source, seek, segment, entry);
        Ok(found.map(|(place, _)| place))
    }

    /// Reads the block, with every checksum verified and its columns checked.
    pub fn read(&self, place: &BlockPlace) -> Result<Block, BlockError> {
        let broken = |what: BrokenBlock| BlockError::Broken {
            source_partition: place.source,
            place: place.place,
            what: what.to_string().into(),
        };
        let failed = |error: io::Error| {
            if error.kind() == ErrorKind::UnexpectedEof {
                return broken(BrokenBlock::Short);
            }
            let what = error.to_string().into();
            BlockError::Io { source_partition: place.source, place: place.place, what }
        };
        let header_of = |bytes: &[u8]| {
            let header = BlockHeader::decode(bytes).map_err(broken)?;
            if place.is_of(&header) { Ok(header) } else { Err(broken(BrokenBlock::Other)) }
        };
        let (data_bytes, causes) = place.sizes().ok_or_else(|| broken(BrokenBlock::Other))?;
        if place.is_packed || place.is_compressed {
            let mut bytes = vec![0; place.byte_len as usize];
            let mut parts = [IoSliceMut::new(&mut bytes)];
            place.file.read_at(&mut parts, place.place.byte).map_err(failed)?;
            let header = header_of(&bytes)?;
            return Block::of_body(header, &bytes[HEADER_BYTES..]).map_err(broken);
        }
        let mut header = [0; HEADER_BYTES];
        let mut body = Body::new(place.count, data_bytes, causes);
        let [times, key_lens, header_lens, value_lens, data, causes] = body.slices();
        let mut parts =
            [IoSliceMut::new(&mut header), times, key_lens, header_lens, value_lens, data, causes];
        place.file.read_at(&mut parts, place.place.byte).map_err(failed)?;
        body.into_block(header_of(&header)?).map_err(broken)
    }

    /// Bytes of all segments in use.
    pub fn segment_bytes(&self) -> u64 {
        self.shared.segments.read().iter().map(|segment| segment.byte_len).sum()
    }

    /// The number of the oldest segment in use.
    pub fn oldest(&self) -> Option<u64> {
        self.shared.numbers().map(|numbers| numbers.start)
    }

    /// Whether the segment with this number was settled. Waits for the disk.
    pub fn is_settled(&self, number: u64) -> bool {
        let Some(segment) = self.shared.segment(number) else { return false };
        let Ok(sealed) = self.shared.sealed(&segment) else { return false };
        let header = read_segment_header(&*sealed.file, self.shared.store, segment.numbers);
        header.is_ok_and(|header| header.is_ok_and(|header| header.kind == SegmentKind::Settled))
    }

    /// Hands what each sealed segment holds to `look`, the oldest first, until it has enough or one cannot be read.
    pub fn each_sealed(&self, look: &mut dyn FnMut(&SegmentSummary) -> bool) {
        let Some(numbers) = self.shared.numbers() else { return };
        for segment in self.shared.each(numbers) {
            if segment.open.read().is_some() {
                return;
            }
            if !self.shared.summary(&segment).is_ok_and(|summary| look(&summary)) {
                return;
            }
        }
    }

    /// Bytes of the blocks of every partition, headers included, in the segments that are in use. Reads the rows
    /// of segments whose index is not in memory; one that cannot be read counts nothing.
    pub fn bytes(&self) -> HashMap<TopicPartition, u64> {
        let mut bytes = HashMap::new();
        let Some(numbers) = self.shared.numbers() else { return bytes };
        for segment in self.shared.each(numbers) {
            if let Some(open) = &*segment.open.read() {
                open.index.add_bytes(&mut bytes);
            } else if let Ok(sealed) = self.shared.sealed(&segment) {
                sealed.rows.iter().for_each(|row| *bytes.entry(row.source).or_default() += row.bytes);
            }
        }
        bytes
    }

    /// Looks in segment after segment: right if all before the first lie before what is asked for.
    fn walk(
        &self,
        source: TopicPartition,
        seek: Seek,
        numbers: std::ops::Range<u64>,
        near: u32,
    ) -> Result<Option<(BlockPlace, u32)>, FindError> {
        let mut near = near as usize;
        for segment in self.shared.each(numbers) {
            if let Lookup::Found { index, entry, file } = self.shared.look(&segment, source, seek, near)? {
                let block = BlockPlace::new(source, &entry, file, segment);
                return Ok(Some((block, u32::try_from(index).unwrap_or(u32::MAX))));
            }
            near = 0;
        }
        Ok(None)
    }

    /// Halves the segments until the first one that holds what is asked for is known. A segment without a
    /// block of the partition tells nothing, so its neighbour is asked.
    fn search(
        &self,
        source: TopicPartition,
        seek: Seek,
        numbers: std::ops::Range<u64>,
    ) -> Result<Option<(BlockPlace, u32)>, FindError> {
        let (mut low, mut high) = (numbers.start, numbers.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_that_knows(source, seek, middle..high)? {
                Some((last, false)) => low = last + 1,
                Some((_, true)) | None => high = middle,
            }
        }
        self.walk(source, seek, low..numbers.end, 0)
    }

    /// The last number of the first segment with a block of the partition, and whether it holds what is asked for.
    fn first_that_knows(
        &self,
        source: TopicPartition,
        seek: Seek,
        numbers: std::ops::Range<u64>,
    ) -> Result<Option<(u64, bool)>, FindError> {
        for segment in self.shared.each(numbers) {
            let number = segment.numbers.last;
            match self.shared.look(&segment, source, seek, 0)? {
                Lookup::Absent => {}
                Lookup::Before => return Ok(Some((number, false))),
                Lookup::Found { .. } => return Ok(Some((number, true))),
            }
        }
        Ok(None)
    }
}

impl ReadHint {
    /// The segment to look in first, if everything before it is known to lie before what is asked for.
    fn start(&self, source: TopicPartition, seek: Seek) -> Option<u64> {
        let behind = match (seek, self.seek?) {
            (Seek::Offset(offset), Seek::Offset(before)) => offset >= before,
            (Seek::Time(time), Seek::Time(before)) => time >= before,
            _ => false,
        };
        (behind && self.source == Some(source)).then_some(self.segment)
    }

    fn set(&mut self, source: TopicPartition, seek: Seek, segment: u64, entry: u32) {
        *self = Self { source: Some(source), seek: Some(seek), segment, entry };
    }
}

impl BlockPlace {
    pub(super) fn new(
        source: TopicPartition,
        entry: &Entry,
        file: Arc<dyn DiskFile>,
        segment: Arc<Segment>,
    ) -> Self {
        Self {
            source,
            first: entry.first,
            count: entry.count,
            append_time: entry.append_time,
            byte_len: entry.byte_len,
            has_cause: entry.has_cause,
            is_packed: entry.is_packed,
            is_compressed: entry.is_compressed,
            place: Place { segment: segment.numbers.first, byte: entry.byte.into() },
            file,
            _segment: segment,
        }
    }

    /// Bytes of data and number of causes, if the index's sizes are possible.
    fn sizes(&self) -> Option<(u32, u32)> {
        let causes = if self.has_cause { self.count } else { 0 };
        let possible = u64::from(self.byte_len) <= BLOCK_BYTES_MAX;
        if self.is_packed || self.is_compressed {
            return (possible && self.byte_len as usize >= HEADER_BYTES).then_some((0, 0));
        }
        let per_event = Columns::BYTES_PER_EVENT as u64 + if self.has_cause { 4 } else { 0 };
        let columns = HEADER_BYTES as u64 + u64::from(self.count) * per_event;
        let data = u64::from(self.byte_len).checked_sub(columns)?;
        possible.then(|| u32::try_from(data).ok()).flatten().map(|data| (data, causes))
    }

    fn is_of(&self, header: &BlockHeader) -> bool {
        header.target == self.source
            && header.first == self.first
            && header.count == self.count
            && header.append_time == self.append_time
            && header.cause.is_some() == self.has_cause
            && header.is_packed == self.is_packed
            && header.is_compressed == self.is_compressed
            && header.byte_len() == u64::from(self.byte_len)
    }
}
