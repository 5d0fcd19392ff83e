//! A sound journal with bytes of it written over: opened or refused, read or refused, never a panic.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tidemill_bus::block::body_crc;
use tidemill_bus::disk::Disk;
use tidemill_bus::journal::{
    Delta, FrameParts, Housekeeping, Journal, JournalOptions, PlacedBlock, ReadHint, Seek,
};
use tidemill_bus::testing::FakeDisk;
use tidemill_bus::transaction::NewBlock;
use tidemill_bus::{
    Columns, DriverKey, Event, FrameNumber, HandlerId, Lane, Offset, Partition, TopicId, TopicPartition,
};

const SOURCE: TopicPartition = TopicPartition { topic: TopicId(1), partition: Partition(0) };

static SOUND: LazyLock<FakeDisk> = LazyLock::new(|| {
    let disk = FakeDisk::new(0);
    let mut journal = open(&disk).expect("an empty disk opens");
    for offset in 0..6 {
        let mut columns = Columns::default();
        columns.push(Event { time: 0, key: None, headers: &[], value: Some(&[7; 100]) });
        let body_crc = body_crc(&columns, None);
        let block = NewBlock { target: SOURCE, columns: Arc::new(columns), cause: None, body_crc };
        let blocks = [PlacedBlock { block, first: Offset(offset), append_time: 0, compressed: None }];
        let deltas = [Delta { owner: driver(offset), bytes: b"delta" }];
        journal.append(FrameParts { blocks: &blocks, deltas: &deltas }).expect("the disk is sound");
        journal.sync().expect("the disk is sound");
    }
    disk
});

fn driver(handler: u64) -> DriverKey {
    DriverKey { handler: HandlerId(handler), partition: Partition(0), lane: Lane(0) }
}

fn open(disk: &FakeDisk) -> Option<Journal> {
    let options = JournalOptions {
        segment_bytes: 16 << 10,
        first_segment_bytes: 16 << 10,
        housekeeping: Housekeeping::Inline,
        ..JournalOptions::default()
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Journal::open(disk, options, FrameNumber(0), &mut |_, _| Ok(())).ok().map(|(journal, _)| journal)
}

// The input is a row of changes: file, place (two bytes), number of bytes, bytes.
fuzz_target!(|changes: &[u8]| {
    let disk = SOUND.copy(0);
    let names: Vec<String> =
        disk.list().expect("the disk is sound").into_iter().map(|(name, _)| name).collect();
    let mut rest = changes;
    while let Some((&[file, low, high, len], tail)) = rest.split_first_chunk() {
        let (new, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        let name = &names[usize::from(file) % names.len()];
        let mut bytes = disk.bytes(name).expect("the file is there");
        let at = usize::from(u16::from_le_bytes([low, high])) % bytes.len();
        let end = (at + new.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&new[..end - at]);
        disk.put(name, &bytes);
    }
    let Some(journal) = open(&disk) else { return };
    let reader = journal.reader();
    for offset in 0..6 {
        if let Ok(Some(place)) = reader.find(SOURCE, Seek::Offset(Offset(offset)), &mut ReadHint::default()) {
            let _ = reader.read(&place);
        }
    }
});
