//! Publish: NDJSON over HTTP from several clients, each answered when its events are durable.

use std::cell::RefCell;
use std::time::Instant;

use anyhow::Result;
use futures_util::future::try_join_all;
use reqwest::Method;

use super::child::Runtime;
use super::{BenchArgs, Run, events};

/// Clients at work, each with one request under way.
const CLIENTS: usize = 8;

/// One run on a fresh store.
pub(super) async fn run(args: &BenchArgs) -> Result<Run> {
    let runtime = Runtime::start(&args.scratch).await?;
    let bodies: Vec<String> =
        (0..events::bodies(args.events)).map(|index| events::body(index, args.events)).collect();
    let (started, cpu) = (Instant::now(), runtime.cpu_seconds()?);
    publish(&runtime, "bench", bodies).await?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Run { seconds, cpu_seconds: runtime.cpu_seconds()? - cpu })
}

/// Publishes all bodies to a topic, and returns when all are durable.
pub(super) async fn publish(runtime: &Runtime, topic: &str, bodies: Vec<String>) -> Result<()> {
    let bodies = RefCell::new(bodies.into_iter());
    let next = || bodies.borrow_mut().next();
    let clients = (0..CLIENTS).map(async |_| -> Result<()> {
        while let Some(body) = next() {
            let request = runtime
                .client
                .request(Method::POST, &["v1", "topics", topic, "events"])?
                .query(&[("key", "/k")])
                .header("content-type", "application/x-ndjson")
                .body(body);
            runtime.client.send(request).await?;
        }
        Ok(())
    });
    try_join_all(clients).await.map(drop)
}
