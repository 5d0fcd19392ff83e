//! A run: the runtime, its publishers and followers, the peak rate, the long middle with its samples, the reckoning.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;

use super::directory::Directory;
use super::end::{self, Total};
use super::flow::Flow;
use super::follow::{Follower, Output};
use super::peak;
use super::publish::{Publisher, Sent};
use super::reload::{Reloads, reload};
use super::sample::{Sample, Sampler};
use super::sequence::Sequence;
use crate::harness::{Api, Process, ProcessOptions};

/// Partitions of the topics, the default.
const PARTITIONS: u32 = 4;

/// Publishers at work.
const PUBLISHERS: usize = 2;

/// The part of the peak rate at which the long middle goes.
const LOAD: f64 = 0.5;

/// How long what waits after the peak may take to be worked off.
const DRAIN_MAX: Duration = Duration::from_mins(2);

/// Everything is small and often, so that in each minute segments are sealed, checkpoints made, segments settled and
/// given up, the oldest events by what all take together, and where little comes, by their age.
const CONFIG: &str = "[store]\nsegment = \"4MiB\"\ncheckpoint = \"500ms\"\nsettle = \"2s\"\n\
                      [store.retention]\nbytes = \"256MiB\"\nage = \"2m\"\n";

/// What to run.
#[derive(Clone, Debug)]
pub struct SoakOptions {
    /// The `tidemill` binary.
    pub binary: PathBuf,
    /// Where the components of the handlers lie.
    pub components: PathBuf,
    /// A scratch directory for data, plugins and configuration.
    pub scratch: PathBuf,
    /// How long the middle takes.
    pub length: Duration,
    /// Events a second; without it, half of the peak rate, which is measured first.
    pub rate: Option<f64>,
    /// What becomes of the events of the topic of counts: `compact`, or `delete` as of all others.
    pub policy: String,
    /// The seed of what events say and of what is reloaded.
    pub seed: u64,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Report {
    /// The peak rate in events a second, if it was measured.
    pub peak: Option<f64>,
    /// The rate in events a second at which the middle went.
    pub rate: f64,
    /// The samples of the middle.
    pub samples: Vec<Sample>,
    /// Events published, and all checked.
    pub events: u64,
    /// Outputs that a follower did not see, for they went before; by topic.
    pub missed: Vec<(&'static str, u64)>,
    /// Events of the input that retention had taken at the end.
    pub retired: u64,
    /// Events that were left in the topic of counts at the end.
    pub counts: u64,
    /// Versions of handlers that were put in place.
    pub versions: u64,
    /// Broken files that were put in place.
    pub broken: u64,
    /// How often a publisher that was due was held back, for too much was waiting.
    pub held_back: u64,
    /// What the runtime printed.
    pub log: String,
}

/// Runs; fails at the first event that is lost, doubled, out of order or wrongly given up. Calls `tell` with each sample.
pub fn run(options: &SoakOptions, tell: &(dyn Fn(&Sample) + Sync)) -> Result<Report> {
    let mut directory = Directory::new(&options.components, &options.scratch)?;
    let config = options.scratch.join("tidemill.toml");
    std::fs::write(&config, CONFIG)?;
    let process = ProcessOptions {
        binary: options.binary.clone(),
        data: options.scratch.join("data"),
        plugins: directory.path().to_owned(),
        config: Some(config),
        crash_at: None,
        power: None,
        without: None,
    };
    let data = process.data.clone();
    let process = Process::start(&process)?.context("the runtime does not start")?;
    let soak = Soak {
        options,
        data: &data,
        flow: Flow::new(PARTITIONS as usize),
        reloads: Reloads::default(),
        seen: [const { AtomicU64::new(0) }; Output::ALL.len()],
        tell,
    };
    soak.run(process, &mut directory)
}

/// What the threads of a run share.
struct Soak<'a> {
    options: &'a SoakOptions,
    data: &'a Path,
    flow: Flow,
    reloads: Reloads,
    /// Offsets that the followers of each output have come past.
    seen: [AtomicU64; Output::ALL.len()],
    tell: &'a (dyn Fn(&Sample) + Sync),
}

impl Soak<'_> {
    fn run(&self, process: Process, directory: &mut Directory) -> Result<Report> {
        let api = process.api()?;
        api.put(&format!("/v1/topics/{}", Output::COUNTED.topic), &json!({ "policy": self.options.policy }))?;
        let mut random = fastrand::Rng::with_seed(self.options.seed);
        let reloader = process.api()?;
        thread::scope(|scope| {
            let followers = self.follow(scope, &process)?;
            let cold = Publisher::cold(&self.flow, &api, random.fork())?;
            let publishers = self.publish(scope, &process, &mut random)?;
            let went = self.middle(scope, (&api, &reloader), process.id(), (directory, random.fork()));
            self.flow.end_publishing();
            let sent = publishers.into_iter().map(join).collect::<Result<Vec<_>>>();
            let checked = went.and_then(|report| {
                let mut sent = sent?;
                sent.push(cold);
                let total = Total::of(sent);
                end::wait(&api, &self.flow, &total, &self.seen)?;
                end::check_ends(&api, &total)?;
                let retired = end::retired(&api)?;
                let counts = end::check_newest(&api, &total)?;
                Ok((Report { retired, counts, ..report }, total))
            });
            self.flow.end();
            let log = process.log();
            let stopped = process.stop();
            let seen = followers.into_iter().map(join).collect::<Result<Vec<_>>>();
            // What a follower found says more than that the outputs did not come.
            let seen = seen.with_context(|| last_lines(&log))?;
            let (report, total) = checked.with_context(|| last_lines(&log))?;
            ensure!(stopped?.0.success(), "the runtime did not stop as it should; {}", last_lines(&log));
            self.reckon(Report { log, ..report }, &total, &seen)
        })
    }

    fn follow<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        process: &Process,
    ) -> Result<Vec<ScopedJoinHandle<'s, Result<Sequence>>>> {
        let mut followers = Vec::new();
        for (output, seen) in Output::ALL.into_iter().zip(&self.seen) {
            for partition in 0..PARTITIONS {
                let lines = process.api()?.follow(output.topic, partition)?;
                let follower = Follower { flow: &self.flow, output, partition, seen };
                followers.push(scope.spawn(move || follower.run(lines)));
            }
        }
        Ok(followers)
    }

    fn publish<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        process: &Process,
        random: &mut fastrand::Rng,
    ) -> Result<Vec<ScopedJoinHandle<'s, Result<Sent>>>> {
        if let Some(rate) = self.options.rate {
            self.flow.set_rate(rate);
        }
        let start = |number| {
            let publisher = Publisher::new((number, PUBLISHERS), random.fork());
            let api = process.api()?;
            #[expect(clippy::cast_precision_loss, reason = "there are a few publishers")]
            let share = PUBLISHERS as f64;
            Ok(scope.spawn(move || publisher.run(&self.flow, &api, share).inspect_err(|_| self.flow.end())))
        };
        (0..PUBLISHERS).map(start).collect()
    }

    /// The peak, and then everything at once for as long as it is to take, a sample each second.
    fn middle<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        (api, reloader): (&'s Api, &'s Api),
        process: u32,
        (directory, random): (&'s mut Directory, fastrand::Rng),
    ) -> Result<Report> {
        let mut report = Report::default();
        report.rate = match self.options.rate {
            Some(rate) => rate,
            None => LOAD * *report.peak.insert(peak::measure(&self.flow, api)?),
        };
        self.flow.set_rate(report.rate);
        self.drain(api, report.rate)?;
        let held_back = self.flow.held_back();
        let reloads = scope.spawn(move || {
            reload((&self.flow, reloader), directory, &self.reloads, random).inspect_err(|_| self.flow.end())
        });
        let mut sampler = Sampler::new(process, self.data, &self.flow, &self.reloads)?;
        while sampler.elapsed_s() < self.options.length.as_secs_f64() && !self.flow.is_over() {
            thread::sleep(peak::LOOK);
            let metrics = peak::look(&self.flow, api)?;
            if sampler.since_last_s() >= 1.0 {
                let sample = sampler.take(&metrics)?;
                (self.tell)(&sample);
                report.samples.push(sample);
            }
        }
        self.flow.end_publishing();
        join(reloads)?;
        report.held_back = self.flow.held_back() - held_back;
        Ok(report)
    }

    /// Waits until no more waits than comes in a few seconds: the peak left some.
    #[expect(clippy::cast_precision_loss, reason = "events of a run have less than 53 bits")]
    fn drain(&self, api: &Api, rate: f64) -> Result<()> {
        let begun = Instant::now();
        loop {
            peak::look(&self.flow, api)?;
            let waiting = self.flow.published().saturating_sub(self.flow.settled()) as f64;
            if waiting < rate.max(1_000.0) || self.flow.is_over() {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < DRAIN_MAX,
                "at {rate:.0} events/s {waiting} events still wait after {DRAIN_MAX:?}"
            );
            thread::sleep(peak::LOOK);
        }
    }

    /// Compares what followers saw with what was published.
    fn reckon(&self, mut report: Report, total: &Total, seen: &[Sequence]) -> Result<Report> {
        for (output, partitions) in Output::ALL.into_iter().zip(seen.chunks(PARTITIONS as usize)) {
            report.missed.push((output.topic, end::check_followed(total, output, partitions)?));
        }
        report.events = total.events;
        report.versions = self.reloads.good.load(Ordering::Relaxed);
        report.broken = self.reloads.broken.load(Ordering::Relaxed);
        Ok(report)
    }
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread of the harness panicked"))?
}

/// The last lines of what the runtime said, to be shown with what went wrong.
fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    format!("the runtime said:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"))
}
