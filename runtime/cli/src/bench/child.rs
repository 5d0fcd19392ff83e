//! A `tidemill run` of this same binary on an empty store, and the processor time that it has used.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Method;

use crate::client::Client;

/// Ticks of the kernel's processor clock in a second, the same on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Between two looks at something that is awaited.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a runtime has used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Processor time of all threads, in seconds.
    pub(super) cpu_seconds: f64,
    /// Syncs of the journal.
    pub(super) syncs: u64,
}

impl Usage {
    /// What was used since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self { cpu_seconds: self.cpu_seconds - before.cpu_seconds, syncs: self.syncs - before.syncs }
    }
}

/// A running child. Killed when dropped, and its store removed.
pub(super) struct Runtime {
    child: Child,
    scratch: tempfile::TempDir,
    /// A client of it.
    pub(super) client: Client,
}

impl Runtime {
    /// Starts the binary on an empty store below `scratch`, with an empty plugin directory.
    pub(super) async fn start(scratch: &Path) -> Result<Self> {
        let scratch = tempfile::Builder::new()
            .prefix("tidemill-bench-")
            .tempdir_in(scratch)
            .with_context(|| format!("creating a directory in {}", scratch.display()))?;
        let (plugins, log) = (scratch.path().join("plugins"), scratch.path().join("log"));
        fs::create_dir(&plugins).context("creating the plugin directory")?;
        let mut child = Command::new(std::env::current_exe().context("finding this binary")?)
            .args(["run", "--listen", "127.0.0.1:0", "--log", "text"])
            .arg("--data")
            .arg(scratch.path().join("data"))
            .arg("--plugins")
            .arg(&plugins)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).context("creating the runtime's log")?)
            .spawn()
            .context("starting a runtime")?;
        let Some(address) = address_of(&mut child)? else {
            bail!("the runtime ended before it named its address:\n{}", fs::read_to_string(log)?);
        };
        let runtime = Self { child, scratch, client: Client::new(&address)? };
        runtime.client.json(runtime.client.request(Method::GET, &["readyz"])?).await?;
        Ok(runtime)
    }

    /// Puts a component and its settings into the plugin directory, and waits until the handler is there.
    pub(super) async fn install(&self, name: &str, component: &Path, settings: &str) -> Result<()> {
        let plugins = self.scratch.path().join("plugins");
        fs::write(plugins.join(format!("{name}.toml")), settings).context("writing the plugin's settings")?;
        self.put(name, component)?;
        while self.client.get(&["v1", "handlers", name]).await.is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Puts a component into the plugin directory, all of it at once.
    pub(super) fn put(&self, name: &str, component: &Path) -> Result<()> {
        let plugins = self.scratch.path().join("plugins");
        let draft = plugins.join(format!(".{name}.draft"));
        fs::copy(component, &draft)
            .with_context(|| format!("copying {}; `cargo xtask bench` builds it", component.display()))?;
        fs::rename(draft, plugins.join(format!("{name}.wasm"))).context("renaming the plugin into place")
    }

    /// What it has used so far.
    pub(super) async fn usage(&self) -> Result<Usage> {
        let request = self.client.request(Method::GET, &["metrics"])?;
        let metrics = self.client.send(request).await?.text().await.context("reading the metrics")?;
        let syncs = metrics.lines().find_map(|line| line.strip_prefix("tidemill_store_syncs_total "));
        let syncs =
            syncs.and_then(|count| count.trim().parse().ok()).context("the metrics count no syncs")?;
        Ok(Usage { cpu_seconds: self.cpu_seconds()?, syncs })
    }

    /// Bytes of its memory that are resident.
    pub(super) fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib =
            line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
        Ok(kib.with_context(|| format!("{path} has no VmRSS"))? << 10)
    }

    /// Processor time of all its threads so far, in seconds.
    fn cpu_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        // The name in brackets may hold anything; utime and stime are the 12th and 13th fields after it.
        let (_, fields) = stat.rsplit_once(')').context("the kernel's process line has no name")?;
        let ticks = |field: &str| field.parse::<f64>().with_context(|| format!("{field:?} in {path}"));
        let mut times = fields.split_whitespace().skip(11);
        let (user, system) = (times.next().unwrap_or_default(), times.next().unwrap_or_default());
        Ok((ticks(user)? + ticks(system)?) / TICKS_PER_SECOND)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // It may have ended already, and there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what the child says until it names its address; the rest is read and dropped on a thread. `None` if it
/// ends before.
fn address_of(child: &mut Child) -> Result<Option<String>> {
    let mut lines = BufReader::new(child.stdout.take().context("the child has no standard output")?).lines();
    for line in lines.by_ref().map_while(Result::ok) {
        if let Some(at) = line.find("http://127.0.0.1:") {
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            return Ok(Some(line[at..].trim_end().to_owned()));
        }
    }
    Ok(None)
}
