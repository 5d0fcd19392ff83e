//! `cargo xtask demo`: from a clone to real earthquakes flowing through sandboxed handlers, with one command.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::plugins;
use crate::shell::{cargo, root, run, target_dir};

/// The target that handlers are compiled for.
const GUEST_TARGET: &str = "wasm32-unknown-unknown";

/// The plugins that the demo runs.
const PLUGINS: [&str; 1] = ["quake-alerts"];

/// Alerts that are shown.
const SHOWN: &str = "10";

/// How long the handler may take: far more than it needs on a slow machine.
const PROCESS_MAX: Duration = Duration::from_mins(1);

/// Builds, runs, shows.
pub(crate) fn demo() -> Result<()> {
    install_target()?;
    println!("Building the runtime and the plugins (the first time takes some minutes) …");
    run(&mut cargo(["build", "--release", "--locked", "--package", "tidemill"]))?;
    let components = plugins::plugins()?;
    let binary = target_dir().join("release/tidemill");
    let home = target_dir().join("demo");
    prepare(&home, &components)?;
    let runtime = Runtime::start(&binary, &home)?;
    let done = show(&runtime);
    runtime.stop()?;
    done?;
    next_steps();
    Ok(())
}

/// Installs the guests' target if rustup says that it is missing.
fn install_target() -> Result<()> {
    let Ok(list) = Command::new("rustup").args(["target", "list", "--installed"]).output() else {
        // Without rustup the build itself says what is missing.
        return Ok(());
    };
    if String::from_utf8_lossy(&list.stdout).lines().any(|line| line == GUEST_TARGET) {
        return Ok(());
    }
    run(Command::new("rustup").args(["target", "add", GUEST_TARGET]))
}

/// A fresh home for the demo: an empty store, and a plugin directory with the demo's plugins.
fn prepare(home: &Path, components: &Path) -> Result<()> {
    if home.exists() {
        fs::remove_dir_all(home).with_context(|| format!("removing {}", home.display()))?;
    }
    let plugins = home.join("plugins");
    fs::create_dir_all(&plugins).with_context(|| format!("creating {}", plugins.display()))?;
    for name in PLUGINS {
        for extension in ["wasm", "toml"] {
            let file = format!("{name}.{extension}");
            fs::copy(components.join(&file), plugins.join(&file))
                .with_context(|| format!("copying {file}"))?;
        }
    }
    Ok(())
}

fn show(runtime: &Runtime) -> Result<()> {
    let quakes = root().join("plugins/data/earthquakes.ndjson");
    let events =
        fs::read_to_string(&quakes).with_context(|| format!("reading {}", quakes.display()))?.lines().count();
    println!("\nPublishing {events} earthquakes of one week (U.S. Geological Survey) …");
    let started = Instant::now();
    runtime.run(&["publish", "quakes", &quakes.to_string_lossy(), "--time", "/time"])?;
    let published = started.elapsed();
    while runtime.json(&["groups", "show", "quake-alerts"])?["lag"] != 0 {
        ensure!(started.elapsed() < PROCESS_MAX, "the handler has not finished after {PROCESS_MAX:?}");
    }
    let processed = started.elapsed();
    let alerts = runtime.json(&["topics", "show", "alerts"])?["events"].as_u64().unwrap_or(0);
    println!("\nThe first of {alerts} alerts:\n");
    runtime.run(&["tail", "alerts", "--limit", SHOWN])?;
    println!(
        "\n{events} events durable after {} ms, all processed exactly once after {} ms.",
        published.as_millis(),
        processed.as_millis()
    );
    Ok(())
}

fn next_steps() {
    println!(
        "
Next:
  target/release/tidemill run --data target/demo/data --plugins target/demo/plugins
  target/release/tidemill tail alerts                  what the demo's handler emitted: it is still there
  target/release/tidemill handlers                     what runs, and how far behind it is
  cp target/plugins/json-filter.* target/demo/plugins  one more handler, while events keep flowing
  $EDITOR plugins/quake-alerts/src/lib.rs              change it; `cargo xtask plugins` builds it again"
    );
}

/// The demo's runtime. Killed if it is dropped before it was stopped.
struct Runtime<'a> {
    binary: &'a Path,
    child: Child,
    url: String,
}

impl<'a> Runtime<'a> {
    fn start(binary: &'a Path, home: &Path) -> Result<Self> {
        let log = home.join("log");
        let mut child = Command::new(binary)
            .args(["run", "--listen", "127.0.0.1:0", "--log", "text"])
            .arg("--data")
            .arg(home.join("data"))
            .arg("--plugins")
            .arg(home.join("plugins"))
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).context("creating the runtime's log")?)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let mut lines =
            BufReader::new(child.stdout.take().context("the runtime has no standard output")?).lines();
        for line in lines.by_ref().map_while(Result::ok) {
            println!("{line}");
            if let Some(at) = line.find("http://127.0.0.1:") {
                let url = line[at..].split_whitespace().next().unwrap_or_default().to_owned();
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| println!("{line}")));
                return Ok(Self { binary, child, url });
            }
        }
        bail!("the runtime ended before it named its address:\n{}", fs::read_to_string(log)?)
    }

    /// Runs a command of the CLI; its output is the user's.
    fn run(&self, arguments: &[&str]) -> Result<()> {
        println!("$ tidemill {}", arguments.join(" "));
        let status = Command::new(self.binary).args(["--url", &self.url]).args(arguments).status()?;
        ensure!(status.success(), "tidemill {} ended with {status}", arguments.join(" "));
        Ok(())
    }

    /// What a command of the CLI answers.
    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(self.binary)
            .args(["--url", &self.url, "--output", "json"])
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "tidemill {} ended with {}", arguments.join(" "), output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Asks it to stop, and waits until it has.
    fn stop(mut self) -> Result<()> {
        run(Command::new("kill").arg(self.child.id().to_string()))?;
        let status = self.child.wait().context("waiting for the runtime to stop")?;
        ensure!(status.success(), "the runtime ended with {status}");
        Ok(())
    }
}

impl Drop for Runtime<'_> {
    fn drop(&mut self) {
        // It may have ended already, and there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
