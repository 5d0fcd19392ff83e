//! What is broken in a journal: found, named with its place, gone past where that is safe, and never served.

use std::sync::Arc;

use tidemill_bus::Offset;
use tidemill_bus::disk::Disk;
use tidemill_bus::journal::{BlockError, Delta, FrameParts, ReadHint, Seek};
use tidemill_bus::testing::FakeDisk;

use crate::basics::{append, fake};
use crate::flips::{closed_journal, small};
use crate::history::options;
use crate::model::{open, owner, partition};

#[test]
fn a_broken_block_is_named_and_never_served() {
    let (fake, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    append(&mut journal, 0, 5_000).unwrap();
    append(&mut journal, 1, 5_000).unwrap();
    let reader = journal.reader();
    let place =
        reader.find(partition(0), Seek::Offset(Offset(1)), &mut ReadHint::default()).unwrap().unwrap();
    let name = "00000000000000000001.segment";
    let mut bytes = fake.bytes(name).unwrap();
    bytes[4096 + 8192 + 3000] ^= 1;
    let file = fake.open(name).unwrap();
    file.write_at(&[std::io::IoSlice::new(&bytes)], 0).unwrap();
    let error = reader.read(&place).unwrap_err();
    assert!(matches!(error, BlockError::Broken { .. }));
    assert!(error.to_string().contains("topic 9 partition 0 at segment 1 byte"), "{error}");
}

#[test]
fn a_broken_delta_is_replayed_as_broken_with_its_owner() {
    let (fake, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    journal
        .append(FrameParts { blocks: &[], deltas: &[Delta { owner: owner(6), bytes: b"some bytes" }] })
        .unwrap();
    journal.close().unwrap();
    let name = "00000000000000000001.segment";
    let mut bytes = fake.bytes(name).unwrap();
    let at = bytes.windows(10).position(|window| window == b"some bytes").unwrap();
    bytes[at] ^= 1;
    fake.put(name, &bytes);
    let (_, _, replayed) = open(&disk, options(), 0).unwrap();
    assert_eq!(replayed[&1], [format!("{}: broken", owner(6))]);
}

#[test]
fn a_missing_segment_is_named() {
    let (_, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    for offset in 0..40 {
        append(&mut journal, offset, 8 << 10).unwrap();
    }
    journal.close().unwrap();
    disk.remove("00000000000000000002.segment").unwrap();
    assert_eq!(open(&disk, options(), 0).err().unwrap().to_string(), "segment 2 is missing");
}

/// A journal of some frames of a page each, and the byte at which frame `number` begins.
fn pages() -> (FakeDisk, Arc<dyn Disk>, impl Fn(usize) -> usize) {
    let (fake, disk) = fake();
    let (mut journal, ..) = open(&disk, options(), 0).unwrap();
    for offset in 0..5 {
        append(&mut journal, offset, 10).unwrap();
        journal.sync().unwrap();
    }
    journal.close().unwrap();
    (fake, disk, |number| 4096 * number)
}

#[test]
fn one_broken_byte_of_a_frame_s_header_is_read_as_it_was_written() {
    let (fake, disk, at) = pages();
    let name = "00000000000000000001.segment";
    let sound = fake.bytes(name).unwrap();
    let (_, _, expected) = open(&disk, options(), 0).unwrap();
    for byte in (at(3)..at(3) + 112).chain([at(1) + 40]) {
        let mut bytes = sound.clone();
        bytes[byte] ^= 0x5a;
        let copy = fake.copy(1);
        copy.put(name, &bytes);
        let disk: Arc<dyn Disk> = Arc::new(copy);
        let (journal, recovery, replayed) = open(&disk, options(), 0).unwrap();
        assert_eq!((recovery.frames_mended, recovery.lost.len(), recovery.cut), (1, 0, None), "byte {byte}");
        assert!(recovery.clean && replayed == expected);
        let reader = journal.reader();
        for offset in (0..5).map(Offset) {
            let seek = Seek::Offset(offset);
            let place = reader.find(partition(0), seek, &mut ReadHint::default()).unwrap().unwrap();
            assert_eq!(reader.read(&place).unwrap().header.first, offset);
        }
    }
}

#[test]
fn a_broken_header_is_gone_past_and_told_of_if_its_frame_is_not_in_the_tables() {
    let (fake, disk, at) = pages();
    let name = "00000000000000000001.segment";
    let mut bytes = fake.bytes(name).unwrap();
    bytes[at(2)..at(4)].fill(0x77);
    fake.put(name, &bytes);
    let (_, recovery, replayed) = open(&disk, options(), 2).unwrap();
    assert_eq!(replayed[&3], ["1 to 4 are lost"]);
    assert_eq!(replayed.keys().copied().collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!((recovery.lost[0].place.byte, recovery.lost[0].bytes), (8192, 8192));
    let (journal, recovery, replayed) = open(&disk, options(), 3).unwrap();
    let [lost] = recovery.lost[..] else { panic!("{recovery:?}") };
    assert_eq!((lost.after.0, lost.before.0, lost.place.byte), (1, 4, 8192));
    assert_eq!((recovery.last.0, recovery.cut), (6, None));
    assert_eq!(replayed.keys().copied().collect::<Vec<_>>(), [4, 5]);
    let find = |offset| {
        let seek = Seek::Offset(Offset(offset));
        journal.reader().find(partition(0), seek, &mut ReadHint::default()).unwrap().unwrap().first.0
    };
    assert_eq!([0, 1, 2, 3, 4].map(find), [0, 3, 3, 3, 4]);
}

#[test]
fn an_index_that_is_made_again_goes_past_a_frame_that_is_lost() {
    let (fake, frames) = closed_journal();
    let name = "00000000000000000001.segment";
    let sound = fake.bytes(name).unwrap();
    let headers: Vec<usize> =
        (0..sound.len()).step_by(4096).filter(|&at| sound[at..].starts_with(b"TMFRAME\0")).collect();
    assert!(headers.len() > 1, "{headers:?}");
    for (lost, at) in headers.iter().enumerate() {
        let mut bytes = sound.clone();
        bytes[at + 30..at + 60].fill(0x77);
        let trailer = bytes.len() - 40;
        bytes[trailer] ^= 1;
        let copy = fake.copy(1);
        copy.put(name, &bytes);
        let disk: Arc<dyn Disk> = Arc::new(copy);
        let (journal, recovery, _) = open(&disk, small(), 0).unwrap();
        assert_eq!((recovery.lost[0].after.0, recovery.lost[0].before.0), (lost as u64, lost as u64 + 2));
        let reader = journal.reader();
        for (index, placed) in
            frames.iter().enumerate().flat_map(|(at, frame)| frame.blocks.iter().map(move |it| (at, it)))
        {
            let source = placed.block.target;
            let place = reader.find(source, Seek::Offset(placed.first), &mut ReadHint::default()).unwrap();
            if index == lost {
                assert!(place.is_none_or(|place| place.first > placed.first));
            } else {
                assert_eq!(reader.read(&place.unwrap()).unwrap().columns, placed.block.columns);
            }
        }
    }
}
