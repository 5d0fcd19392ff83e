//! Publish: NDJSON over HTTP from several clients, each answered when its events are durable.

use std::cell::RefCell;
use std::time::Instant;

use anyhow::Result;
use futures_util::future::try_join_all;
use reqwest::Method;

use super::child::Runtime;
use super::events::{Events, KEYS};
use super::{BenchArgs, Run};

/// Clients at work, each with one request under way.
const CLIENTS: usize = 8;

/// One run on a fresh store.
pub(super) async fn run(args: &BenchArgs) -> Result<Run> {
    let runtime = Runtime::start(&args.scratch).await?;
    let bodies: Vec<String> = Events { count: args.events, keys: KEYS }.bodies().collect();
    let (started, before) = (Instant::now(), runtime.usage().await?);
    publish(&runtime, "bench", bodies.into_iter()).await?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Run::new(args.events, seconds, runtime.usage().await?.since(before)))
}

/// Publishes all bodies to a topic, and returns when all are durable.
pub(super) async fn publish(
    runtime: &Runtime,
    topic: &str,
    bodies: impl Iterator<Item = String>,
) -> Result<()> {
    let bodies = RefCell::new(bodies);
    let next = || bodies.borrow_mut().next();
    let clients = (0..CLIENTS).map(async |_| -> Result<()> {
        while let Some(body) = next() {
            send(runtime, topic, body).await?;
        }
        Ok(())
    });
    try_join_all(clients).await.map(drop)
}

/// Publishes one body.
pub(super) async fn send(runtime: &Runtime, topic: &str, body: String) -> Result<()> {
    let request = runtime
        .client
        .request(Method::POST, &["v1", "topics", topic, "events"])?
        .query(&[("key", "/k")])
        .header("content-type", "application/x-ndjson")
        .body(body);
    runtime.client.send(request).await.map(drop)
}
