//! Memory: what an instance more takes, from the resident memory of a runtime whose handler has one instance, and
//! of one whose handler has a thousand, each after its events.

use anyhow::Result;
use std::time::Instant;

use super::events::{Events, KEYS};
use super::through::{INPUT, Through};
use super::{BenchArgs, Run, publish};

/// Instances of the larger runtime: one for each partition.
const INSTANCES: u32 = 1_000;

/// Events: enough that each partition has some.
const EVENTS: u64 = 100_000;

/// The run of the larger runtime, and bytes per instance beyond the first.
pub(super) async fn run(args: &BenchArgs) -> Result<(Run, u64)> {
    let (_, one) = resident(args, 1).await?;
    let (run, many) = resident(args, INSTANCES).await?;
    Ok((run, many.saturating_sub(one) / u64::from(INSTANCES - 1)))
}

/// Resident bytes of a runtime with that many partitions, after events have passed through every one.
async fn resident(args: &BenchArgs, partitions: u32) -> Result<(Run, u64)> {
    // More keys than partitions, so that no partition is left without.
    let events = Events { count: EVENTS, keys: 100 * KEYS };
    let through = Through::echo(events, partitions);
    let runtime = through.prepare(args).await?;
    publish::publish(&runtime, INPUT, events.bodies()).await?;
    let (started, before) = (Instant::now(), runtime.usage().await?);
    through.post(&runtime, "resume").await?;
    through.wait(&runtime, started).await?;
    let seconds = started.elapsed().as_secs_f64();
    let run = Run::new(EVENTS, seconds, runtime.usage().await?.since(before));
    Ok((run, runtime.resident_bytes()?))
}
