//! Vices: what a handler that behaves keeps of its rate and its latency while one beside it does not. Each vice is at
//! work from before the clock starts until after it stops.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::json;

use super::child::Runtime;
use super::events::{Events, KEYS};
use super::through::Through;
use super::{BenchArgs, Measured, floor, latency, publish};

/// The handler with the vice, and the topic that it reads.
const SINNER: &str = "sinner";
const SINS: &str = "bench-sins";

/// Events that the vice is given: more than it comes through with in a run.
const SIN_EVENTS: u64 = 200_000;

/// Events of the measurement of latency: five seconds' worth.
const LATENCY_EVENTS_MAX: u64 = 100_000;

/// How often the component that breaks its compiler is dropped in anew. It counts when it is under work already.
const BOMB_EVERY: Duration = Duration::from_secs(1);

/// Partitions of all topics.
const PARTITIONS: u32 = 16;

/// What is beside the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vice {
    /// The guest of all vices with this one.
    Guest(&'static str),
    /// A component that is made to break its compiler, again and again.
    Bomb,
}

/// All of them by the names of their rows.
const VICES: [(&str, Vice); 12] = [
    ("beside spin", Vice::Guest("spin")),
    ("beside hoard", Vice::Guest("hoard")),
    ("beside recurse", Vice::Guest("recurse")),
    ("beside trap-at-random", Vice::Guest("trap-at-random")),
    ("beside flood", Vice::Guest("flood")),
    ("beside gush", Vice::Guest("gush")),
    ("beside swarm", Vice::Guest("swarm")),
    ("beside rant", Vice::Guest("rant")),
    ("beside shout", Vice::Guest("shout")),
    ("beside lie-sum", Vice::Guest("lie-sum")),
    ("beside lie-state", Vice::Guest("lie-state")),
    ("beside a compile bomb", Vice::Bomb),
];

/// One row for each, the median of the runs. Each is compared with what the handler did alone just before it: the
/// machine is not the same a minute later.
pub(super) async fn measure(args: &BenchArgs) -> Result<Vec<Measured>> {
    let (mut alone, mut beside) = (Vec::new(), vec![Vec::new(); VICES.len()]);
    for _ in 0..args.runs.max(1) {
        for ((name, vice), runs) in VICES.into_iter().zip(&mut beside) {
            let floor = floor::records_per_second(&args.scratch)?;
            let mut before = run(args, "beside nobody", None).await?;
            let mut measured = run(args, name, Some(vice)).await.context(name)?;
            (before.floor, measured.floor) = (floor, floor);
            measured.compare_with(&before);
            alone.push(before);
            runs.push(measured);
        }
    }
    Ok(std::iter::once(alone).chain(beside).filter(|runs| !runs.is_empty()).map(Measured::median).collect())
}

/// The rate of a backlog, and on another store the latency at a steady rate, with the same beside.
async fn run(args: &BenchArgs, name: &'static str, vice: Option<Vice>) -> Result<Measured> {
    let behaves = Through::echo(Events { count: args.events, keys: KEYS }, PARTITIONS);
    let runtime = behaves.prepare(args).await?;
    let (run, _) = while_beside(&runtime, args, vice, behaves.pass(&runtime)).await?;
    drop(runtime);
    let events = Events { count: args.events.min(LATENCY_EVENTS_MAX), keys: KEYS };
    let behaves = Through::echo(events, PARTITIONS);
    let runtime = behaves.prepare(args).await?;
    let measure = latency::measure(&runtime, &behaves, args);
    let found = while_beside(&runtime, args, vice, measure).await?;
    let mut measured = Measured::new(name, run);
    (measured.latency_ms, measured.sync_ms) = (Some(found.event_ms), Some(found.sync_ms));
    Ok(measured)
}

/// Does `work` while the vice is at its own, and makes sure that it was to the end.
async fn while_beside<T>(
    runtime: &Runtime,
    args: &BenchArgs,
    vice: Option<Vice>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match vice {
        None => work.await,
        Some(Vice::Bomb) => {
            let bomb = args.guests.join("bomb.wasm");
            tokio::select! {
                done = work => done,
                failed = drop_again_and_again(runtime, &bomb) => match failed? {},
            }
        }
        Some(Vice::Guest(vice)) => {
            begin(runtime, &args.guests.join("vices.wasm"), vice).await?;
            let done = work.await?;
            let group = runtime.client.get(&["v1", "groups", SINNER]).await?;
            let left = group["lag"].as_u64().context("the group has no lag")?;
            ensure!(left > 0, "the guest was through with its events before the measurement");
            Ok(done)
        }
    }
}

/// Lets the guest loose on events of its own, with the retries and limits that every handler has by default.
async fn begin(runtime: &Runtime, guest: &Path, vice: &str) -> Result<()> {
    let request = runtime.client.request(Method::PUT, &["v1", "topics", SINS])?;
    runtime.client.send(request.json(&json!({ "partitions": PARTITIONS }))).await?;
    publish::publish(runtime, SINS, Events { count: SIN_EVENTS, keys: KEYS }.bodies()).await?;
    let settings =
        format!("inputs = [\"{SINS}\"]\noutput = \"bench-of-sins\"\n[config]\nvice = \"{vice}\"\n");
    runtime.install(SINNER, guest, &settings).await
}

/// Drops the component in, in the place of the one before.
async fn drop_again_and_again(runtime: &Runtime, bomb: &Path) -> Result<Infallible> {
    loop {
        runtime.put(SINNER, bomb)?;
        tokio::time::sleep(BOMB_EVERY).await;
    }
}
