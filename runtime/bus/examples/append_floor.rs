//! What the journal costs above its floor: 1 MiB of 100-byte records, checksummed, appended to a file of zeros
//! and synced, against the same records as one frame of the journal.
//!
//! `cargo run --release -p tidemill-bus --example append_floor [DIRECTORY]`

use std::error::Error;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_bus::block::body_crc;
use tidemill_bus::disk::{Disk, DiskFile, RealDisk};
use tidemill_bus::journal::{FrameParts, Journal, JournalOptions, PlacedBlock};
use tidemill_bus::transaction::NewBlock;
use tidemill_bus::{Columns, Event, FrameNumber, Offset, Partition, TopicId, TopicPartition};

/// Bytes of each record, with the 20 that its lengths and its time take.
const RECORD_BYTES: usize = 100;
/// Records of a write: about 1 MiB, and a whole number for each partition.
const RECORDS: u32 = 10_000;
/// Writes of each kind in a round, and rounds: the kinds take turns, so that both see the same disk.
const WRITES: u32 = 100;
const ROUNDS: u32 = 5;
/// Frames that are kept before the oldest segment is given up, as retention would.
const FRAMES_KEPT: u64 = 128;
/// Writes before the clock starts: until segments are used again instead of being filled with zeros.
const WARM_UP: u32 = 400;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let directory = tempfile::tempdir_in(directory)?;
    println!("{RECORDS} records of {RECORD_BYTES} bytes a write, {ROUNDS} rounds of {WRITES} writes");
    for partitions in [1, 16, 1_000] {
        let path = directory.path().join(partitions.to_string());
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&path)?);
        let (mut journal, _) =
            Journal::open(Arc::clone(&disk), JournalOptions::default(), FrameNumber(0), &mut |_, _| Ok(()))?;
        let file = RealDisk::open(directory.path())?.create(&format!("floor-{partitions}"), 64 << 20)?;
        file.sync_data()?;
        let mut blocks = blocks(partitions);
        write_journal(&mut journal, &mut blocks, WARM_UP)?;
        let (mut floor, mut above) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..ROUNDS {
            floor += write_floor(&*file, WRITES)?;
            above += write_journal(&mut journal, &mut blocks, WRITES)?;
        }
        let rate = |took: Duration| f64::from(ROUNDS * WRITES * RECORDS) / took.as_secs_f64() / 1e6;
        println!(
            "{partitions:>5} partitions: floor {:.2} M records/s, journal {:.2} M records/s, ratio {:.2}",
            rate(floor),
            rate(above),
            rate(above) / rate(floor)
        );
        journal.close()?;
    }
    Ok(())
}

/// The records of one write as blocks, one for each partition.
fn blocks(partitions: u32) -> Vec<PlacedBlock> {
    let value = [b'v'; RECORD_BYTES - Columns::BYTES_PER_EVENT];
    (0..partitions)
        .map(|partition| {
            let mut columns = Columns::default();
            for _ in 0..RECORDS / partitions {
                columns.push(Event { time: 0, key: None, headers: &[], value: Some(&value) });
            }
            let target = TopicPartition { topic: TopicId(1), partition: Partition(partition) };
            let block = NewBlock { target, columns: Arc::new(columns), cause: None, body_crc: 0 };
            PlacedBlock { block, first: Offset(0), append_time: 0, compressed: None }
        })
        .collect()
}

fn write_floor(file: &dyn DiskFile, writes: u32) -> Result<Duration, Box<dyn Error>> {
    let mut bytes = vec![b'v'; RECORDS as usize * RECORD_BYTES];
    let started = Instant::now();
    for write in 0..writes {
        let at = u64::from(write % 60) << 20;
        let crc = crc32c::crc32c(&bytes);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        file.write_at(&[IoSlice::new(&bytes)], at)?;
        file.sync_data()?;
    }
    Ok(started.elapsed())
}

fn write_journal(
    journal: &mut Journal,
    blocks: &mut [PlacedBlock],
    writes: u32,
) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    for _ in 0..writes {
        for placed in &mut *blocks {
            placed.block.body_crc = body_crc(&placed.block.columns, None);
            placed.first = placed.first.plus(placed.block.columns.len() as u64);
        }
        journal.append(FrameParts { blocks, deltas: &[] })?;
        let last = journal.sync()?;
        let old = FrameNumber(last.0.saturating_sub(FRAMES_KEPT));
        journal.release(old, &mut |_| true)?;
    }
    Ok(started.elapsed())
}
