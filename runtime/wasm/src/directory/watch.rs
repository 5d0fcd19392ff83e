//! The thread that watches a plugin directory: waits for the kernel's word, lists, loads, tells.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::{RecursiveMode, Watcher};
use parking_lot::{Condvar, Mutex};

use super::files::{self, Files, component_path};
use super::kept::Kept;
use super::ledger::{Ledger, Step};
use super::{Change, Listener, PluginError};
use crate::compile::CompileError;
use crate::limits::{RESCAN_EVERY, STABLE_AFTER};
use crate::plugin::{LoadError, Loader, Plugin};

/// A plugin directory that is watched until this is dropped, which joins its thread. Its loader compiles nothing from
/// then on.
pub struct PluginDirectory {
    bell: Arc<Bell>,
    loader: Arc<Loader>,
    thread: Option<JoinHandle<()>>,
    /// Held so that the kernel goes on telling; `None` where it does not.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl PluginDirectory {
    /// Loads all plugins of `dir`, telling `listener`, and then watches for changes in a thread of its own. The files
    /// of each are kept in `kept` before it is told of.
    pub fn open(
        dir: &Path,
        (loader, kept): (Arc<Loader>, Arc<Kept>),
        listener: Arc<dyn Listener>,
    ) -> io::Result<Self> {
        let bell = Arc::new(Bell::default());
        // Watched before it is listed: what changes in between rings the bell.
        let watcher = watcher(dir, &bell);
        let mut watch =
            Watch { dir: dir.to_owned(), loader: loader.clone(), kept, listener, ledger: Ledger::default() };
        let first = files::list(dir)?;
        for step in watch.ledger.adopt(first.plugins, Instant::now()) {
            watch.take(step);
        }
        let thread = std::thread::Builder::new().name("tidemill-plugins".to_owned()).spawn({
            let bell = bell.clone();
            move || watch.run(&bell)
        })?;
        Ok(Self { bell, loader, thread: Some(thread), _watcher: watcher })
    }
}

impl Drop for PluginDirectory {
    fn drop(&mut self) {
        self.bell.ring(Rung::Stop);
        // The thread may be waiting for a compilation; nobody waits for what comes of it any more.
        self.loader.stop_compiling();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watches the plugin directory panicked");
        }
    }
}

fn watcher(dir: &Path, bell: &Arc<Bell>) -> Option<notify::RecommendedWatcher> {
    let ring = bell.clone();
    let tell = move |event: notify::Result<notify::Event>| {
        // Reading is no change; and were it one, each look would bring the next.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            ring.ring(Rung::Look);
        }
    };
    let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
        watcher.watch(dir, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            let (dir, seconds) = (dir.display(), RESCAN_EVERY.as_secs());
            tracing::warn!(%dir, seconds, "the kernel does not tell of changes, looking from time to time: {error}");
            None
        }
    }
}

/// Why the thread is woken; the greater one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Rung {
    #[default]
    Nothing,
    Look,
    Stop,
}

/// Wakes the thread. Holds one word only: a thousand changes are one look.
#[derive(Default)]
struct Bell {
    rung: Mutex<Rung>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self, rung: Rung) {
        let mut now = self.rung.lock();
        *now = (*now).max(rung);
        self.heard.notify_all();
    }

    /// Waits until it rings at least for `reason`, or `patience` is over.
    fn wait(&self, reason: Rung, patience: Duration) -> Rung {
        let mut rung = self.rung.lock();
        self.heard.wait_while_for(&mut rung, |rung| *rung < reason, patience);
        match *rung {
            Rung::Stop => Rung::Stop,
            _ => std::mem::take(&mut *rung),
        }
    }
}

struct Watch {
    dir: PathBuf,
    loader: Arc<Loader>,
    kept: Arc<Kept>,
    listener: Arc<dyn Listener>,
    ledger: Ledger,
}

impl Watch {
    fn run(mut self, bell: &Bell) {
        loop {
            // While a file is being written every piece of it rings: then it is enough to look from time to time.
            let rung = if self.ledger.is_waiting() {
                bell.wait(Rung::Stop, STABLE_AFTER)
            } else {
                bell.wait(Rung::Look, RESCAN_EVERY)
            };
            if rung == Rung::Stop {
                return;
            }
            match files::list(&self.dir) {
                Ok(listing) => {
                    for step in self.ledger.step(&listing.plugins, Instant::now()) {
                        self.take(step);
                    }
                }
                // A directory that cannot be read is not an empty one: what runs goes on.
                Err(error) => tracing::warn!(dir = %self.dir.display(), "listing the plugins: {error}"),
            }
        }
    }

    fn take(&mut self, due: Step) {
        match due {
            Step::Load(stem) => self.load(&stem),
            Step::Remove(stem) => {
                if let Some(name) = self.ledger.forget(&stem) {
                    self.listener.changed(Change::Removed { name });
                }
            }
        }
    }

    fn load(&mut self, stem: &str) {
        let loaded = files::load(&self.dir, stem, &self.loader).and_then(|(plugin, files)| {
            let name = &plugin.config().name;
            match self.ledger.rival(stem, name) {
                Some(rival) => {
                    let path = component_path(&self.dir, rival);
                    Err(PluginError::NameTaken { name: name.clone(), path })
                }
                None => Ok((plugin, files)),
            }
        });
        match loaded {
            Ok((plugin, files)) => {
                self.keep(stem, &plugin, &files);
                if let Some(name) = self.ledger.taken(stem, &plugin.config().name) {
                    self.listener.changed(Change::Removed { name });
                }
                self.listener.changed(Change::Loaded(plugin));
            }
            Err(PluginError::Load { error: LoadError::Compile(CompileError::Stopped), .. }) => {}
            Err(error) => {
                let name = self.ledger.handler(stem).unwrap_or(stem).to_owned();
                self.listener.changed(Change::Failed { name, error });
            }
        }
    }

    fn keep(&self, stem: &str, plugin: &Plugin, files: &Files) {
        if let Err(error) = self.kept.keep(stem, plugin, files) {
            let handler = &plugin.config().name;
            tracing::warn!(handler, "the version is not kept, and cannot come back after a start: {error}");
        }
    }
}
