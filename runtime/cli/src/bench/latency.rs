//! Latency: from the moment a publish is sent until a follower has the handler's output in hand, at a steady rate
//! well below what the machine can do, beside the time of a sync.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::StreamExt;
use reqwest::Method;
use tokio::sync::mpsc;

use super::child::Runtime;
use super::events::{Events, KEYS};
use super::through::{INPUT, OUTPUT, Through};
use super::{BenchArgs, Percentiles, Run, publish};

/// Events per second, and how many of them a request carries.
const RATE: u64 = 20_000;
const REQUEST_EVENTS: u64 = 100;

/// Requests under way at most; one that finds no place waits, and that counts.
const REQUESTS_MAX: usize = 64;

/// Bytes and number of the syncs that latency is compared with.
const SYNC_BYTES: usize = 64 << 10;
const SYNCS: usize = 500;

/// What was found.
pub(super) struct Latency {
    /// The run that it was found in.
    pub(super) run: Run,
    /// From sending to seeing, in milliseconds.
    pub(super) event_ms: Percentiles,
    /// One write of 64 KiB with its sync, in milliseconds.
    pub(super) sync_ms: Percentiles,
}

/// One run on a fresh store, of `events` events at the steady rate.
pub(super) async fn run(args: &BenchArgs, events: u64) -> Result<Latency> {
    let through = Through::echo(Events { count: events, keys: KEYS }, 16);
    let runtime = through.prepare(args).await?;
    measure(&runtime, &through, args).await
}

/// Measures at the handler of a prepared runtime.
pub(super) async fn measure(runtime: &Runtime, through: &Through, args: &BenchArgs) -> Result<Latency> {
    let sync_ms = syncs(&args.scratch)?;
    let events = through.events;
    through.post(runtime, "resume").await?;
    let before = runtime.usage().await?;
    let started = Instant::now();
    let (seen, sent) = tokio::try_join!(follow(runtime, events.count), send(runtime, events, started))?;
    let seconds = started.elapsed().as_secs_f64();
    let latencies = seen.into_iter().map(|(event, at)| {
        let sent = sent[usize::try_from(event / REQUEST_EVENTS).unwrap_or(usize::MAX)];
        at.saturating_duration_since(sent)
    });
    let event_ms = Percentiles::of(latencies.collect()).context("no event came through")?;
    let run = Run::new(events.count, seconds, runtime.usage().await?.since(before));
    Ok(Latency { run, event_ms, sync_ms })
}

/// Sends the requests, each when its time has come, and returns when each was sent.
async fn send(runtime: &Runtime, events: Events, started: Instant) -> Result<Vec<Instant>> {
    let interval = Duration::from_micros(1_000_000 * REQUEST_EVENTS / RATE);
    let indices = 0..events.count.div_ceil(REQUEST_EVENTS);
    let requests = indices.map(|index| async move {
        let first = index * REQUEST_EVENTS;
        let mut body = String::new();
        (first..events.count.min(first + REQUEST_EVENTS)).for_each(|event| events.write(event, &mut body));
        let due = started + interval * u32::try_from(index).unwrap_or(u32::MAX);
        tokio::time::sleep_until(due.into()).await;
        // From when it was due: what waits for a place must not count as fast.
        publish::send(runtime, INPUT, body).await.map(|()| due)
    });
    let mut sent = Vec::new();
    let mut requests = futures_util::stream::iter(requests).buffered(REQUESTS_MAX);
    while let Some(request) = requests.next().await {
        sent.push(request?);
    }
    Ok(sent)
}

/// Follows the output until all events were seen; returns them with when they were.
async fn follow(runtime: &Runtime, count: u64) -> Result<Vec<(u64, Instant)>> {
    let request = runtime
        .client
        .request(Method::GET, &["v1", "topics", OUTPUT, "events"])?
        .query(&[("from", "earliest"), ("follow", "true")]);
    let mut body = runtime.client.send(request).await?.bytes_stream();
    let (lines, mut read) = mpsc::channel::<(Vec<u8>, Instant)>(1024);
    // What was received is taken apart elsewhere, so that it does not wait here.
    let mut parse = tokio::task::spawn_blocking(move || {
        let (mut seen, mut rest) = (Vec::new(), Vec::new());
        while let Some((bytes, at)) = read.blocking_recv() {
            rest.extend_from_slice(&bytes);
            let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            let text = String::from_utf8_lossy(&rest[..whole]).replace('\\', "");
            seen.extend(text.lines().filter_map(Events::of_line).map(|event| (event, at)));
            rest.drain(..whole);
            if seen.len() as u64 >= count {
                return seen;
            }
        }
        seen
    });
    loop {
        let bytes = tokio::select! {
            seen = &mut parse => return seen.context("reading the output"),
            bytes = body.next() => bytes.context("the runtime stopped sending its output")?,
        };
        let bytes = bytes.context("following the output")?;
        // When all were seen nobody takes more, and the next turn ends it.
        let _ = lines.send((bytes.to_vec(), Instant::now())).await;
    }
}

/// The time of writes of 64 KiB into a file of zeros, each with its sync.
fn syncs(scratch: &Path) -> Result<Percentiles> {
    let file: File = tempfile::tempfile_in(scratch)
        .with_context(|| format!("creating a file in {} to measure the disk with", scratch.display()))?;
    let bytes = vec![1; SYNC_BYTES];
    let offset = |index: usize| (index * SYNC_BYTES) as u64;
    for index in 0..SYNCS {
        file.write_all_at(&vec![0; SYNC_BYTES], offset(index)).context("filling the file with zeros")?;
    }
    file.sync_all().context("syncing the file of zeros")?;
    let times = (0..SYNCS).map(|index| -> std::io::Result<Duration> {
        let started = Instant::now();
        file.write_all_at(&bytes, offset(index))?;
        file.sync_data()?;
        Ok(started.elapsed())
    });
    let times = times.collect::<std::io::Result<Vec<_>>>().context("measuring syncs")?;
    Percentiles::of(times).context("no sync was measured")
}
