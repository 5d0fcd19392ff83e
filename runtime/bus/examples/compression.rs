//! What LZ4 saves and costs on real events: `cargo run --release -p tidemill-bus --example compression -- FILE.ndjson
//! [directory] [MiB] [events per block] [rounds]`. The lines of the file, again and again, are published durably to a
//! topic that is stored as it is and to one that is compressed, in turn, and read back after an opening, also in turn.
//! Rates are of the columns of events, whatever is stored of them; each is the best of its rounds.

#![expect(clippy::cast_precision_loss, reason = "figures for a reader")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tidemill_bus::block::{Compressed, body_crc, body_slices};
use tidemill_bus::log::{Answer, Answered, Log, Outcome, ReadLimit, Topic};
use tidemill_bus::store::{Store, StoreOptions};
use tidemill_bus::transaction::NewBlock;
use tidemill_bus::{
    Batch, Columns, Compression, Event, Offset, Partition, TopicPartition, TopicSettings, Transaction,
};

type Failed = Box<dyn std::error::Error>;

const IN_FLIGHT_BYTES: usize = 8 << 20;
const COMPRESSIONS: [Compression; 2] = [Compression::None, Compression::Lz4];

/// Counts what is in flight.
#[derive(Default)]
struct Window {
    bytes: Mutex<usize>,
    freed: Condvar,
}

impl Answered for Window {
    fn answered(&self, bytes: u64, outcome: Outcome) {
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        *self.bytes.lock() -= usize::try_from(bytes).unwrap_or(0);
        self.freed.notify_one();
    }
}

/// The file's lines in blocks; enough of them that no cache holds all, and no two blocks need be alike.
fn blocks_of(file: &Path, events: usize) -> Result<Vec<Arc<Columns>>, Failed> {
    let text = std::fs::read_to_string(file)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    for start in (0..lines.len()).step_by(events) {
        let mut columns = Columns::default();
        for line in lines.iter().cycle().skip(start).take(events) {
            columns.push(Event { time: 1, key: None, headers: &[], value: Some(line.as_bytes()) });
        }
        blocks.push(Arc::new(columns));
    }
    Ok(blocks)
}

/// Publishes blocks until there are so many bytes; bytes per second, durable.
fn publish(store: &Store, target: TopicPartition, blocks: &[Arc<Columns>], bytes: usize) -> (f64, usize) {
    let window = Arc::new(Window::default());
    let (start, mut published) = (Instant::now(), 0);
    for columns in blocks.iter().cycle() {
        let len = columns.byte_len();
        let mut in_flight = window.bytes.lock();
        while *in_flight > IN_FLIGHT_BYTES {
            window.freed.wait(&mut in_flight);
        }
        *in_flight += len;
        drop(in_flight);
        let columns = Arc::clone(columns);
        let block = NewBlock { target, body_crc: body_crc(&columns, None), columns, cause: None };
        let transaction = Transaction { blocks: vec![block], ..Transaction::default() };
        store.submit(transaction, Answer { to: Arc::clone(&window) as _, token: len as u64 });
        published += len;
        if published >= bytes {
            break;
        }
    }
    let mut in_flight = window.bytes.lock();
    while *in_flight > 0 {
        window.freed.wait(&mut in_flight);
    }
    (published as f64 / start.elapsed().as_secs_f64(), published)
}

/// Reads a partition from its beginning; bytes per second.
fn read(store: &Store, source: TopicPartition) -> Result<f64, Failed> {
    let limit = ReadLimit { events: usize::MAX, bytes: 64 << 10 };
    let (mut batch, mut next, mut bytes) = (Batch::new(source), Offset(0), 0);
    let start = Instant::now();
    loop {
        batch.reset(source);
        let end = store.read(source, next, limit, &mut batch)?;
        bytes += batch.columns.byte_len();
        next = end.next;
        if end.next == end.end {
            return Ok(bytes as f64 / start.elapsed().as_secs_f64());
        }
    }
}

/// LZ4 alone, on one core: what is left, and bytes per second.
fn compress(blocks: &[Arc<Columns>]) -> (f64, f64) {
    let target = TopicPartition { topic: tidemill_bus::TopicId(1), partition: Partition(0) };
    let (mut whole, mut stored, start) = (0, 0, Instant::now());
    while start.elapsed().as_millis() < 500 {
        for columns in blocks {
            let block = NewBlock { target, columns: Arc::clone(columns), cause: None, body_crc: 0 };
            let compressed = Compressed::of(&body_slices(&block));
            whole += block.byte_len();
            stored += compressed.map_or(block.byte_len(), |body| body.bytes().len());
        }
    }
    (stored as f64 / whole as f64, whole as f64 / start.elapsed().as_secs_f64())
}

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = arguments.first().map(PathBuf::from).ok_or("which file of lines?")?;
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let directory = arguments.get(1).map_or_else(|| std::env::temp_dir().join("tidemill-lz4"), PathBuf::from);
    let (bytes, events, rounds) = (number(2, 256)? << 20, number(3, 200)?, number(4, 3)?);
    let blocks = blocks_of(&file, events)?;
    let block_bytes = blocks.iter().map(|columns| columns.byte_len()).sum::<usize>() / blocks.len();
    let (ratio, rate) = compress(&blocks);
    println!(
        "{} blocks of {:.0} KiB; LZ4 alone leaves {ratio:.3}, {:.0} MB/s",
        blocks.len(),
        block_bytes as f64 / 1024.0,
        rate / 1e6
    );

    let (mut append, mut stored, mut published, mut reads) = ([0_f64; 2], [0_u64; 2], [0; 2], [0_f64; 2]);
    let store = Store::open(StoreOptions::new(&directory))?;
    let mut topics: Vec<Topic> = Vec::new();
    for compression in COMPRESSIONS {
        let settings = TopicSettings { compression, ..TopicSettings::default() };
        topics.push(store.create_topic_with(compression.name(), Some(1), settings)?);
    }
    for _ in 0..rounds {
        for (index, topic) in topics.iter().enumerate() {
            let (rate, bytes) = publish(&store, topic.partition(Partition(0)), &blocks, bytes / rounds);
            append[index] = append[index].max(rate);
            published[index] += bytes;
        }
    }
    for (index, topic) in topics.iter().enumerate() {
        stored[index] = store.topic_bytes()[&topic.id];
    }
    store.close()?;
    drop(store);
    let store = Store::open(StoreOptions::new(&directory))?;
    for _ in 0..rounds {
        for (index, topic) in topics.iter().enumerate() {
            reads[index] = reads[index].max(read(&store, topic.partition(Partition(0)))?);
        }
    }
    for (index, compression) in COMPRESSIONS.iter().enumerate() {
        println!(
            "{:>4}: {:.3} of the columns stored, append {:.0} MB/s, read {:.0} MB/s",
            compression.name(),
            stored[index] as f64 / published[index] as f64,
            append[index] / 1e6,
            reads[index] / 1e6,
        );
    }
    let size = (stored[1] as f64 / published[1] as f64) / (stored[0] as f64 / published[0] as f64);
    println!(
        "lz4 to none: size {size:.3}, append {:.2}, read {:.2}",
        append[1] / append[0],
        reads[1] / reads[0],
    );
    drop(store);
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
