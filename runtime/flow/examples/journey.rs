//! What an event costs on its way through the flow, without disk and without Wasm: read from memory, passed on by an
//! echo, checked, scattered over 16 partitions by its key, encoded, checksummed and handed in.
//!
//! `cargo run --release -p tidemill-flow --example journey` prints CPU-nanoseconds per event for several batch sizes,
//! on one permit, beside the cost of reading and echoing alone.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tidemill_bus::log::{
    AdminError, Answer, Outcome, PartitionRange, ReadEnd, ReadError, ReadLimit, Receipt, StateError, Topic,
    Watcher,
};
use tidemill_bus::transaction::Progress;
use tidemill_flow::config::{BatchLimits, HandlerConfig};
use tidemill_flow::handler::{Call, Fault, Handler, Instance};
use tidemill_flow::output::Output;
use tidemill_flow::{
    Batch, Columns, DriverKey, Event, Flow, HandlerId, Log, Offset, Options, Partition, TopicId,
    TopicPartition,
};

const OUTPUT_PARTITIONS: u32 = 16;
const BLOCK_EVENTS: usize = 4_096;

/// Endless events in every partition of one topic, and a sink for everything else.
struct Memory {
    block: Columns,
    /// Bytes of data of every event.
    width: usize,
    partitions: u32,
    /// Offset at which a partition ends.
    end: u64,
    left: Mutex<u32>,
    done: Condvar,
}

impl Memory {
    fn new(partitions: u32, events: u64) -> Self {
        let mut block = Columns::default();
        for number in 0..BLOCK_EVENTS {
            let key = format!("key-{:06}", number * 7_919 % 1_000_000);
            block.push(Event { time: 1, key: Some(key.as_bytes()), headers: &[], value: Some(&[b'x'; 87]) });
        }
        let width = block.data.len() / BLOCK_EVENTS;
        let end = events / u64::from(partitions);
        Self { block, width, partitions, end, left: Mutex::new(partitions), done: Condvar::new() }
    }

    fn named(&self, name: &str) -> Topic {
        let (id, partitions) = match name {
            "in" => (1, self.partitions),
            _ => (2, OUTPUT_PARTITIONS),
        };
        Topic { id: TopicId(id), name: name.into(), partitions }
    }
}

impl Log for Memory {
    fn topic(&self, name: &str) -> Option<Topic> {
        Some(self.named(name))
    }

    fn topic_by_id(&self, id: TopicId) -> Option<Topic> {
        Some(self.named(if id.0 == 1 { "in" } else { "out" }))
    }

    fn topics(&self) -> Vec<Topic> {
        vec![self.named("in"), self.named("out")]
    }

    fn create_topic(&self, name: &str, _partitions: Option<u32>) -> Result<Topic, AdminError> {
        Ok(self.named(name))
    }

    fn handler_id(&self, _name: &str) -> Result<HandlerId, AdminError> {
        Ok(HandlerId(1))
    }

    fn note(&self, _handler: HandlerId) -> Result<Option<Vec<u8>>, AdminError> {
        Ok(None)
    }

    fn set_note(&self, _handler: HandlerId, _note: &[u8]) -> Result<(), AdminError> {
        Ok(())
    }

    fn read(
        &self,
        _source: TopicPartition,
        from: Offset,
        limit: ReadLimit,
        batch: &mut Batch,
    ) -> Result<ReadEnd, ReadError> {
        let at = usize::try_from(from.0).unwrap_or(0) % BLOCK_EVENTS;
        let left = usize::try_from(self.end - from.0).unwrap_or(usize::MAX);
        let in_bytes = limit.bytes / (self.width + Columns::BYTES_PER_EVENT);
        let count = limit.events.min(in_bytes).min(BLOCK_EVENTS - at).min(left);
        let data = at * self.width..(at + count) * self.width;
        batch.extend_from(&self.block, at..at + count, data, (from, 0));
        Ok(ReadEnd { next: from.plus(count as u64), end: Offset(self.end) })
    }

    fn range(&self, _source: TopicPartition) -> Result<PartitionRange, ReadError> {
        Ok(PartitionRange { start: Offset(0), end: Offset(self.end) })
    }

    fn position_at(&self, _source: TopicPartition, _time_ms: i64) -> Result<Offset, ReadError> {
        Ok(Offset(0))
    }

    fn progress(&self, _driver: DriverKey, _topic: TopicId) -> Result<Option<Progress>, StateError> {
        Ok(None)
    }

    fn epoch(&self, _driver: DriverKey) -> u64 {
        0
    }

    fn state_get(
        &self,
        _driver: DriverKey,
        _keys: &mut dyn Iterator<Item = &[u8]>,
        _values: &mut Vec<Option<Vec<u8>>>,
    ) -> Result<(), StateError> {
        Ok(())
    }

    fn state_scan(
        &self,
        _driver: DriverKey,
        _prefix: &[u8],
        _after: Option<&[u8]>,
        _limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StateError> {
        Ok(Vec::new())
    }

    fn submit(&self, transaction: tidemill_bus::Transaction, answer: Answer) {
        let next = transaction.progress.map_or(Offset(0), |update| update.progress.next);
        if next.0 >= self.end {
            *self.left.lock() -= 1;
            self.done.notify_all();
        }
        drop(transaction);
        answer.send(Outcome::Committed(Receipt::default()));
    }

    fn watch(&self, _watcher: Arc<dyn Watcher>) {}

    fn now_ms(&self) -> i64 {
        1
    }
}

/// Passes every event on, its value copied; key and time are those of the cause.
struct Echo;

impl Handler for Echo {
    fn version(&self) -> &'static str {
        "echo"
    }

    fn instantiate(&self, _driver: DriverKey) -> Result<Box<dyn Instance>, Fault> {
        Ok(Box::new(Self))
    }

    fn has_state(&self) -> bool {
        false
    }
}

impl Instance for Echo {
    fn process(&mut self, call: Call<'_>) -> Result<Output, Fault> {
        Ok(echo(call.batch))
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

fn echo(batch: &Batch) -> Output {
    let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    let mut data = Vec::with_capacity(batch.columns.data.len());
    for event in &batch.columns {
        data.extend_from_slice(event.value.unwrap_or_default());
    }
    Output {
        settled: count,
        topics: vec!["out".to_owned()],
        cause_of: (0..count).collect(),
        events: Columns { value_lens: batch.columns.value_lens.clone(), data, ..Columns::default() },
        ..Output::default()
    }
}

/// CPU-nanoseconds per event for reading and echoing alone.
fn floor(events: u64, batch_events: usize) -> f64 {
    let memory = Memory::new(1, events);
    let source = TopicPartition { topic: TopicId(1), partition: Partition(0) };
    let limit = ReadLimit { events: batch_events, bytes: 1 << 20 };
    let mut batch = Batch::new(source);
    let begun = cpu_ns();
    let mut at = Offset(0);
    while at.0 < events {
        batch.reset(source);
        match memory.read(source, at, limit, &mut batch) {
            Ok(end) => at = end.next,
            Err(_) => return 0.0,
        }
        std::hint::black_box(echo(&batch));
    }
    per_event(begun, events)
}

/// CPU-nanoseconds per event for the whole journey.
fn journey(partitions: u32, events: u64, batch_events: usize) -> f64 {
    let memory = Arc::new(Memory::new(partitions, events));
    let flow = Flow::start(Arc::clone(&memory) as _, Options { permits: 1, ..Options::default() });
    let config = HandlerConfig {
        inputs: vec!["in".to_owned()],
        outputs: vec!["out".to_owned()],
        batch: BatchLimits { max_events: batch_events, max_bytes: 1 << 20 },
        ..HandlerConfig::bare("echo")
    };
    let begun = cpu_ns();
    if let Err(error) = flow.install(config, Arc::new(Echo)) {
        eprintln!("{error}");
        return 0.0;
    }
    let mut left = memory.left.lock();
    while *left > 0 {
        memory.done.wait(&mut left);
    }
    per_event(begun, events)
}

/// Nanoseconds that all threads of this process have run (Linux): the machine may be busy with other things.
fn cpu_ns() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let run = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    tasks.filter_map(run).sum()
}

#[expect(clippy::cast_precision_loss, reason = "a figure to be read by people")]
fn per_event(begun: u64, events: u64) -> f64 {
    (cpu_ns() - begun) as f64 / events as f64
}

fn main() {
    println!("partitions  events/batch  read+echo ns  journey ns  difference ns  per batch us");
    for (partitions, batch_events) in [(1, 650), (1, 160), (1, 40), (1_000, 40), (1_000, 10)] {
        let events = 4_000_000;
        let floor = (0..3).map(|_| floor(events, batch_events)).fold(f64::INFINITY, f64::min);
        let whole = (0..3).map(|_| journey(partitions, events, batch_events)).fold(f64::INFINITY, f64::min);
        let per_batch = (whole - floor) * f64::from(u32::try_from(batch_events).unwrap_or(0)) / 1_000.0;
        println!(
            "{partitions:>10}  {batch_events:>12}  {floor:>12.1}  {whole:>10.1}  {:>13.1}  {per_batch:>12.2}",
            whole - floor
        );
    }
}
