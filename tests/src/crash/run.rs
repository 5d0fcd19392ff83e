//! The cycle of the kill harness: start, read and check, publish, kill; and at the end drain and compare.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::load::{Load, Request};
use super::model::{FLAKY_ATTEMPTS, Model, Violation};
use crate::harness::{Api, Process, ProcessOptions, Published, Record};

/// Places in the runtime where it can be told to kill itself, as `tidemill_bus::crash` names them, and up to
/// which hit: those around a write are passed all the time, a checkpoint is made every two seconds.
const POINTS: [(&str, u64); 6] = [
    ("before-write", 40),
    ("after-write", 40),
    ("after-sync", 40),
    ("checkpoint", 1),
    ("segment-release", 2),
    ("plugin-swap", 4),
];

/// Partitions of the topics, the default.
const PARTITIONS: u32 = 4;

/// Publishers at work between two kills.
const PUBLISHERS: usize = 3;

/// Events asked for with one read.
const READ_EVENTS: usize = 10_000;

/// How long a crash point may take to be reached before the process is killed from outside.
const POINT_WAIT: Duration = Duration::from_secs(4);

/// How long the handlers may take to finish at the end.
const DRAIN_MAX: Duration = Duration::from_mins(5);

/// What to run.
#[derive(Clone, Debug)]
pub struct CrashOptions {
    /// The `tidemill` binary.
    pub binary: PathBuf,
    /// Where `passthrough.wasm`, `aggregate.wasm` and `flaky.wasm` lie.
    pub components: PathBuf,
    /// A scratch directory for data, plugins and configuration.
    pub scratch: PathBuf,
    /// How often to kill.
    pub kills: u64,
    /// The seed of every choice.
    pub seed: u64,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Report {
    /// Kills by crash point; `random` for those at a random moment.
    pub kills: BTreeMap<&'static str, u64>,
    /// Events published and checked.
    pub events: usize,
    /// Time from the start of the process to ready, after each kill.
    pub recoveries: Vec<Duration>,
}

/// Kills a runtime `kills` times under load and checks the model after each. Fails on the first violation.
pub fn run(options: &CrashOptions) -> Result<Report> {
    let mut run = Run::new(options)?;
    while run.report.kills.values().sum::<u64>() < options.kills {
        run.cycle()?;
    }
    run.finish()
}

struct Run<'a> {
    options: &'a CrashOptions,
    random: fastrand::Rng,
    load: Load,
    model: Model,
    /// Requests without an answer that may be sent again.
    pending: Vec<Request>,
    report: Report,
    process: ProcessOptions,
    swaps: u64,
}

impl<'a> Run<'a> {
    fn new(options: &'a CrashOptions) -> Result<Self> {
        let scratch = &options.scratch;
        let plugins = scratch.join("plugins");
        fs::create_dir_all(&plugins)?;
        for (name, output, more) in [
            ("passthrough", "passed", String::new()),
            ("aggregate", "counted", "[config]\npointer = \"/id\"\n".to_owned()),
            ("flaky", "flaky", format!("[retry]\nattempts = {FLAKY_ATTEMPTS}\nbackoff = \"5ms\"\n")),
        ] {
            let text = format!("inputs = [\"events\"]\noutput = \"{output}\"\n{more}");
            fs::write(plugins.join(format!("{name}.toml")), text)?;
            install(&options.components, &plugins, name, 0)?;
        }
        let config = scratch.join("tidemill.toml");
        fs::write(&config, CONFIG)?;
        let process = ProcessOptions {
            binary: options.binary.clone(),
            data: scratch.join("data"),
            plugins,
            config: Some(config),
            crash_at: None,
        };
        Ok(Self {
            options,
            random: fastrand::Rng::with_seed(options.seed),
            load: Load::new(),
            model: Model::default(),
            pending: Vec::new(),
            report: Report::default(),
            process,
            swaps: 0,
        })
    }

    /// Start, read and check, publish, kill.
    fn cycle(&mut self) -> Result<()> {
        let chosen = self.random.bool().then(|| POINTS[self.random.usize(..POINTS.len())]);
        let point = chosen.map(|(point, _)| point);
        let crash_at = chosen.map(|(point, most)| format!("{point}:{}", self.random.u64(1..=most)));
        let started = Instant::now();
        let process = Process::start(&ProcessOptions { crash_at, ..self.process.clone() })?;
        let Some(mut process) = process else {
            *self.report.kills.entry(point.unwrap_or("random")).or_default() += 1;
            return Ok(());
        };
        self.report.recoveries.push(started.elapsed());
        let checked = self.resend(&process.api()?).and_then(|()| self.check(&process.api()?));
        // A read that failed because the process reached its crash point says nothing; a violation does.
        if let Err(error) = checked
            && (error.is::<Violation>() || point.is_none() || !process.ends_within(POINT_WAIT)?)
        {
            return Err(error.context(format!(
                "seed {}; the runtime said:\n{}",
                self.options.seed,
                process.log()
            )));
        }
        let name = self.load_and_kill(process, point)?;
        *self.report.kills.entry(name).or_default() += 1;
        Ok(())
    }

    /// Publishes until the process is gone; says what it died of.
    fn load_and_kill(&mut self, mut process: Process, point: Option<&'static str>) -> Result<&'static str> {
        let apis = (0..PUBLISHERS).map(|_| process.api()).collect::<Result<_>>()?;
        let moment = Duration::from_millis(self.random.u64(1..300));
        let swap = point == Some("plugin-swap") || self.random.u32(..8) == 0;
        self.swaps += u64::from(swap);
        let (components, plugins, swaps) = (&self.options.components, &self.process.plugins, self.swaps);
        let (died, requests) =
            self.load.publish_while(apis, self.random.u64(..), || -> Result<&'static str> {
                if swap {
                    install(components, plugins, "passthrough", swaps)?;
                }
                match point {
                    Some(point) if process.ends_within(POINT_WAIT)? => return Ok(point),
                    Some(_) => {}
                    None => thread::sleep(moment),
                }
                process.kill()?;
                Ok("random")
            })?;
        self.record(requests)?;
        died
    }

    /// Tells the model how requests ended.
    fn record(&mut self, requests: Vec<Request>) -> Result<()> {
        for request in requests {
            match &request.published {
                Published::Acknowledged(places) => {
                    self.model.sent(request.first, request.count);
                    self.model.acknowledged(request.first, request.count, places)?;
                }
                Published::Refused(503, _) => self.model.refused(request.first, request.count),
                Published::Refused(status, problem) => {
                    anyhow::bail!("a publish was refused with {status}: {problem}");
                }
                Published::Unknown if request.idempotent => self.pending.push(request),
                Published::Unknown => self.model.sent(request.first, request.count),
            }
        }
        Ok(())
    }

    /// Sends the requests again whose answer was lost: they must not be done twice.
    fn resend(&mut self, api: &Api) -> Result<()> {
        while let Some(mut request) = self.pending.pop() {
            let key = request.idempotency_key();
            request.published = api.publish("events", &request.lines, key.as_deref())?;
            let lost = request.published == Published::Unknown;
            self.record(vec![request])?;
            ensure!(!lost, "the runtime went away while requests were sent again");
        }
        Ok(())
    }

    /// Reads on from where the last check ended, and shows the model what is there.
    fn check(&mut self, api: &Api) -> Result<()> {
        self.read_all(api, "events", Model::input)?;
        if self.pending.is_empty() {
            self.model.input_ends()?;
        }
        self.read_outputs(api)
    }

    fn read_outputs(&mut self, api: &Api) -> Result<()> {
        self.read_all(api, "passed", Model::passed)?;
        self.read_all(api, "counted", Model::counted)?;
        self.read_all(api, "flaky", Model::flaky)?;
        self.read_all(api, "_dead.flaky", Model::dead)
    }

    fn read_all(
        &mut self,
        api: &Api,
        topic: &str,
        show: fn(&mut Model, u32, &Record) -> Result<(), Violation>,
    ) -> Result<()> {
        for partition in 0..PARTITIONS {
            loop {
                let from = self.model.next(topic, partition);
                let records = api.read(topic, partition, from, READ_EVENTS)?;
                for record in &records {
                    show(&mut self.model, partition, record)?;
                }
                if records.len() < READ_EVENTS {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A last start without kills: everything is processed, nothing more than that, and the stop is clean.
    fn finish(mut self) -> Result<Report> {
        let process = Process::start(&self.process)?.context("the runtime did not start")?;
        let api = process.api()?;
        self.resend(&api)?;
        self.check(&api)?;
        let started = Instant::now();
        while self.model.outstanding() > 0 {
            ensure!(
                started.elapsed() < DRAIN_MAX,
                "{} outputs are missing (seed {}); the runtime said:\n{}",
                self.model.outstanding(),
                self.options.seed,
                process.log()
            );
            self.read_outputs(&api)?;
        }
        for handler in ["passthrough", "aggregate", "flaky"] {
            let group = api.get(&format!("/v1/groups/{handler}"))?;
            ensure!(group["lag"] == 0, "the group {handler} has lag after all its outputs: {group}");
        }
        let (status, log) = process.stop()?;
        ensure!(status.success(), "SIGTERM ended the runtime with {status}:\n{log}");
        self.report.events = self.model.events();
        Ok(self.report)
    }
}

/// Small segments and little kept, so that segments are released all the time. What is kept is still a
/// multiple of what a cycle writes, for each is read before it may go.
const CONFIG: &str = "\
[store]
segment = \"1MiB\"
[store.retention]
bytes = \"48MiB\"
";

/// Puts a component into the plugin directory as an upload does: a complete file, renamed into place. A
/// version is the same code with another custom section, so that its hash is new.
fn install(components: &Path, plugins: &Path, name: &str, version: u64) -> Result<()> {
    let from = components.join(format!("{name}.wasm"));
    let mut bytes = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
    if version > 0 {
        let payload = format!("{version:020}");
        let section = [&[0x00, 24, 3][..], b"ver", payload.as_bytes()].concat();
        bytes.extend_from_slice(&section);
    }
    let draft = plugins.join(format!(".{name}.draft"));
    fs::write(&draft, bytes)?;
    fs::rename(draft, plugins.join(format!("{name}.wasm"))).context("renaming a component into place")
}
