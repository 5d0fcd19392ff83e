//! What crossing the boundary costs: batches of 100-byte events to a guest that hands every event back, one by
//! one. `cargo run --release -p tidemill-wasm --example boundary`

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_flow::config::HandlerConfig;
use tidemill_flow::handler::{Call, Fault, Handler, Instance, Pace, StateReader};
use tidemill_flow::{Batch, DriverKey, Event, HandlerId, Lane, Partition, TopicId, TopicPartition};
use tidemill_wasm::{Engine, Loader, LogLine, LogSink};

/// Events per batch: one that waits for nobody, 16 KiB, 64 KiB.
const BATCHES: [u32; 3] = [40, 160, 650];

/// How long each size is measured.
const MEASURED: Duration = Duration::from_secs(2);

struct Nothing;

impl LogSink for Nothing {
    fn line(&self, _: LogLine<'_>) {}
}

impl Pace for Nothing {
    fn slow(&self) {}
}

impl StateReader for Nothing {
    fn get_many(&self, keys: &mut dyn Iterator<Item = &[u8]>) -> Result<Vec<Option<Vec<u8>>>, String> {
        Ok(keys.map(|_| None).collect())
    }

    fn scan(&self, _: &[u8], _: Option<&[u8]>, _: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        Ok(Vec::new())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/", "vices");
    let wasm = std::fs::read(tidemill_build::build_crate(&tidemill_build::BuildOptions::new(guest))?.path)?;
    let started = Instant::now();
    let engine = Engine::new()?;
    println!("engine: {:?}, {:?}", engine.allocation(), started.elapsed());
    let nothing = Arc::new(Nothing);
    let loader = Loader::new(engine, None, nothing.clone())?;
    let started = Instant::now();
    let plugin = loader.load(&wasm, HandlerConfig::bare("echo"))?;
    println!("compiling {} KiB: {:?}", wasm.len() >> 10, started.elapsed());
    let driver = DriverKey { handler: HandlerId(1), partition: Partition(0), lane: Lane(0) };
    measure("fresh instance", 1, || plugin.instantiate(driver).map(drop))?;
    for events in BATCHES {
        let (batch, mut instance) = (batch(events), plugin.instantiate(driver)?);
        let name = format!("{events} events there and back, per event");
        measure(&name, events, || echo(&mut *instance, &batch, &nothing))?;
    }
    Ok(())
}

/// Repeats `work`, prints the time for each of its `parts`: the best of all tenths of the time measured, for the
/// machine has other work too.
fn measure(name: &str, parts: u32, mut work: impl FnMut() -> Result<(), Fault>) -> Result<(), Fault> {
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let (started, mut turns) = (Instant::now(), 0_u32);
        while started.elapsed() < MEASURED / 10 {
            work()?;
            turns += 1;
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e9 / f64::from(turns) / f64::from(parts));
    }
    println!("{name}: {best:.0} ns");
    Ok(())
}

fn echo(instance: &mut dyn Instance, batch: &Batch, nothing: &Arc<Nothing>) -> Result<(), Fault> {
    let (deadline, state, pace) = (Duration::from_secs(5), nothing.clone(), nothing.clone());
    let call = Call { batch, topic: "events", attempt: 1, deadline, state, pace };
    let output = instance.process(call)?;
    assert_eq!(output.events.data.len(), batch.columns.data.len());
    black_box(output);
    Ok(())
}

/// Events with keys of 8 bytes and values of 92.
fn batch(events: u32) -> Batch {
    let mut batch = Batch::new(TopicPartition { topic: TopicId(1), partition: Partition(0) });
    for index in 0..events {
        let key = u64::from(index).to_le_bytes();
        batch.columns.push(Event { time: 0, key: Some(&key), headers: &[], value: Some(&[b'x'; 92]) });
    }
    batch
}
