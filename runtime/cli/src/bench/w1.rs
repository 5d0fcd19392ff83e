//! W1: topic → guest that passes every event on, one by one through the SDK → topic. The input is on disk
//! before the clock starts; it stops when the last output is durable and counted.

use std::time::Instant;

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use super::child::Runtime;
use super::{BenchArgs, Run, events, publish};

const HANDLER: &str = "passthrough";
const SETTINGS: &str = "inputs = [\"w1-in\"]\noutput = \"w1-out\"\n";

/// One run on a fresh store with that many partitions on both sides.
pub(super) async fn run(args: &BenchArgs, partitions: u32) -> Result<Run> {
    let runtime = Runtime::start(&args.scratch).await?;
    for topic in ["w1-in", "w1-out"] {
        let request = runtime.client.request(Method::PUT, &["v1", "topics", topic])?;
        runtime.client.send(request.json(&json!({ "partitions": partitions }))).await?;
    }
    runtime.install(HANDLER, &args.passthrough, SETTINGS).await?;
    post(&runtime, "pause").await?;
    let bodies = (0..events::bodies(args.events)).map(|index| events::body(index, args.events)).collect();
    publish::publish(&runtime, "w1-in", bodies).await?;
    let (started, cpu) = (Instant::now(), runtime.cpu_seconds()?);
    post(&runtime, "resume").await?;
    runtime.wait_for("w1-out", args.events).await?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Run { seconds, cpu_seconds: runtime.cpu_seconds()? - cpu })
}

async fn post(runtime: &Runtime, action: &str) -> Result<()> {
    let request = runtime.client.request(Method::POST, &["v1", "handlers", HANDLER, action])?;
    runtime.client.send(request).await.map(drop)
}
