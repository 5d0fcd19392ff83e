//! How long a large store takes to open: `cargo run --release -p tidemill-bus --example opening -- [directory]
//! [GiB of events] [MiB of deltas] [bytes per value]`. The deltas are those that no checkpoint has brought into the
//! tables. Steps that leave a store behind as a crash does run in a process of their own, which just exits.
//! One of them alone (`events`, `deltas`, `open`, named after the sizes) keeps the store, to be opened again and again.

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tidemill_bus::block::body_crc;
use tidemill_bus::log::{Answer, Answered, Log, Outcome};
use tidemill_bus::store::{Checkpoints, Store, StoreOptions};
use tidemill_bus::transaction::NewBlock;
use tidemill_bus::{Columns, DriverKey, Event, Lane, Partition, Transaction};

const PARTITIONS: u32 = 16;
const BLOCK_BYTES: usize = 64 << 10;
/// Writes of state in one transaction: what a handler's call makes of a batch.
const WRITES: u64 = 500;
const IN_FLIGHT_MAX: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory =
        arguments.first().map_or_else(|| std::env::temp_dir().join("tidemill-opening"), PathBuf::from);
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (events_bytes, deltas_bytes, value_bytes) =
        (number(1, 10)? << 30, number(2, 256)? << 20, number(3, 100)?);
    match arguments.get(4).map(String::as_str) {
        None => compare(&directory, &[events_bytes >> 30, deltas_bytes >> 20, value_bytes]),
        Some("events") => fill(&directory, events_bytes),
        Some("deltas") => change(&directory, deltas_bytes, value_bytes),
        Some("open") => open(&directory),
        Some(other) => Err(format!("there is no step {other}").into()),
    }
}

/// Runs all steps, and prints what is to be compared.
fn compare(directory: &Path, sizes: &[u64; 3]) -> Result<(), Box<dyn Error>> {
    let step = |name: &str| -> Result<(), Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(directory).args(sizes.map(|size| size.to_string())).arg(name);
        command.status()?.success().then_some(()).ok_or_else(|| format!("the step {name} failed").into())
    };
    step("events")?;
    step("deltas")?;
    // The names of segments are in the order of their life.
    let journal = files_in(&directory.join("journal"))?;
    let segments = journal.iter().filter(|path| path.extension().is_some_and(|it| it == "segment"));
    let newest = segments.rev().take(usize::try_from(sizes[1].div_ceil(64) + 2)?);
    forget(directory)?;
    let start = Instant::now();
    let read = newest.map(|path| read_all(path)).sum::<std::io::Result<u64>>()?;
    println!(
        "floor: reading the newest {} MiB, not cached: {:.2} s",
        read >> 20,
        start.elapsed().as_secs_f64()
    );
    forget(directory)?;
    println!("opening, not cached:");
    step("open")?;
    println!("opening, cached:");
    step("open")?;
    fs::remove_dir_all(directory)?;
    Ok(())
}

/// Fills a topic, and closes.
fn fill(directory: &Path, bytes: u64) -> Result<(), Box<dyn Error>> {
    let store = Store::open(StoreOptions::new(directory))?;
    let topic = store.create_topic("events", Some(PARTITIONS))?;
    let mut columns = Columns::default();
    while columns.byte_len() < BLOCK_BYTES {
        columns.push(Event { time: 0, key: None, headers: &[], value: Some(&[b'v'; 80]) });
    }
    let columns = Arc::new(columns);
    let body_crc = body_crc(&columns, None);
    let window = Arc::new(Window::default());
    for turn in 0..bytes / columns.byte_len() as u64 {
        let target = topic.partition(Partition(u32::try_from(turn % u64::from(PARTITIONS))?));
        let block = NewBlock { target, columns: Arc::clone(&columns), cause: None, body_crc };
        window.submit(&store, Transaction { blocks: vec![block], ..Transaction::default() });
    }
    window.drain();
    Ok(store.close()?)
}

/// Writes state that only the journal has, and is gone.
fn change(directory: &Path, bytes: u64, value_bytes: u64) -> Result<(), Box<dyn Error>> {
    let store = Store::open(without_checkpoints(directory))?;
    let handler = store.handler_id("counts")?;
    let value = vec![b'v'; usize::try_from(value_bytes)?];
    let window = Arc::new(Window::default());
    let (mut key, mut written) = (0_u64, 0);
    while written < bytes {
        let partition = Partition(u32::try_from(key / WRITES % u64::from(PARTITIONS))?);
        let driver = DriverKey { handler, partition, lane: Lane(0) };
        let mut transaction =
            Transaction { driver: Some(driver), epoch: store.epoch(driver), ..Transaction::default() };
        for _ in 0..WRITES {
            // Spread over the key space, as keys of events are.
            let name = format!("k{:015x}", key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 4);
            transaction.state.push(name.as_bytes(), Some(&value));
            key += 1;
        }
        written += transaction.state.byte_len() as u64;
        window.submit(&store, transaction);
    }
    window.drain();
    println!("{key} keys in {} MiB of deltas", written >> 20);
    std::process::exit(0)
}

/// Options of a store whose tables stay as they are.
fn without_checkpoints(directory: &Path) -> StoreOptions {
    let checkpoints = Checkpoints {
        interval: Duration::from_hours(1),
        bytes: usize::MAX,
        bytes_max: usize::MAX,
        journal_bytes_max: u64::MAX,
        ..Checkpoints::default()
    };
    StoreOptions { checkpoints, ..StoreOptions::new(directory) }
}

/// Opens, says how long it took, and is gone before a checkpoint.
fn open(directory: &Path) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let store = Store::open(without_checkpoints(directory))?;
    let seconds = start.elapsed().as_secs_f64();
    let recovery = store.recovery();
    println!(
        "{seconds:.2} s; {} frames replayed, {} written again; CPU {:.2} s",
        recovery.frames_replayed,
        recovery.frames_rewritten,
        cpu_seconds()?
    );
    std::process::exit(0)
}

/// CPU time of this process, all threads, from `/proc` (hundredths of a second).
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').ok_or("no stat")?.1;
    let ticks = |at: usize| fields.split_whitespace().nth(at).and_then(|text| text.parse::<u32>().ok());
    Ok(f64::from(ticks(11).ok_or("no user time")? + ticks(12).ok_or("no system time")?) / 100.0)
}

/// Lets the system forget what it has cached of a directory, as far as an ordinary user can.
fn forget(directory: &Path) -> Result<(), Box<dyn Error>> {
    for path in files_in(directory)? {
        let file = File::open(path)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

/// All files below a directory, in order.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

fn read_all(path: &Path) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(total),
            bytes => total += bytes as u64,
        }
    }
}

/// Bounds what is in flight.
#[derive(Default)]
struct Window {
    in_flight: Mutex<usize>,
    freed: Condvar,
}

impl Answered for Window {
    fn answered(&self, _: u64, outcome: Outcome) {
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        *self.in_flight.lock() -= 1;
        self.freed.notify_all();
    }
}

impl Window {
    fn submit(self: &Arc<Self>, store: &Store, transaction: Transaction) {
        let mut in_flight = self.in_flight.lock();
        while *in_flight >= IN_FLIGHT_MAX {
            self.freed.wait(&mut in_flight);
        }
        *in_flight += 1;
        drop(in_flight);
        store.submit(transaction, Answer { to: Arc::clone(self) as _, token: 0 });
    }

    fn drain(&self) {
        let mut in_flight = self.in_flight.lock();
        while *in_flight > 0 {
            self.freed.wait(&mut in_flight);
        }
    }
}
