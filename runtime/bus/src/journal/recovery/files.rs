//! The files of a store: which there are, and whether they make one.

use std::io::{self, IoSlice, IoSliceMut};

use crate::FrameNumber;
use crate::disk::Disk;
use crate::journal::OpenError;
use crate::journal::format::{
    PAGE_BYTES, STORE, STORE_NEW, SegmentHeader, SegmentKind, StoreFault, StoreFile, VERSION, is_leftover,
    segment_name, segment_number,
};
use crate::journal::random::random;

/// A segment file, in use or ready for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentFile {
    pub(super) number: u64,
    pub(super) byte_len: u64,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) store: u128,
    pub(super) created: bool,
    /// Numbered without gaps.
    pub(super) segments: Vec<SegmentFile>,
}

impl Files {
    /// Looks through the directory, removes what a crash left half made, and makes an empty one a store.
    pub(super) fn find(disk: &dyn Disk) -> Result<Self, OpenError> {
        let names = disk.list()?;
        let mut segments: Vec<SegmentFile> = names
            .iter()
            .filter_map(|(name, byte_len)| {
                Some(SegmentFile { number: segment_number(name)?, byte_len: *byte_len })
            })
            .collect();
        segments.sort_unstable_by_key(|segment| segment.number);
        if let Some(gap) = segments.windows(2).find(|pair| pair[0].number + 1 != pair[1].number) {
            return Err(OpenError::MissingSegment { number: gap[0].number + 1 });
        }
        let known = names.iter().find(|(name, _)| name == STORE);
        let created = known.is_none();
        if created && !segments.is_empty() {
            return Err(OpenError::Store { what: "missing, and there are segments" });
        }
        if let Some((_, byte_len)) = known {
            let store = read(disk, *byte_len)?;
            remove_leftovers(disk, &names)?;
            return Ok(Self { store, created, segments });
        }
        remove_leftovers(disk, &names)?;
        Ok(Self { store: create(disk)?, created, segments })
    }
}

/// Whether the journal on `disk` still has all frames from the first on, so that everything can be made again.
pub(crate) fn reaches_back(disk: &dyn Disk) -> io::Result<bool> {
    let numbers: Vec<u64> = disk.list()?.iter().filter_map(|(name, _)| segment_number(name)).collect();
    if numbers.iter().min() != Some(&1) {
        return Ok(false);
    }
    for number in numbers {
        let mut page = [0; PAGE_BYTES];
        let file = disk.open(&segment_name(number))?;
        file.read_at(&mut [IoSliceMut::new(&mut page)], 0)?;
        if SegmentHeader::decode(&page).is_ok_and(|header| header.kind == SegmentKind::Settled) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The first frame from which on the journal on `disk` has all of them, if the headers of its segments tell.
pub(crate) fn oldest_frame(disk: &dyn Disk) -> io::Result<Option<FrameNumber>> {
    let mut numbers: Vec<u64> = disk.list()?.iter().filter_map(|(name, _)| segment_number(name)).collect();
    numbers.sort_unstable();
    let mut oldest = None;
    for number in numbers {
        let mut page = [0; PAGE_BYTES];
        disk.open(&segment_name(number))?.read_at(&mut [IoSliceMut::new(&mut page)], 0)?;
        match SegmentHeader::decode(&page).ok().filter(|header| header.number == number) {
            Some(header) if header.kind == SegmentKind::Settled => oldest = None,
            Some(header) => oldest = oldest.or(Some(header.first_frame)),
            None => {}
        }
    }
    Ok(oldest)
}

fn remove_leftovers(disk: &dyn Disk, names: &[(String, u64)]) -> Result<(), OpenError> {
    for (name, _) in names.iter().filter(|(name, _)| is_leftover(name)) {
        disk.remove(name)?;
    }
    Ok(())
}

fn read(disk: &dyn Disk, byte_len: u64) -> Result<u128, OpenError> {
    let broken = OpenError::Store { what: "broken" };
    let mut bytes = vec![0; usize::try_from(byte_len.min(4096)).unwrap_or(0)];
    disk.open(STORE)?.read_at(&mut [IoSliceMut::new(&mut bytes)], 0)?;
    match StoreFile::decode(&bytes) {
        Ok(file) => Ok(file.store),
        Err(StoreFault::Newer(found)) => Err(OpenError::NewerVersion { found, known: VERSION }),
        Err(StoreFault::Broken) => Err(broken),
    }
}

fn create(disk: &dyn Disk) -> Result<u128, OpenError> {
    let store = u128::from(random()) << 64 | u128::from(random());
    let bytes = StoreFile { store }.encode();
    let file = disk.create(STORE_NEW, bytes.len() as u64)?;
    file.write_at(&[IoSlice::new(&bytes)], 0)?;
    file.sync_data()?;
    disk.rename(STORE_NEW, STORE)?;
    disk.sync_directory()?;
    Ok(store)
}
