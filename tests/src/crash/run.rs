//! The cycle of the kill harness: start, read and check, publish, kill; and at the end drain and compare.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::blow::{Blow, Blows};
use super::load::{Load, Request};
use super::model::{FLAKY_ATTEMPTS, Fate, Model, Violation, line};
use super::power::{End, PowerReport, Syncs};
use crate::harness::{Api, PowerOptions, Process, ProcessOptions, Published, Record, versioned};

/// Partitions of the topics, the default.
const PARTITIONS: u32 = 4;

/// A handler that waits for an hour with its first event, and holds it so long.
const HOLDER: &str = "holder";

/// What it reads.
const HELD: &str = "held";

/// Its plugin file.
const HOLDER_FILE: &str = "inputs = [\"held\"]\n[retry]\nbackoff = \"1h\"\nmax-backoff = \"1h\"\n";

/// Publishers at work between two kills.
const PUBLISHERS: usize = 3;

/// After how many blows it tells how far it is.
const TELL_EVERY: u64 = 500;

/// Events asked for with one read.
const READ_EVENTS: usize = 10_000;

/// How long a crash point may take to be reached before the process is killed from outside.
const POINT_WAIT: Duration = Duration::from_secs(4);

/// A run of so many kills writes more than is kept, so that segments are settled for certain; with the power-cut library
/// a cycle writes less.
const KILLS_TO_SETTLE: u64 = 40;
const CUTS_TO_SETTLE: u64 = 200;

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
    /// How often to kill, or to cut the power.
    pub blows: u64,
    /// The power-cut library, if it is the power that is to be cut.
    pub library: Option<PathBuf>,
    /// A fault that is built in.
    pub fault: Fault,
    /// The seed of every choice.
    pub seed: u64,
}

/// Faults built in on purpose, so that power cuts lose something: a harness that does not find it proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// None.
    #[default]
    None,
    /// Syncs say that they did what they did not.
    SyncsDropped,
    /// What an opening finds beyond the last sync is served as it is.
    TailNotRewritten,
    /// A segment is released when its frames are in the tables' memory, not on their disk.
    ReleasedAtApplied,
}

impl Fault {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::SyncsDropped, Self::TailNotRewritten, Self::ReleasedAtApplied];

    /// The step that the runtime leaves out, as `tidemill_bus::crash` names it.
    fn step(self) -> Option<String> {
        match self {
            Self::None | Self::SyncsDropped => None,
            Self::TailNotRewritten => Some("tail-rewrite".to_owned()),
            Self::ReleasedAtApplied => Some("waiting-for-tables".to_owned()),
        }
    }
}

/// What happened.
#[derive(Debug, Default)]
pub struct Report {
    /// Kills by crash point; `random` for those at a random moment. Or power cuts, and what went before them.
    pub kills: BTreeMap<&'static str, u64>,
    /// Power cuts.
    pub cuts: u64,
    /// What the power-cut library saw and did.
    pub power: PowerReport,
    /// Events published and checked.
    pub events: usize,
    /// Time from the start of the process to ready, after each kill.
    pub recoveries: Vec<Duration>,
    /// What each kind of kill took, its cycle as a whole.
    pub cycles: BTreeMap<&'static str, Duration>,
    /// What checking took, of all cycles.
    pub checks: Duration,
    /// Settled segments that were found after a kill or a power cut.
    pub settled: usize,
    /// Deaths that left a settled copy behind that had not taken its segment's place.
    pub copies: usize,
}

/// Kills a runtime, or cuts its power, again and again under load and checks the model after each. Fails on the
/// first violation, and if it did not do what it is there for.
pub fn run(options: &CrashOptions) -> Result<Report> {
    let mut run = Run::new(options)?;
    let dealt = |report: &Report| match options.library {
        Some(_) => report.cuts,
        None => report.kills.values().sum(),
    };
    while dealt(&run.report) < options.blows {
        let before = dealt(&run.report);
        run.cycle()?;
        let after = dealt(&run.report);
        if after / TELL_EVERY > before / TELL_EVERY && after < options.blows {
            println!("{after} of {}: {} events so far", options.blows, run.model.events());
        }
    }
    let missed = run.blows.missed(&run.report.kills);
    ensure!(missed.is_empty(), "fewer than {} kills at {}", run.blows.hits_min(), missed.join(", "));
    let report = run.finish()?;
    ensure!(options.library.is_none() || report.power.syncs > 0, "no sync was seen: nothing is proven");
    let to_settle = if options.library.is_some() { CUTS_TO_SETTLE } else { KILLS_TO_SETTLE };
    let must_settle = options.fault == Fault::None && options.blows >= to_settle;
    ensure!(!must_settle || report.settled > 0, "no segment was settled: nothing is proven of it");
    Ok(report)
}

struct Run<'a> {
    options: &'a CrashOptions,
    random: fastrand::Rng,
    blows: Blows,
    load: Load,
    model: Model,
    /// Requests without an answer that may be sent again.
    pending: Vec<Request>,
    report: Report,
    process: ProcessOptions,
    swaps: u64,
    /// Events published to be held.
    holds: u64,
    /// The settled segments that were found.
    settled: BTreeSet<u64>,
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
            install(&options.components, &plugins, (name, name), 0)?;
        }
        fs::write(plugins.join(format!("{HOLDER}.toml")), HOLDER_FILE)?;
        install(&options.components, &plugins, ("flaky", HOLDER), 0)?;
        let config = scratch.join("tidemill.toml");
        let data = scratch.join("data");
        fs::create_dir_all(&data)?;
        let state = scratch.join("power");
        fs::create_dir_all(&state)?;
        let process = ProcessOptions {
            binary: options.binary.clone(),
            data,
            plugins,
            config: Some(config),
            crash_at: None,
            power: options.library.clone().map(|library| PowerOptions { library, state }),
            without: options.fault.step(),
        };
        let blows = match options.library {
            Some(_) => Blows::power_cuts(options.blows, options.fault),
            None => Blows::kills(options.blows),
        };
        Ok(Self {
            options,
            random: fastrand::Rng::with_seed(options.seed),
            blows,
            load: Load::new(if options.library.is_some() { 120 } else { 300 }),
            model: Model::default(),
            pending: Vec::new(),
            report: Report::default(),
            process,
            swaps: 0,
            holds: 0,
            settled: BTreeSet::new(),
        })
    }

    /// Start, read and check, publish, kill.
    fn cycle(&mut self) -> Result<()> {
        let blow = self.blows.next(&mut self.random, &self.report.kills);
        let started = Instant::now();
        let Some(mut process) = self.start(&blow)? else { return self.died(&blow, blow.name()) };
        let recovered = started.elapsed();
        self.report.recoveries.push(recovered);
        let api = process.api()?;
        let checked = self.resend(&api).and_then(|()| self.check(&api)).and_then(|()| self.hold(&api));
        self.report.checks += started.elapsed().saturating_sub(recovered);
        if let Err(error) = checked
            && (error.is::<Violation>() || !may_fail(&blow, &mut process)?)
        {
            let seed = self.options.seed;
            return Err(error.context(format!("seed {seed}; the runtime said:\n{}", process.log())));
        }
        let name = self.load_and_end(process, &blow)?;
        *self.report.cycles.entry(name).or_default() += started.elapsed();
        self.died(&blow, name)
    }

    fn start(&mut self, blow: &Blow) -> Result<Option<Process>> {
        let mut options = self.process.clone();
        if let Some(config) = &options.config {
            fs::write(config, self.config_text(blow))?;
        }
        match blow {
            Blow::Moment => {}
            Blow::Point(name, hit) => options.crash_at = Some(format!("{name}:{hit}")),
            Blow::Power(plan) => {
                let mut plan = plan.clone();
                if self.options.fault == Fault::SyncsDropped {
                    plan.syncs = Syncs::Drop;
                }
                let power = options.power.as_ref().context("a power cut without the library")?;
                plan.write(&power.state, &options.data, self.random.u64(..))?;
            }
        }
        Process::start(&options)
    }

    /// Small segments and little kept, so that segments are released and settled all the time. What is kept is still
    /// a multiple of what a cycle writes, for each is read before it may go: with the library a cycle writes less.
    /// Most of the processes make checkpoints often, and settle after each, the others leave more to be replayed.
    fn config_text(&mut self, blow: &Blow) -> String {
        let kept = if self.options.library.is_some() { "16MiB" } else { "48MiB" };
        let often = blow.wants_checkpoints() || self.random.u32(..3) > 0;
        let pace = match self.options.fault {
            Fault::None if often => "checkpoint = \"100ms\"\nsettle = \"0s\"\n",
            _ => "",
        };
        format!("[store]\nsegment = \"1MiB\"\n{pace}[store.retention]\nbytes = \"{kept}\"\n")
    }

    /// Takes note of a death.
    fn died(&mut self, blow: &Blow, name: &'static str) -> Result<()> {
        *self.report.kills.entry(name).or_default() += 1;
        let (settled, copies) = settled_in(&self.process.data.join("journal"))?;
        self.settled.extend(settled);
        self.report.copies += usize::from(copies > 0);
        if let (Blow::Power(plan), Some(power)) = (blow, &self.process.power) {
            if plan.fails_syncs() && !power.state.join("report").exists() {
                // It was refused at its opening, and ended without a cut.
                return Ok(());
            }
            self.report.power.add(&power.state)?;
            self.report.cuts += u64::from(plan.end == End::Cut);
        }
        Ok(())
    }

    /// Publishes until the process is gone; says what it died of.
    fn load_and_end(&mut self, process: Process, blow: &Blow) -> Result<&'static str> {
        let apis = (0..PUBLISHERS).map(|_| process.api()).collect::<Result<_>>()?;
        let moment = Duration::from_millis(self.random.u64(1..300));
        let swap = blow.name() == "plugin-swap" || self.random.u32(..16) == 0;
        self.swaps += u64::from(swap);
        let (components, plugins, swaps) = (&self.options.components, &self.process.plugins, self.swaps);
        let (died, requests) =
            self.load.publish_while(apis, self.random.u64(..), || -> Result<&'static str> {
                if swap {
                    install(components, plugins, ("passthrough", "passthrough"), swaps)?;
                }
                end(process, blow, moment)
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

    /// Keeps a handler from going on, so that retention must wait for it and settling has something to do; now and
    /// then lets it go first, so that segments are released as well.
    fn hold(&mut self, api: &Api) -> Result<()> {
        if self.options.fault != Fault::None {
            return Ok(());
        }
        if let Some((partition, from)) = self.model.held() {
            self.model.holds(&api.read(HELD, partition, from, READ_EVENTS)?)?;
            // With the library a cycle writes less, and leaves less to be settled.
            let cycles = if self.options.library.is_some() { 12 } else { 4 };
            if self.random.u32(..cycles) == 0 {
                self.model.let_go();
                api.post(&format!("/v1/handlers/{HOLDER}/seek"), &json!({ "to": "latest" }))?;
            }
        }
        self.holds += 1;
        let line = line(self.holds, 0, Fate::Retry) + "\n";
        if let Published::Acknowledged(places) = api.publish(HELD, &line, None)? {
            let place = places.first().context("an event was published to no place")?;
            self.model.hold((place.partition, place.offset), self.holds);
        }
        Ok(())
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
        let process = Process::start(&ProcessOptions { power: None, ..self.process.clone() })?
            .context("the runtime did not start")?;
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
        self.report.settled = self.settled.len();
        Ok(self.report)
    }
}

/// Whether a read or a publish may have failed because of the blow. A violation never may.
fn may_fail(blow: &Blow, process: &mut Process) -> Result<bool> {
    Ok(blow.stops_the_store() || (blow.ends_by_itself() && process.ends_within(POINT_WAIT)?))
}

/// Lets the process die; says what it died of.
fn end(mut process: Process, blow: &Blow, moment: Duration) -> Result<&'static str> {
    match blow {
        Blow::Moment => thread::sleep(moment),
        Blow::Point(name, _) if process.ends_within(POINT_WAIT)? => return Ok(name),
        Blow::Point(..) => {}
        Blow::Power(plan) => {
            if plan.at.is_none() || !process.ends_within(POINT_WAIT)? {
                thread::sleep(Duration::from_millis(plan.after_ms));
                process.end_now()?;
            }
            return Ok(plan.name);
        }
    }
    process.kill()?;
    Ok("random")
}

/// The settled segments in the journal, and how many copies had not taken their place. They have a 2 at byte 14, as
/// FORMAT.md says.
fn settled_in(journal: &Path) -> Result<(Vec<u64>, usize)> {
    let (mut settled, mut copies) = (Vec::new(), 0);
    if !journal.exists() {
        // It died before the store was made.
        return Ok((settled, copies));
    }
    for file in fs::read_dir(journal)? {
        let path = file?.path();
        let mut header = [0; 16];
        if fs::File::open(&path)?.read(&mut header)? < header.len() || !header.starts_with(b"TMSEGMT\0") {
            continue;
        }
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        // Joined segments have the numbers of the first and the last.
        let number = name.strip_suffix(".segment").map(|name| name.split('-').next().unwrap_or(name).parse());
        match number {
            Some(number) if header[14] == 2 => settled.push(number?),
            None if header[14] == 2 && path.extension().is_some_and(|kind| kind == "new") => copies += 1,
            _ => {}
        }
    }
    Ok((settled, copies))
}

/// Puts a version of a component into the plugin directory as an upload does: a complete file, renamed into place.
fn install(components: &Path, plugins: &Path, (component, name): (&str, &str), version: u64) -> Result<()> {
    let bytes = versioned(&components.join(format!("{component}.wasm")), version)?;
    let draft = plugins.join(format!(".{name}.draft"));
    fs::write(&draft, bytes)?;
    fs::rename(draft, plugins.join(format!("{name}.wasm"))).context("renaming a component into place")
}
