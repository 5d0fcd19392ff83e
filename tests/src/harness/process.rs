//! A `tidemill run` as a child process: started, waited for until ready, killed, or asked to stop.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::Api;

/// How long a start may take before it counts as hanging. Generous: CI machines are slow.
const START_MAX: Duration = Duration::from_mins(2);

/// What to start.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    /// The `tidemill` binary.
    pub binary: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// The plugin directory.
    pub plugins: PathBuf,
    /// The configuration file, if any.
    pub config: Option<PathBuf>,
    /// `NAME:N`: the process is to kill itself the N-th time it passes the crash point NAME.
    pub crash_at: Option<String>,
    /// The power-cut library, if it is to be preloaded.
    pub power: Option<PowerOptions>,
    /// A step that the runtime is to leave out, so that something is lost.
    pub without: Option<String>,
}

/// How the power-cut library is preloaded.
#[derive(Clone, Debug)]
pub struct PowerOptions {
    /// The library.
    pub library: PathBuf,
    /// The library's own directory, where its plan lies; on the file system of the data directory.
    pub state: PathBuf,
}

/// A running `tidemill run`. Killed when dropped.
pub struct Process {
    child: Child,
    /// Held for the power-cut library, which ends the process when it is let go.
    input: Option<ChildStdin>,
    address: String,
    log: Arc<Mutex<String>>,
    /// They read what the process says, until it is gone.
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts the binary on a free port and waits until it is ready. `Ok(None)` if it died before that, as it
    /// may at a crash point.
    pub fn start(options: &ProcessOptions) -> Result<Option<Self>> {
        let mut command = Command::new(&options.binary);
        command.arg("run").args(["--listen", "127.0.0.1:0"]);
        command.arg("--data").arg(&options.data).arg("--plugins").arg(&options.plugins);
        if let Some(config) = &options.config {
            command.arg("--config").arg(config);
        }
        if let Some(point) = &options.crash_at {
            command.env("TIDEMILL_CRASH_AT", point);
        }
        if let Some(step) = &options.without {
            command.env("TIDEMILL_CRASH_WITHOUT", step);
        }
        command.stdin(Stdio::null());
        if let Some(power) = &options.power {
            command.env("LD_PRELOAD", &power.library).env("TIDEMILL_POWER_CUT", &power.state);
            command.stdin(Stdio::piped());
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", options.binary.display()))?;
        let log = Arc::new(Mutex::new(String::new()));
        let out = child.stdout.take().context("the child has no standard output")?;
        let err = child.stderr.take().context("the child has no standard error")?;
        let readers = vec![collect(out, Arc::clone(&log)), collect(err, Arc::clone(&log))];
        let input = child.stdin.take();
        let mut process = Self { child, input, address: String::new(), log, readers };
        Ok(process.wait_ready(options)?.then_some(process))
    }

    fn wait_ready(&mut self, options: &ProcessOptions) -> Result<bool> {
        let may_be_killed = options.crash_at.is_some() || options.power.is_some();
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                for reader in self.readers.drain(..) {
                    reader.join().map_err(|_| anyhow!("a thread that reads what tidemill says panicked"))?;
                }
                // An opening may be refused for a sync that the power-cut library let fail.
                let was_refused = options.power.is_some() && self.log().contains("Input/output error");
                if may_be_killed && (status.signal().is_some() || was_refused) {
                    return Ok(false);
                }
                bail!("tidemill ended with {status} before it was ready:\n{}", self.log());
            }
            if self.address.is_empty() {
                self.address = address_in(&self.log()).unwrap_or_default();
            } else {
                let api = self.api()?;
                // The sync that the power-cut library lets fail may be the first: then it is never ready.
                if api.is_ready() || (options.power.is_some() && api.store_has_stopped()) {
                    return Ok(true);
                }
            }
            if started.elapsed() > START_MAX {
                bail!("tidemill was not ready after {START_MAX:?}:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A client of it.
    pub fn api(&self) -> Result<Api> {
        Api::new(&self.address)
    }

    /// What it has printed so far, both streams.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has ended by itself, at most this long; false if it has not.
    pub fn ends_within(&mut self, most: Duration) -> Result<bool> {
        let started = Instant::now();
        while self.child.try_wait()?.is_none() {
            if started.elapsed() > most {
                return Ok(false);
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(true)
    }

    /// Lets the power-cut library do now what it is to do at the end, and waits until the process is gone.
    pub fn end_now(&mut self) -> Result<()> {
        drop(self.input.take());
        self.child.wait().context("waiting for tidemill to be gone")?;
        Ok(())
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("killing tidemill")?;
        self.child.wait().context("waiting for tidemill to be gone")?;
        Ok(())
    }

    /// SIGTERM, and waits for a graceful stop.
    pub fn stop(mut self) -> Result<(ExitStatus, String)> {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status().context("running kill")?;
        anyhow::ensure!(sent.success(), "kill failed with {sent}");
        let status = self.child.wait().context("waiting for tidemill to stop")?;
        Ok((status, self.log()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a stream of the child to its end, on a thread of its own, so that the child never waits for us.
fn collect(stream: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut log = into.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    })
}

/// The address in a line like `… http://127.0.0.1:4711 …`.
fn address_in(log: &str) -> Option<String> {
    let at = log.find("http://127.0.0.1:")?;
    let address = &log[at..];
    let end = address.find(|c: char| c.is_whitespace() || c == '"' || c == ',').unwrap_or(address.len());
    let address = address[..end].trim_end_matches(['/', '.']);
    // Port 0 is what was asked for, not what was bound.
    (log[at..].len() > end && !address.ends_with(":0")).then(|| address.to_owned())
}
