//! What the power-cut library is told, and what it tells. Knows its two files; the runtime is none of its concern.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::run::Fault;

/// How a process ends under the power-cut library, and what its syncs do before.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// What the run's report calls it.
    pub(super) name: &'static str,
    pub(super) end: End,
    /// It ends with this call on a file below `below` (empty: any), or when it is told to, if that is sooner.
    pub(super) at: Option<u64>,
    pub(super) below: &'static str,
    pub(super) syncs: Syncs,
    /// It is told to end this long after the load began.
    pub(super) after_ms: u64,
}

/// What is left for the next process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What was synced, and some of the rest.
    Cut,
    /// Everything, and what was not synced may go with the next cut.
    Kill,
}

/// What syncs do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Syncs {
    /// What they should.
    Keep,
    /// Nothing; they say that they did.
    Drop,
    /// This one of the journal's fails, the others do what they should.
    JournalFails(u64),
    /// All of the tables' fail.
    TablesFail,
}

impl Plan {
    /// A cut under load, at call `at` below a folder.
    fn cut_at(at: u64, below: &'static str) -> Self {
        Self { at: Some(at), below, ..Self::told("power cut at a call", End::Cut, 0) }
    }

    /// An end that comes when the harness says so.
    fn told(name: &'static str, end: End, after_ms: u64) -> Self {
        Self { name, end, at: None, below: "", syncs: Syncs::Keep, after_ms }
    }

    /// What the next processes are to suffer, the first of them first. The last ends with a cut. A fault that is
    /// built in gets what can find it.
    pub(super) fn draw(fault: Fault, random: &mut fastrand::Rng) -> Vec<Self> {
        let moment = random.u64(0..300);
        let cut = Self::told("power cut at a moment", End::Cut, moment);
        let chosen = match fault {
            Fault::None | Fault::SyncsDropped => 0..100,
            Fault::TailNotRewritten => 75..95,
            Fault::ReleasedAtApplied => 95..100,
        };
        match random.u32(chosen) {
            // While the store is made or opened.
            0..15 => vec![Self::cut_at(random.u64(1..=60), "")],
            // Under load.
            15..50 => vec![Self::cut_at(random.u64(60..=500), "")],
            50..58 => vec![cut],
            // After a checkpoint or more, while segments are settled.
            58..65 => vec![Self::told("power cut after a while", End::Cut, random.u64(500..1_500))],
            // While the tables are flushed.
            65..75 => vec![Self::cut_at(random.u64(1..=40), "tables")],
            // What the system still held for a killed process goes with the power.
            75..87 => {
                let at = Some(random.u64(60..=400));
                vec![Self { at, ..Self::told("kill before a power cut", End::Kill, 0) }, cut]
            }
            87..95 => {
                let syncs = Syncs::JournalFails(random.u64(1..=80));
                vec![Self { syncs, ..Self::told("failed sync before a power cut", End::Kill, 600) }, cut]
            }
            _ => {
                let syncs = Syncs::TablesFail;
                vec![Self { syncs, ..Self::told("power cut of tables that cannot sync", End::Cut, 2_600) }]
            }
        }
    }

    /// The first of a run: under load, so that there is a store.
    pub(super) fn first() -> Self {
        Self::told("power cut at a moment", End::Cut, 300)
    }

    /// Whether syncs are to fail, which an opening may be refused for.
    pub(super) fn fails_syncs(&self) -> bool {
        matches!(self.syncs, Syncs::JournalFails(_) | Syncs::TablesFail)
    }

    /// Puts it where the library reads it.
    pub(super) fn write(&self, state: &Path, data: &Path, seed: u64) -> Result<()> {
        let end = match self.end {
            End::Cut => "cut",
            End::Kill => "kill",
        };
        let (at, below) = (self.at.unwrap_or(0), self.below);
        let mut text = format!("data={}\nseed={seed}\nend={end}\nat={at}\nbelow={below}\n", data.display());
        match self.syncs {
            Syncs::Keep => text.push_str("syncs=keep\n"),
            Syncs::Drop => text.push_str("syncs=drop\n"),
            Syncs::JournalFails(at) => {
                write!(text, "syncs=fail-once\nfails-below=journal\nfails-at={at}\n")?;
            }
            Syncs::TablesFail => text.push_str("syncs=fail-always\nfails-below=tables\n"),
        }
        match fs::remove_file(state.join("report")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        fs::write(state.join("plan"), text).context("writing the plan of a power cut")
    }
}

/// What the library saw and did, over all processes of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct PowerReport {
    /// Writes to files of the data directory.
    pub writes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of directories.
    pub directory_syncs: u64,
    /// Syncs that were made to fail.
    pub failed_syncs: u64,
    /// Pages that were not synced when the power was cut.
    pub pages: u64,
    /// Of them, those that were lost.
    pub pages_lost: u64,
    /// Changes of names that were not synced when the power was cut.
    pub operations: u64,
    /// Of them, those that were lost.
    pub operations_lost: u64,
}

impl PowerReport {
    /// Adds what the library said at the end of a process.
    pub(super) fn add(&mut self, state: &Path) -> Result<()> {
        let path = state.join("report");
        let text = fs::read_to_string(&path).context("the power-cut library left no report")?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.and_then(|value| value.parse::<u64>().ok())
                .with_context(|| format!("the report has no {name}"))
        };
        ensure!(number("unseen")? == 0, "the power-cut library did not see every change of the directory");
        for (sum, name) in [
            (&mut self.writes, "writes"),
            (&mut self.syncs, "syncs"),
            (&mut self.directory_syncs, "directory-syncs"),
            (&mut self.failed_syncs, "failed-syncs"),
            (&mut self.pages, "pages"),
            (&mut self.pages_lost, "pages-lost"),
            (&mut self.operations, "operations"),
            (&mut self.operations_lost, "operations-lost"),
        ] {
            *sum += number(name)?;
        }
        Ok(())
    }
}
