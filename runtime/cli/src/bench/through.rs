//! Topic to handler to topic: the input is on disk before the clock starts, which stops when the last output and
//! the last progress are durable and the outputs are counted.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::json;

use super::child::{LOOK_EVERY, Runtime};
use super::events::Events;
use super::{BenchArgs, Run, publish};

/// The topic that handlers read.
pub(super) const INPUT: &str = "bench-in";
/// The topic that they emit to.
pub(super) const OUTPUT: &str = "bench-out";

/// A handler, and what goes through it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Through {
    /// The first-party plugin.
    pub(super) plugin: &'static str,
    /// Its own keys, as its file has them.
    pub(super) config: &'static str,
    /// Partitions of input and output.
    pub(super) partitions: u32,
    /// The events.
    pub(super) events: Events,
    /// How many come out.
    pub(super) outputs: u64,
}

/// When the outputs reached a tenth and nine tenths of all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tenths {
    first: Duration,
    last: Duration,
}

impl Tenths {
    /// The rate of the last tenth over that of the first.
    pub(super) fn ratio(self) -> f64 {
        self.first.as_secs_f64() / self.last.as_secs_f64()
    }
}

impl Through {
    /// Every event passed on, one by one.
    pub(super) fn echo(events: Events, partitions: u32) -> Self {
        Self { plugin: "passthrough", config: "", partitions, events, outputs: events.count }
    }

    /// The settings of the plugin in this benchmark.
    pub(super) fn settings(&self) -> String {
        format!("inputs = [\"{INPUT}\"]\noutput = \"{OUTPUT}\"\n{}", self.config)
    }

    /// One run on a fresh store.
    pub(super) async fn run(&self, args: &BenchArgs) -> Result<(Run, Tenths)> {
        let runtime = self.prepare(args).await?;
        self.pass(&runtime).await
    }

    /// Publishes the events, and takes the time that they need through the handler of a prepared runtime.
    pub(super) async fn pass(&self, runtime: &Runtime) -> Result<(Run, Tenths)> {
        publish::publish(runtime, INPUT, self.events.bodies()).await?;
        let (started, before) = (Instant::now(), runtime.usage().await?);
        self.post(runtime, "resume").await?;
        let tenths = self.wait(runtime, started).await?;
        let outputs = runtime.client.get(&["v1", "topics", OUTPUT]).await?["events"].clone();
        let seconds = started.elapsed().as_secs_f64();
        let usage = runtime.usage().await?.since(before);
        ensure!(
            outputs.as_u64() == Some(self.outputs),
            "{} emitted {outputs} events where {} were due",
            self.plugin,
            self.outputs
        );
        Ok((Run::new(self.events.count, seconds, usage), tenths))
    }

    /// A runtime with both topics, and the handler paused.
    pub(super) async fn prepare(&self, args: &BenchArgs) -> Result<Runtime> {
        let runtime = Runtime::start(&args.scratch).await?;
        for topic in [INPUT, OUTPUT] {
            let request = runtime.client.request(Method::PUT, &["v1", "topics", topic])?;
            runtime.client.send(request.json(&json!({ "partitions": self.partitions }))).await?;
        }
        let component = args.plugins.join(format!("{}.wasm", self.plugin));
        runtime.install(self.plugin, &component, &self.settings()).await?;
        self.post(&runtime, "pause").await?;
        Ok(runtime)
    }

    /// Pauses or resumes the handler.
    pub(super) async fn post(&self, runtime: &Runtime, action: &str) -> Result<()> {
        let request = runtime.client.request(Method::POST, &["v1", "handlers", self.plugin, action])?;
        runtime.client.send(request).await.map(drop)
    }

    /// Waits until the handler's group has no lag.
    pub(super) async fn wait(&self, runtime: &Runtime, started: Instant) -> Result<Tenths> {
        let all = self.events.count;
        let (mut first, mut ninth) = (None, None);
        loop {
            let group = runtime.client.get(&["v1", "groups", self.plugin]).await?;
            let lag = group["lag"].as_u64().context("the group has no lag")?;
            let done = all.saturating_sub(lag);
            if done >= all / 10 {
                first.get_or_insert_with(|| started.elapsed());
            }
            if done >= all - all / 10 {
                ninth.get_or_insert_with(|| started.elapsed());
            }
            if let (0, Some(first), Some(ninth)) = (lag, first, ninth) {
                return Ok(Tenths { first, last: started.elapsed().saturating_sub(ninth) });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
