//! A sample: what the process uses, what its disk holds and what passed through it, once a second.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};

use super::flow::Flow;
use super::reload::Reloads;

/// Bytes of a MiB.
const MIB: f64 = (1 << 20) as f64;

/// Ticks of processor time in a second, as Linux tells them to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes of the blocks that a file's place on the disk is told in.
const DISK_BLOCK_BYTES: u64 = 512;

/// What was measured at one moment, or since the moment before.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Seconds since the measuring began.
    pub at_s: f64,
    /// Seconds since the sample before.
    pub interval_s: f64,
    /// Events published a second.
    pub published: f64,
    /// Outputs of the first handler seen a second.
    pub seen: f64,
    /// The time from when an event was due to when its output was seen, in milliseconds: half took less.
    pub p50_ms: f64,
    /// The same: one in a hundred took longer.
    pub p99_ms: f64,
    /// Events that wait for a handler, of all handlers.
    pub lag: f64,
    /// Memory in use, the pages of files included, in MiB.
    pub resident_mib: f64,
    /// Memory of the process's own in use, in MiB.
    pub anonymous_mib: f64,
    /// File descriptors, connections included.
    pub descriptors: f64,
    /// Threads.
    pub threads: f64,
    /// Processor time of all threads, in microseconds an event published.
    pub cpu_us: f64,
    /// The journal on disk, in MiB.
    pub journal_mib: f64,
    /// The tables on disk, in MiB.
    pub tables_mib: f64,
    /// What else is in the data directory, in MiB: the cache of compiled handlers.
    pub cache_mib: f64,
    /// Files of journal and tables.
    pub files: f64,
    /// Events given up so far.
    pub dead_letters: f64,
    /// Attempts that were followed by another so far.
    pub retries: f64,
    /// Versions of handlers so far, since the measuring began.
    pub reloads: f64,
    /// Checkpoints so far.
    pub checkpoints: f64,
    /// Segments given up by retention so far.
    pub released: f64,
    /// Segments settled so far.
    pub settled: f64,
    /// What waits for a processor of this machine, ours and others', over the last minute.
    pub load: f64,
}

/// Takes samples of one process.
pub(super) struct Sampler<'a> {
    process: u32,
    data: PathBuf,
    flow: &'a Flow,
    reloads: &'a Reloads,
    began_s: f64,
    last: Totals,
}

/// What only ever grows.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    at_s: f64,
    published: f64,
    seen: f64,
    cpu_s: f64,
}

impl<'a> Sampler<'a> {
    /// Begins to measure now.
    pub(super) fn new(process: u32, data: &Path, flow: &'a Flow, reloads: &'a Reloads) -> Result<Self> {
        flow.take_latencies();
        let began_s = flow.clock.now_s();
        let mut sampler =
            Self { process, data: data.to_owned(), flow, reloads, began_s, last: Totals::default() };
        sampler.last = sampler.totals()?;
        Ok(sampler)
    }

    /// Seconds since the measuring began.
    pub(super) fn elapsed_s(&self) -> f64 {
        self.flow.clock.now_s() - self.began_s
    }

    /// Seconds since the last sample.
    pub(super) fn since_last_s(&self) -> f64 {
        self.elapsed_s() - self.last.at_s
    }

    /// Takes a sample. What the runtime counts of itself is `metrics`.
    #[expect(clippy::cast_precision_loss, reason = "what is counted here has less than 53 bits")]
    pub(super) fn take(&mut self, metrics: &str) -> Result<Sample> {
        let latencies = self.flow.take_latencies();
        let (now, last) = (self.totals()?, self.last);
        self.last = now;
        let interval_s = (now.at_s - last.at_s).max(1e-3);
        let quantile_ms = |quantile| {
            if latencies.is_empty() { f64::NAN } else { latencies.value_at_quantile(quantile) as f64 / 1e3 }
        };
        let status = fs::read_to_string(format!("/proc/{}/status", self.process))?;
        let disk = Disk::of(&self.data)?;
        let sum = |name: &str| sum(metrics, name).with_context(|| format!("there is no metric {name}"));
        Ok(Sample {
            at_s: now.at_s,
            interval_s,
            published: (now.published - last.published) / interval_s,
            seen: (now.seen - last.seen) / interval_s,
            p50_ms: quantile_ms(0.5),
            p99_ms: quantile_ms(0.99),
            lag: sum("tidemill_handler_lag")?,
            resident_mib: field(&status, "VmRSS:")? / 1024.0,
            anonymous_mib: field(&status, "RssAnon:")? / 1024.0,
            descriptors: fs::read_dir(format!("/proc/{}/fd", self.process))?.count() as f64,
            threads: field(&status, "Threads:")?,
            cpu_us: (now.cpu_s - last.cpu_s) * 1e6 / (now.published - last.published).max(1.0),
            journal_mib: disk.journal_bytes as f64 / MIB,
            tables_mib: disk.tables_bytes as f64 / MIB,
            cache_mib: disk.other_bytes as f64 / MIB,
            files: disk.files as f64,
            dead_letters: sum("tidemill_handler_dead_letters_total")?,
            retries: sum("tidemill_handler_retries_total")?,
            reloads: (self.reloads.good.load(Ordering::Relaxed) + self.reloads.broken.load(Ordering::Relaxed))
                as f64,
            checkpoints: sum("tidemill_store_checkpoints_total")?,
            released: sum("tidemill_store_segments_released_total")?,
            settled: sum("tidemill_store_segments_settled_total")?,
            load: field(&format!("load {}", fs::read_to_string("/proc/loadavg")?), "load")?,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "what is counted here has less than 53 bits")]
    fn totals(&self) -> Result<Totals> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process))?;
        Ok(Totals {
            at_s: self.elapsed_s(),
            published: self.flow.published() as f64,
            seen: self.flow.seen() as f64,
            cpu_s: processor_ticks(&stat).context("a line of /proc/PID/stat")? / TICKS_PER_SECOND,
        })
    }
}

/// Space on disk and files of a data directory.
#[derive(Clone, Copy, Debug, Default)]
struct Disk {
    journal_bytes: u64,
    tables_bytes: u64,
    other_bytes: u64,
    files: u64,
}

impl Disk {
    fn of(data: &Path) -> Result<Self> {
        let mut disk = Self::default();
        for entry in fs::read_dir(data)? {
            let entry = entry?;
            let (bytes, files) =
                walk(&entry.path()).with_context(|| format!("looking at {}", data.display()))?;
            let (sum, of_store) = match entry.file_name().to_str() {
                Some("journal") => (&mut disk.journal_bytes, true),
                Some("tables") => (&mut disk.tables_bytes, true),
                _ => (&mut disk.other_bytes, false),
            };
            *sum += bytes;
            disk.files += if of_store { files } else { 0 };
        }
        Ok(disk)
    }
}

/// Bytes on disk and number of the files at or below `path`; of those that go meanwhile, nothing.
fn walk(path: &Path) -> io::Result<(u64, u64)> {
    let gone = |error: io::Error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) => return gone(error).map(|()| (0, 0)),
    };
    if !found.is_dir() {
        return Ok((found.blocks() * DISK_BLOCK_BYTES, 1));
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return gone(error).map(|()| (0, 0)),
    };
    let (mut bytes, mut files) = (0, 0);
    for entry in entries {
        let below = walk(&entry?.path())?;
        (bytes, files) = (bytes + below.0, files + below.1);
    }
    Ok((bytes, files))
}

/// The number after a name in one of the texts of `/proc`.
fn field(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok());
    number.with_context(|| format!("there is no number after {name} in {text:?}"))
}

/// User's and system's time in `/proc/PID/stat`. The name of the program, in parentheses, may have blanks.
fn processor_ticks(stat: &str) -> Option<f64> {
    let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || words.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

/// The sum of a metric over all its labels, if there is one of that name.
fn sum(metrics: &str, name: &str) -> Option<f64> {
    values(metrics, name).reduce(|one, two| one + two)
}

/// The values of a metric, one for each of its labels.
pub(super) fn values<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = f64> + 'a {
    metrics.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
        rest.rsplit_once(' ')?.1.parse::<f64>().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_their_labels() {
        let text =
            "# TYPE t_lag gauge\nt_lag{handler=\"a b\"} 3\nt_lag{handler=\"c\"} 4.5\nt_lag_max 9\nt_one 1\n";
        assert_eq!(sum(text, "t_lag"), Some(7.5));
        assert_eq!(sum(text, "t_one"), Some(1.0));
        assert_eq!(sum(text, "t_none"), None);
        assert_eq!(values(text, "t_lag").collect::<Vec<_>>(), [3.0, 4.5]);
    }

    #[test]
    fn what_a_process_uses_is_read() {
        let own = format!("/proc/{}", std::process::id());
        let status = fs::read_to_string(format!("{own}/status")).unwrap();
        assert!(field(&status, "VmRSS:").unwrap() > 100.0);
        assert!(field(&status, "Threads:").unwrap() >= 1.0);
        assert!(field(&status, "Nothing:").is_err());
        assert!(processor_ticks(&fs::read_to_string(format!("{own}/stat")).unwrap()).is_some());
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 5183 0 0 0 123 45 0 0 20 0 12 0";
        assert_eq!(processor_ticks(stat), Some(168.0));
    }

    #[test]
    fn the_parts_of_a_data_directory_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["journal/1", "journal/2", "tables/a/b", "cache/c", "LOCK"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [1; 5_000]).unwrap();
        }
        let disk = Disk::of(dir.path()).unwrap();
        assert_eq!(disk.files, 3);
        assert!(disk.journal_bytes >= 10_000 && disk.tables_bytes >= 5_000 && disk.other_bytes >= 10_000);
    }
}
