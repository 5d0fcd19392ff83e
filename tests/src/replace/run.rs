//! The run: publishers, followers, one replacement after the other, and the reckoning.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::follow::{Seen, follow};
use super::publish::{Flowing, KEYS, Phase};
use super::versions::{Directory, HANDLER, Kind};
use crate::harness::{Api, Process, ProcessOptions};

/// Partitions of the topics, the default.
const PARTITIONS: u32 = 4;

/// Publishers at work.
const PUBLISHERS: usize = 2;

/// How long events pass before the first replacement, to compare with.
const BEFORE: Duration = Duration::from_secs(3);

/// How long a replacement may take, and the outputs to come at the end.
const WAIT_MAX: Duration = Duration::from_mins(2);

/// What to run.
#[derive(Clone, Debug)]
pub struct ReplaceOptions {
    /// The `tidemill` binary.
    pub binary: PathBuf,
    /// Where `aggregate.wasm` and `vices.wasm` lie.
    pub components: PathBuf,
    /// A scratch directory for data, plugins and configuration.
    pub scratch: PathBuf,
    /// How often to replace.
    pub replacements: u64,
    /// The seed of the order of versions.
    pub seed: u64,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Report {
    /// Replacements by their kind, each with the longest time until it was dealt with.
    pub kinds: BTreeMap<Kind, (u64, Duration)>,
    /// Events counted.
    pub events: u64,
    /// How long events passed.
    pub took: Duration,
    /// The longest time without an output, by partition: before the first replacement, while versions came and went, and
    /// while one that wanted other state had the handler stopped.
    pub pauses: Vec<[Duration; 3]>,
}

/// Replaces the handler so often; fails at the first event that is lost, doubled, out of order or given up.
pub fn run(options: &ReplaceOptions) -> Result<Report> {
    let mut directory = Directory::new(&options.components, &options.scratch)?;
    let config = options.scratch.join("tidemill.toml");
    // What was seen need not be kept.
    std::fs::write(&config, "[store.retention]\nbytes = \"2GiB\"\n")?;
    let process = ProcessOptions {
        binary: options.binary.clone(),
        data: options.scratch.join("data"),
        plugins: directory.path().to_owned(),
        config: Some(config),
        crash_at: None,
        power: None,
        without: None,
    };
    let process = Process::start(&process)?.context("the runtime does not start")?;
    let api = process.api()?;
    let publishers = (0..PUBLISHERS).map(|_| process.api()).collect::<Result<Vec<_>>>()?;
    let outputs =
        (0..PARTITIONS).map(|partition| api.follow("counted", partition)).collect::<Result<Vec<_>>>()?;
    let flowing = Flowing::default();
    flowing.enter(Phase::Before);
    let mut report = Report::default();
    let started = Instant::now();
    let (counts, seen) = thread::scope(|scope| {
        let publishers: Vec<_> =
            publishers.iter().map(|api| scope.spawn(|| published(&flowing, api))).collect();
        let followers: Vec<_> = outputs
            .into_iter()
            .map(|lines| scope.spawn(|| followed(&flowing, follow(lines, &flowing))))
            .collect();
        thread::sleep(BEFORE);
        flowing.enter(Phase::Replacing);
        let replaced = replace(options, (&api, &flowing), &mut directory, &mut report);
        flowing.enough.store(true, Ordering::Relaxed);
        let counts: Result<Vec<_>> =
            publishers.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let settled = replaced.and_then(|()| settle(&api, &flowing));
        flowing.over.store(true, Ordering::Relaxed);
        let stopped = process.stop();
        let seen: Result<Vec<_>> =
            followers.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        // What a follower found says more than that the outputs did not come.
        let seen = seen?;
        settled?;
        ensure!(stopped?.0.success(), "the runtime did not stop as it should");
        Ok::<_, anyhow::Error>((counts?, seen))
    })?;
    report.took = started.elapsed();
    reckon(report, &counts, &seen)
}

fn published(flowing: &Flowing, api: &Api) -> Result<Vec<u64>> {
    flowing.publish(api).inspect_err(|_| flowing.enough.store(true, Ordering::Relaxed))
}

/// A follower that found a fault ends the run.
fn followed(flowing: &Flowing, seen: Result<Seen>) -> Result<Seen> {
    seen.inspect_err(|_| {
        flowing.enough.store(true, Ordering::Relaxed);
        flowing.over.store(true, Ordering::Relaxed);
    })
}

/// One version after the other, each waited for.
fn replace(
    options: &ReplaceOptions,
    (api, flowing): (&Api, &Flowing),
    directory: &mut Directory,
    report: &mut Report,
) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let mut last = Kind::Good;
    for number in 0..options.replacements {
        // After one that is no good comes one that is.
        let bad = Kind::BAD[random.usize(..Kind::BAD.len())];
        let kind = if last == Kind::Good && random.u8(..4) > 0 { bad } else { Kind::Good };
        let (before, begun) = (entry(api)?, Instant::now());
        if kind == Kind::OtherState {
            flowing.enter(Phase::Stopped);
        }
        directory.put(kind)?;
        loop {
            let now = entry(api)?;
            if kind.is_done(&before, &now) {
                break;
            }
            ensure!(!flowing.over.load(Ordering::Relaxed), "a follower found a fault");
            if begun.elapsed() > WAIT_MAX {
                bail!("replacement {number} ({}) was not dealt with: {before} became {now}", kind.name());
            }
            thread::sleep(Duration::from_millis(2));
        }
        if kind == Kind::Good {
            flowing.enter(Phase::Replacing);
        }
        let (count, longest) = report.kinds.entry(kind).or_default();
        (*count, *longest) = (*count + 1, (*longest).max(begun.elapsed()));
        last = kind;
    }
    if last == Kind::Good { Ok(()) } else { directory.put(Kind::Good) }
}

fn entry(api: &Api) -> Result<Value> {
    api.get(&format!("/v1/handlers/{HANDLER}"))
}

/// Waits until every event has its output, and sees that none was given up.
fn settle(api: &Api, flowing: &Flowing) -> Result<()> {
    let begun = Instant::now();
    while flowing.seen.load(Ordering::Relaxed) < flowing.published.load(Ordering::Relaxed) {
        ensure!(!flowing.over.load(Ordering::Relaxed), "a follower found a fault");
        if begun.elapsed() > WAIT_MAX {
            let (seen, published) = (&flowing.seen, &flowing.published);
            bail!("{seen:?} of {published:?} events have an output: {}", entry(api)?);
        }
        thread::sleep(Duration::from_millis(5));
    }
    let entry = entry(api)?;
    let given_up = [&entry["deadLetters"], &entry["dropped"], &entry["lost"]];
    ensure!(given_up.iter().all(|count| count.as_u64() == Some(0)), "events were given up: {entry}");
    let dead = api.get(&format!("/v1/topics/_dead.{HANDLER}"))?;
    ensure!(dead["events"].as_u64() == Some(0), "a bad version made dead letters: {dead}");
    Ok(())
}

/// Every event that was published was counted, and none besides.
fn reckon(mut report: Report, counts: &[Vec<u64>], seen: &[Seen]) -> Result<Report> {
    for key in 0..KEYS {
        let published: u64 = counts.iter().map(|counts| counts[key]).sum();
        let counted: u64 = seen.iter().filter_map(|seen| seen.counts.get(&format!("k{key}"))).sum();
        ensure!(published == counted, "{published} events of k{key} were published, and {counted} counted");
        report.events += published;
    }
    report.pauses = seen.iter().map(|seen| seen.pauses).collect();
    Ok(report)
}
