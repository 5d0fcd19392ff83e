//! The files of a store: which there are, and whether they make one.

use std::io::{self, IoSlice, IoSliceMut};

use crate::FrameNumber;
use crate::disk::Disk;
use crate::journal::format::{
    PAGE_BYTES, STORE, STORE_NEW, SegmentHeader, SegmentKind, SegmentNumbers, StoreFault, StoreFile, VERSION,
    is_leftover,
};
use crate::journal::random::random;
use crate::journal::segment::read_segment_header;
use crate::journal::{OpenError, Place};

/// A segment file, in use or ready for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentFile {
    pub(super) numbers: SegmentNumbers,
    pub(super) byte_len: u64,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) store: u128,
    pub(super) created: bool,
    /// Their numbers have no gaps.
    pub(super) segments: Vec<SegmentFile>,
}

impl Files {
    /// Looks through the directory, removes what a crash left half made, and makes an empty one a store.
    pub(super) fn find(disk: &dyn Disk) -> Result<Self, OpenError> {
        let names = disk.list()?;
        let Listed { segments, joined } = Listed::of(&names);
        let is_gap =
            |pair: &&[SegmentFile]| pair[0].numbers.last.checked_add(1) != Some(pair[1].numbers.first);
        if let Some(gap) = segments.windows(2).find(is_gap) {
            return Err(OpenError::MissingSegment { number: gap[0].numbers.last.saturating_add(1) });
        }
        let known = names.iter().find(|(name, _)| name == STORE);
        let created = known.is_none();
        if created && !segments.is_empty() {
            return Err(OpenError::Store { what: "missing, and there are segments" });
        }
        if let Some((_, byte_len)) = known {
            let store = read(disk, *byte_len)?;
            remove_leftovers(disk, &names)?;
            remove_joined(disk, store, &joined)?;
            return Ok(Self { store, created, segments });
        }
        remove_leftovers(disk, &names)?;
        Ok(Self { store: create(disk)?, created, segments })
    }
}

/// The segment files in a directory.
pub(super) struct Listed {
    /// In the order of their numbers.
    pub(super) segments: Vec<SegmentFile>,
    /// Files whose segments were joined in another one, which is the second: a crash came before they were removed.
    pub(super) joined: Vec<(SegmentFile, SegmentFile)>,
}

impl Listed {
    pub(super) fn of(names: &[(String, u64)]) -> Self {
        let file = |(name, byte_len): &(String, u64)| {
            Some(SegmentFile { numbers: SegmentNumbers::of_name(name)?, byte_len: *byte_len })
        };
        let mut all: Vec<SegmentFile> = names.iter().filter_map(file).collect();
        // One that holds others comes before them.
        all.sort_unstable_by_key(|file| (file.numbers.first, std::cmp::Reverse(file.numbers.last)));
        let (mut segments, mut joined) = (Vec::<SegmentFile>::new(), Vec::new());
        for file in all {
            match segments.last() {
                Some(before) if file.numbers.last <= before.numbers.last => joined.push((file, *before)),
                _ => segments.push(file),
            }
        }
        Self { segments, joined }
    }
}

/// Whether the journal on `disk` still has all frames from the first on, so that everything can be made again.
pub(crate) fn reaches_back(disk: &dyn Disk) -> io::Result<bool> {
    let segments = Listed::of(&disk.list()?).segments;
    if segments.first().is_none_or(|oldest| oldest.numbers.first != 1) {
        return Ok(false);
    }
    for segment in segments {
        let mut page = [0; PAGE_BYTES];
        let file = disk.open(&segment.numbers.name())?;
        file.read_at(&mut [IoSliceMut::new(&mut page)], 0)?;
        if SegmentHeader::decode(&page).is_ok_and(|header| header.kind == SegmentKind::Settled) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The first frame from which on the journal on `disk` has all of them, if the headers of its segments tell.
pub(crate) fn oldest_frame(disk: &dyn Disk) -> io::Result<Option<FrameNumber>> {
    let mut oldest = None;
    for SegmentFile { numbers, .. } in Listed::of(&disk.list()?).segments {
        let mut page = [0; PAGE_BYTES];
        disk.open(&numbers.name())?.read_at(&mut [IoSliceMut::new(&mut page)], 0)?;
        match SegmentHeader::decode(&page).ok().filter(|header| header.numbers == numbers) {
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

/// Removes what was joined, if the file in its place is what it should be. Synced at once: were one of them found when
/// that file is gone, its events would come back.
fn remove_joined(
    disk: &dyn Disk,
    store: u128,
    joined: &[(SegmentFile, SegmentFile)],
) -> Result<(), OpenError> {
    for (source, whole) in joined {
        let file = disk.open(&whole.numbers.name())?;
        if read_segment_header(&*file, store, whole.numbers)?.is_err() {
            return Err(OpenError::Broken {
                place: Place { segment: whole.numbers.first, byte: 0 },
                what: "the segment's header is not one of this store",
            });
        }
        disk.remove(&source.numbers.name())?;
    }
    if joined.is_empty() { Ok(()) } else { Ok(disk.sync_directory()?) }
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
