//! How many 100-byte events a second are durably published: `cargo run --release -p tidemill-bus --example
//! publish -- [directory] [seconds] [bytes per block] [partitions]`. Workers keep requests in flight and
//! checksum each block; an event counts when its commit is answered.

#![expect(clippy::cast_precision_loss, reason = "figures for a reader")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tidemill_bus::block::body_crc;
use tidemill_bus::log::{Answer, Answered, Log, Outcome};
use tidemill_bus::store::{Hold, Retention, Store, StoreOptions};
use tidemill_bus::transaction::NewBlock;
use tidemill_bus::{Columns, Event, Partition, Transaction};

const EVENT_BYTES: usize = 100;
/// Bytes in flight: a few groups' worth.
const IN_FLIGHT_BYTES: usize = 8 << 20;

/// Counts what is in flight and what is done.
#[derive(Default)]
struct Window {
    state: Mutex<(usize, u64)>,
    freed: Condvar,
}

impl Answered for Window {
    fn answered(&self, events: u64, outcome: Outcome) {
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        let mut state = self.state.lock();
        state.0 -= 1;
        state.1 += events;
        drop(state);
        self.freed.notify_one();
    }
}

fn block_of(bytes: usize) -> Columns {
    let mut columns = Columns::default();
    let value = [b'v'; EVENT_BYTES - Columns::BYTES_PER_EVENT];
    while columns.byte_len() + EVENT_BYTES <= bytes.max(EVENT_BYTES) {
        columns.push(Event { time: 0, key: None, headers: &[], value: Some(&value) });
    }
    columns
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let directory =
        arguments.first().map_or_else(|| std::env::temp_dir().join("tidemill-publish"), PathBuf::from);
    let (seconds, bytes, partitions) = (number(1, 5)?, number(2, 64 << 10)?, number(3, 16)?);

    let retention = Retention { age: None, bytes: Some(1 << 30), hold: Hold::None };
    let store = Store::open(StoreOptions { retention, ..StoreOptions::new(&directory) })?;
    let partitions = u32::try_from(partitions)?;
    let topic = store.create_topic(&format!("bench-{partitions}"), Some(partitions))?;
    let columns = Arc::new(block_of(bytes));
    let window = Arc::new(Window::default());
    let in_flight_max = (IN_FLIGHT_BYTES / bytes).clamp(4, 16_384);

    let before = store.metrics();
    let start = Instant::now();
    let mut turn = 0;
    while start.elapsed() < Duration::from_secs(seconds as u64) {
        let mut state = window.state.lock();
        while state.0 >= in_flight_max {
            window.freed.wait(&mut state);
        }
        state.0 += 1;
        drop(state);
        turn = (turn + 1) % partitions;
        let block = NewBlock {
            target: topic.partition(Partition(turn)),
            columns: Arc::clone(&columns),
            cause: None,
            body_crc: body_crc(&columns, None),
        };
        let transaction = Transaction { blocks: vec![block], ..Transaction::default() };
        store.submit(transaction, Answer { to: Arc::clone(&window) as _, token: columns.len() as u64 });
    }
    store.close()?;
    let elapsed = start.elapsed().as_secs_f64();
    let (events, metrics) = (window.state.lock().1, store.metrics());
    let frames = metrics.frames - before.frames;
    println!(
        "{:.2} M events/s, {:.0} MB/s, {} frames of {:.0} KiB and {:.0} blocks, {:.2} ms a sync, {:.0} % of the time in syncs",
        events as f64 / elapsed / 1e6,
        events as f64 * EVENT_BYTES as f64 / elapsed / 1e6,
        frames,
        (metrics.frame_bytes - before.frame_bytes) as f64 / frames as f64 / 1024.0,
        events as f64 / columns.len() as f64 / frames as f64,
        metrics.sync_us as f64 / metrics.syncs as f64 / 1e3,
        metrics.sync_us as f64 / elapsed / 1e4,
    );
    drop(store);
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
