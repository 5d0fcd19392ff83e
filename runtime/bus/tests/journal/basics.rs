//! What a journal does when nothing goes wrong, and what it says when something does.

use std::io;
use std::sync::{Arc, Mutex};

use tidemill_bus::disk::{Disk, DiskFile, Pace, RealDisk};
use tidemill_bus::journal::format::{FrameHeader, SectionHeader};
use tidemill_bus::journal::{
    AppendError, FrameParts, Housekeeping, Journal, JournalOptions, OpenError, ReadHint, Seek,
};
use tidemill_bus::limits::{BLOCK_BYTES_MAX, FRAME_BYTES_MAX, SEGMENT_BYTES_MAX};
use tidemill_bus::testing::{FakeDisk, Fault};
use tidemill_bus::{DriverKey, FrameNumber, Offset};

use crate::history::options;
use crate::model::{block, open, partition};

pub(crate) fn fake() -> (FakeDisk, Arc<dyn Disk>) {
    let fake = FakeDisk::new(1);
    (fake.clone(), Arc::new(fake))
}

pub(crate) fn append(journal: &mut Journal, offset: u64, bytes: usize) -> Result<FrameNumber, AppendError> {
    let value = vec![7; bytes];
    let blocks = [block(partition(0), offset, 10 + offset.cast_signed(), &[&value], false)];
    journal.append(FrameParts { blocks: &blocks, deltas: &[] })
}

#[test]
fn a_new_store_is_empty_and_says_so() {
    let (_, disk) = fake();
    let (journal, recovery, replayed) = open(&disk, options(), 0).unwrap();
    assert!(recovery.created && !recovery.clean && recovery.cut.is_none() && replayed.is_empty());
    assert_eq!((journal.last(), journal.oldest(), journal.bytes()), (FrameNumber(0), FrameNumber(1), 0));
}

#[test]
fn a_closed_store_opens_clean() {
    let (_, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    append(&mut journal, 0, 10).unwrap();
    journal.close().unwrap();
    let (_, recovery, replayed) = open(&disk, options(), 0).unwrap();
    assert!(recovery.clean && !recovery.created && recovery.cut.is_none());
    assert_eq!((recovery.last, replayed.len()), (FrameNumber(2), 1));
}

#[test]
fn a_frame_larger_than_a_segment_gets_a_segment_of_its_own() {
    let (_, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    for offset in 0..4 {
        append(&mut journal, offset, 100 << 10).unwrap();
    }
    let reader = journal.reader();
    for offset in 0..4 {
        let found = reader.find(partition(0), Seek::Offset(Offset(offset)), &mut ReadHint::default());
        assert_eq!(reader.read(&found.unwrap().unwrap()).unwrap().columns.data.len(), 1 + (100 << 10));
    }
}

#[test]
fn thousands_of_blocks_in_a_frame_are_found() {
    let (_, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    let frame = |first| {
        (0..3_000).map(move |number| block(partition(number), first, 5, &[b"value"], number % 2 == 0))
    };
    for first in 0..3 {
        let blocks: Vec<_> = frame(first).collect();
        journal.append(FrameParts { blocks: &blocks, deltas: &[] }).unwrap();
    }
    journal.close().unwrap();
    let (journal, ..) = open(&disk, options(), 0).unwrap();
    let reader = journal.reader();
    for number in (0..3_000).step_by(7) {
        for first in 0..3 {
            let seek = Seek::Offset(Offset(first));
            let place = reader.find(partition(number), seek, &mut ReadHint::default()).unwrap().unwrap();
            assert_eq!(reader.read(&place).unwrap().header.first, Offset(first));
        }
    }
}

#[test]
fn a_reader_keeps_its_segment_from_being_used_again() {
    let (_, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    for offset in 0..40 {
        append(&mut journal, offset, 8 << 10).unwrap();
    }
    let last = journal.sync().unwrap();
    let reader = journal.reader();
    let pinned =
        reader.find(partition(0), Seek::Offset(Offset(0)), &mut ReadHint::default()).unwrap().unwrap();
    assert!(journal.release(last, &mut |_| true).unwrap() > 2);
    for offset in 40..80 {
        append(&mut journal, offset, 8 << 10).unwrap();
    }
    assert_eq!(reader.read(&pinned).unwrap().header.first, Offset(0));
    let first =
        reader.find(partition(0), Seek::Offset(Offset(0)), &mut ReadHint::default()).unwrap().unwrap();
    assert!(first.first > Offset(0) && journal.oldest() > FrameNumber(1));
}

#[test]
fn released_segments_are_used_again_or_removed() {
    let (_, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    for offset in 0..400 {
        append(&mut journal, offset, 8 << 10).unwrap();
        let last = journal.sync().unwrap();
        journal.release(last, &mut |_| true).unwrap();
    }
    assert!(disk.list().unwrap().len() <= 5, "{:?}", disk.list().unwrap());
    assert!(journal.bytes() <= 2 * options().segment_bytes);
}

#[test]
fn nothing_is_released_that_is_not_persisted_or_not_agreed_to() {
    let (_, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    for offset in 0..40 {
        append(&mut journal, offset, 8 << 10).unwrap();
    }
    let last = journal.sync().unwrap();
    assert_eq!(journal.release(FrameNumber(1), &mut |_| true).unwrap(), 0);
    assert_eq!(journal.release(last, &mut |_| false).unwrap(), 0);
    let mut seen = Vec::new();
    journal
        .release(last, &mut |summary| {
            seen.push((summary.partitions[0].first, summary.partitions[0].end, summary.newest));
            true
        })
        .unwrap();
    assert_eq!(seen[0].0, Offset(0));
    assert!(seen.windows(2).all(|pair| pair[0].1 == pair[1].0));
    assert!(seen.iter().all(|(_, end, newest)| *newest == Some(9 + end.0.cast_signed())));
}

#[test]
fn tables_that_are_ahead_or_too_far_behind_are_refused() {
    let (_, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    for offset in 0..40 {
        append(&mut journal, offset, 8 << 10).unwrap();
    }
    let last = journal.sync().unwrap();
    journal.release(last, &mut |_| true).unwrap();
    for offset in 40..80 {
        append(&mut journal, offset, 8 << 10).unwrap();
    }
    journal.close().unwrap();
    assert!(matches!(open(&disk, options(), 0), Err(OpenError::TablesBehind { .. })));
    assert!(matches!(open(&disk, options(), 1_000), Err(OpenError::TablesAhead { .. })));
    open(&disk, options(), last.0).unwrap();
}

#[test]
fn a_failed_write_or_sync_poisons_the_journal() {
    for failing in 0..2 {
        let (fake, disk) = fake();
        let (mut journal, ..) = open(&disk, options(), 0).unwrap();
        append(&mut journal, 0, 10).unwrap();
        journal.sync().unwrap();
        fake.fail_at(fake.calls() + failing, Fault::Io);
        let failed = append(&mut journal, 1, 10).map(|_| ()).is_err() || journal.sync().is_err();
        assert!(failed);
        assert!(matches!(append(&mut journal, 2, 10), Err(AppendError::Poisoned(_))));
        assert!(journal.sync().is_err());
        assert_eq!(journal.synced(), FrameNumber(1));
    }
}

#[test]
fn a_full_disk_refuses_the_frame_and_can_be_tried_again() {
    let (fake, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    append(&mut journal, 0, 20 << 10).unwrap();
    fake.fail_at(fake.calls(), Fault::Full);
    assert!(matches!(append(&mut journal, 1, 20 << 10), Err(AppendError::Prepare(_))));
    append(&mut journal, 1, 20 << 10).unwrap();
    assert_eq!(journal.sync().unwrap(), FrameNumber(2));
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let (fake, disk) = fake();
    open(&disk, options(), 0).unwrap();
    let mut bytes = fake.bytes("STORE").unwrap();
    bytes[12] = 7;
    let crc = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    fake.put("STORE", &bytes);
    let error = open(&disk, options(), 0).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the store has format version 7, this binary reads up to 1: use a newer Tidemill"
    );
}

/// A frame that follows the last one, with one section, as any version may have written it.
fn append_by_hand(fake: &FakeDisk, at: u64, section: SectionHeader, version: u8) {
    let name = "00000000000000000001.segment";
    let mut bytes = fake.bytes(name).unwrap();
    let before = usize::try_from(at).unwrap() - 4096;
    let (last, previous_crc) = FrameHeader::decode(&bytes[before..]).unwrap();
    let number = last.number.next();
    let header = FrameHeader { number, previous_crc, sections: vec![section], ..last };
    let mut frame = Vec::new();
    header.encode(&mut frame);
    frame[12] = version;
    let crc = crc32c::crc32c(&frame[12..]);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
    let at = before + 4096;
    bytes[at..at + frame.len()].copy_from_slice(&frame);
    fake.put(name, &bytes);
}

#[test]
fn an_unknown_section_is_skipped_unless_it_is_required() {
    for (required, version, said) in [
        (false, 1, None),
        (true, 1, Some("frame 2 has a section of the unknown kind 9: use a newer Tidemill")),
        (false, 3, Some("the store has format version 3, this binary reads up to 1: use a newer Tidemill")),
    ] {
        let (fake, disk) = fake();
        let (mut journal, ..) = open(&disk, options(), 0).unwrap();
        append(&mut journal, 0, 10).unwrap();
        journal.sync().unwrap();
        drop(journal);
        let section = SectionHeader { kind: 9, required, crc: 0, owner: DriverKey::NONE, byte_len: 0 };
        append_by_hand(&fake, 8192, section, version);
        let opened = open(&disk, options(), 0);
        assert_eq!(opened.as_ref().err().map(ToString::to_string).as_deref(), said);
        if let Ok((mut journal, recovery, _)) = opened {
            assert_eq!(recovery.last, FrameNumber(2));
            assert_eq!(append(&mut journal, 1, 10).unwrap(), FrameNumber(3));
        }
    }
}

#[test]
fn a_cut_is_reported_with_its_place_and_what_was_cut_never_comes_back() {
    let (fake, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    append(&mut journal, 0, 10).unwrap();
    journal.sync().unwrap();
    append(&mut journal, 1, 10).unwrap();
    append(&mut journal, 2, 10).unwrap();
    drop(journal);
    let name = "00000000000000000001.segment";
    let mut bytes = fake.bytes(name).unwrap();
    bytes[8192 + 200] ^= 1;
    fake.put(name, &bytes);
    let (mut journal, recovery, replayed) = open(&disk, options(), 0).unwrap();
    let cut = recovery.cut.unwrap();
    assert_eq!(
        (cut.frame, cut.place.to_string(), cut.bytes),
        (FrameNumber(2), "segment 1 byte 8192".into(), 8192)
    );
    assert_eq!((recovery.last, replayed.len()), (FrameNumber(1), 1));
    // The same frame again, in the same place: the old third frame stands behind it, and must not follow it.
    append(&mut journal, 1, 10).unwrap();
    drop(journal);
    let (journal, recovery, _) = open(&disk, options(), 0).unwrap();
    assert_eq!((recovery.last, recovery.cut), (FrameNumber(2), None));
    assert_eq!(journal.last(), FrameNumber(2));
}

#[test]
fn a_segment_whose_footer_a_crash_took_is_sealed_again() {
    let (fake, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    for offset in 0..12 {
        append(&mut journal, offset, 8 << 10).unwrap();
    }
    let last = journal.sync().unwrap();
    drop(journal);
    let name = "00000000000000000003.segment";
    let whole = fake.bytes(name).unwrap();
    let mut bytes = whole.clone();
    bytes[(64 << 10) - 500..].fill(0);
    fake.put(name, &bytes);
    let (mut journal, ..) = open(&disk, options(), last.0).unwrap();
    assert!(fake.bytes(name).unwrap() == whole);
    let reader = journal.reader();
    for offset in 0..12 {
        let seek = Seek::Offset(Offset(offset));
        let place = reader.find(partition(0), seek, &mut ReadHint::default()).unwrap().unwrap();
        assert_eq!(reader.read(&place).unwrap().header.first, Offset(offset));
    }
    assert!(journal.release(last, &mut |_| true).unwrap() >= 2);
}

/// A disk whose files in the making are looked at: name, bytes, bytes that are zero so far. An error ends the making.
struct Observed<Look> {
    disk: Arc<dyn Disk>,
    look: Look,
}

impl<Look: Fn(&str, u64, u64) -> io::Result<()> + Send + Sync + 'static> Disk for Observed<Look> {
    fn create_paced(&self, name: &str, len: u64, pace: &mut Pace<'_>) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create_paced(name, len, &mut |filled| {
            (self.look)(name, len, filled)?;
            pace(filled)
        })
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

#[test]
fn a_segment_has_a_bound_whatever_the_options_say() {
    let asked: Arc<Mutex<Vec<u64>>> = Arc::default();
    let little_room = {
        let asked = Arc::clone(&asked);
        move |_: &str, len, _| {
            asked.lock().unwrap().push(len);
            if len > 1 << 20 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    };
    let disk: Arc<dyn Disk> = Arc::new(Observed { disk: fake().1, look: little_room });
    let options = JournalOptions { first_segment_bytes: u64::MAX, ..options() };
    let (mut journal, ..) = open(&disk, options, 0).unwrap();
    assert!(matches!(append(&mut journal, 0, 10), Err(AppendError::Prepare(_))));
    assert_eq!(asked.lock().unwrap().last(), Some(&SEGMENT_BYTES_MAX));
}

#[test]
fn a_block_that_no_reader_would_take_is_refused() {
    let (_, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    let value = vec![0; usize::try_from(BLOCK_BYTES_MAX).unwrap()];
    let blocks = [block(partition(0), 0, 1, &[&value], false)];
    let refused = journal.append(FrameParts { blocks: &blocks, deltas: &[] });
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    append(&mut journal, 0, 10).unwrap();
}

#[test]
fn a_frame_beyond_the_bound_is_refused() {
    let (_, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    let value = vec![0; usize::try_from(BLOCK_BYTES_MAX / 2).unwrap()];
    // The blocks share their columns, so that only the frame is large.
    let one = block(partition(0), 0, 1, &[&value], false);
    let blocks = vec![one; usize::try_from(FRAME_BYTES_MAX / (BLOCK_BYTES_MAX / 2)).unwrap()];
    match journal.append(FrameParts { blocks: &blocks, deltas: &[] }) {
        Err(AppendError::TooLarge { bytes, limit }) => {
            assert!(bytes > limit && limit == FRAME_BYTES_MAX, "{bytes}");
        }
        other => panic!("{other:?}"),
    }
    append(&mut journal, 0, 10).unwrap();
}

#[test]
fn the_next_segment_is_filled_as_the_current_one_is_and_not_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let zeros: Arc<Mutex<(String, u64)>> = Arc::default();
    let look = {
        let zeros = Arc::clone(&zeros);
        move |name: &str, _, filled| {
            *zeros.lock().unwrap() = (name.to_owned(), filled);
            Ok(())
        }
    };
    let disk = Arc::new(RealDisk::open(directory.path()).unwrap());
    let disk: Arc<dyn Disk> = Arc::new(Observed { disk, look });
    let bytes = 8 << 20;
    let housekeeping = Housekeeping::Thread;
    let options =
        JournalOptions { housekeeping, first_segment_bytes: bytes, segment_bytes: bytes, ..options() };
    let (mut journal, ..) = open(&disk, options, 0).unwrap();
    // A quarter of a segment is written: half of the next one may be zeros, and is at some time.
    for offset in 0..32 {
        append(&mut journal, offset, 64 << 10).unwrap();
    }
    let second = "00000000000000000002.segment.new";
    loop {
        let (name, filled) = zeros.lock().unwrap().clone();
        assert!(name.as_str() < second || filled <= bytes / 2 + (1 << 20), "{name} {filled}");
        if name == second && filled >= bytes / 2 - (1 << 20) {
            break;
        }
        std::thread::yield_now();
    }
    // Who closes does not wait for the rest, and it is taken away.
    journal.close().unwrap();
    let files = disk.list().unwrap();
    assert!(!files.iter().any(|(name, _)| name.contains(".new")), "{files:?}");
    let (mut journal, recovery, _) = open(&disk, options, 0).unwrap();
    assert!(recovery.clean);
    for offset in 32..400 {
        append(&mut journal, offset, 64 << 10).unwrap();
    }
    journal.sync().unwrap();
    assert!(journal.reader().segment_bytes() >= 3 * bytes);
}

#[test]
fn the_real_disk_and_the_thread_do_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(directory.path()).unwrap());
    let options = JournalOptions { housekeeping: Housekeeping::Thread, ..options() };
    let (mut journal, ..) = open(&disk, options, 0).unwrap();
    let reader = journal.reader();
    let reading = std::thread::spawn(move || {
        let (mut hint, mut next) = (ReadHint::default(), 0);
        while next < 300 {
            if let Some(place) = reader.find(partition(0), Seek::Offset(Offset(next)), &mut hint).unwrap() {
                let block = reader.read(&place).unwrap();
                assert_eq!(block.header.first, Offset(next));
                next += 1;
            }
        }
    });
    for offset in 0..300 {
        append(&mut journal, offset, 3 << 10).unwrap();
        journal.sync().unwrap();
    }
    reading.join().unwrap();
    let last = journal.sync().unwrap();
    let bytes = journal.bytes();
    assert!(journal.release(last, &mut |_| true).unwrap() > 0);
    assert!(journal.bytes() < bytes);
    journal.close().unwrap();
    let (journal, recovery, _) = open(&disk, options, last.0).unwrap();
    assert!(recovery.clean);
    let place = journal.reader().find(partition(0), Seek::Offset(Offset(299)), &mut ReadHint::default());
    assert_eq!(journal.reader().read(&place.unwrap().unwrap()).unwrap().header.first, Offset(299));
}
