//! Starting, in the order in which one thing needs another; what was started before a failure ends with it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use thiserror::Error;
use tidemill_bus::journal::JournalOptions;
use tidemill_bus::notice::Notice;
use tidemill_bus::store::{self, Checkpoints, OpenError, Retention, StoreOptions, Sync};
use tidemill_bus::{Log, Store};
use tidemill_flow::{Flow, Options};
use tidemill_wasm::directory::{Kept, PluginDirectory};
use tidemill_wasm::{Cache, Engine, EngineError, Loader};
use tokio::sync::watch;

use super::{GuestLog, Plugins, Runtime};
use crate::config::{Config, ConfigError, Hold, SyncConfig};
use crate::http::{self, Api, Guard, Health, Wakes};
use crate::metrics::Counters;
use crate::tasks::Tasks;

/// How often the store is asked what its operator should know.
const NOTICES_EVERY: Duration = Duration::from_secs(1);

/// Why a runtime could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}{}", in_use(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error("opening the store failed: {0}")]
    Store(#[from] OpenError),
    /// The Wasm engine cannot be set up.
    #[error("setting up the Wasm engine failed: {0}")]
    Engine(#[from] EngineError),
    /// A directory cannot be used.
    #[error("cannot use the directory {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Threads could not be started.
    #[error("starting threads failed: {0}")]
    Threads(io::Error),
}

fn in_use(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process has the port: stop it, or choose another address with --listen"
        }
        _ => "",
    }
}

pub(super) fn start(config: &Config) -> Result<Runtime, StartError> {
    config.check()?;
    let listen = |source| StartError::Listen { address: config.http.listen, source };
    let listener = TcpListener::bind(config.http.listen).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let store = Store::open(store_options(config))?;
    let log: Arc<dyn Log> = Arc::new(store.clone());
    let flow = Arc::new(Flow::start(Arc::clone(&log), flow_options(config)));
    let (loader, kept) = (Arc::new(loader(config)?), Arc::new(kept(config)?));
    let plugins = Plugins::new(Arc::clone(&flow), Arc::clone(&loader), Arc::clone(&kept));
    let plugins = Arc::new(plugins);
    let directory = open_plugins(config, (loader, kept), &plugins)?;
    let threads = tokio::runtime::Builder::new_multi_thread()
        .thread_name("tidemill-http")
        .enable_all()
        .build()
        .map_err(StartError::Threads)?;
    let (stopping, stops) = watch::channel(false);
    let wakes = Arc::new(Wakes::default());
    log.watch(Arc::clone(&wakes) as _);
    let api = Arc::new(Api {
        log,
        store: store.clone(),
        flow: Arc::clone(&flow),
        plugins: Arc::clone(&plugins),
        wakes,
        readers: http::reader_places(),
        stopping: stops.clone(),
        create_topics: config.create_topics,
        counters: Counters::default(),
        health: Health::default(),
    });
    let guard = Arc::new(Guard::new(address, &config.http.hosts));
    let tasks = Tasks::new(threads.handle().clone());
    tasks.start("notices", tell_notices(Arc::clone(&api), stops.clone()));
    let listener = {
        let _within = threads.enter();
        tokio::net::TcpListener::from_std(listener).map_err(listen)?
    };
    tasks.start("http", serve(listener, http::router(api, guard), stops));
    Ok(Runtime { address, store, flow, plugins, directory: Some(directory), stopping, tasks, threads })
}

fn store_options(config: &Config) -> StoreOptions {
    let retention = &config.store.retention;
    let mut journal = JournalOptions::default();
    if let Some(bytes) = config.store.segment {
        journal.segment_bytes = bytes as u64;
        journal.first_segment_bytes = journal.first_segment_bytes.min(journal.segment_bytes);
    }
    let default = StoreOptions::new(&config.data);
    let checkpoints = Checkpoints {
        interval: config.store.checkpoint.unwrap_or(default.checkpoints.interval),
        settle_interval: config.store.settle.unwrap_or(default.checkpoints.settle_interval),
        ..default.checkpoints
    };
    StoreOptions {
        checkpoints,
        publishers_bytes: config.store.backlog.unwrap_or(default.publishers_bytes),
        sync: match config.store.sync {
            SyncConfig::Always => Sync::Always,
            SyncConfig::Every(interval) => Sync::Every(interval),
        },
        retention: Retention {
            age: retention.age,
            bytes: retention.bytes.map(|bytes| bytes as u64),
            hold: match retention.hold {
                Hold::Handlers => store::Hold::Handlers,
                Hold::None => store::Hold::None,
            },
        },
        journal,
        ..default
    }
}

fn flow_options(config: &Config) -> Options {
    let default = Options::default();
    Options { permits: config.workers.unwrap_or(default.permits), ..default }
}

/// Makes a loader whose compiled components are kept in the data directory.
fn loader(config: &Config) -> Result<Loader, StartError> {
    let dir = config.data.join("compiled");
    let cache = Cache::open(&dir).map_err(failed(&dir))?;
    let loader = Loader::new(Engine::new()?, Some(cache), Arc::new(GuestLog))?;
    Ok(loader.compiled_by(config.compile.compiler()))
}

/// Versions that may have to come back are kept in the data directory, too.
fn kept(config: &Config) -> Result<Kept, StartError> {
    let dir = config.data.join("plugins");
    Kept::open(&dir).map_err(failed(&dir))
}

fn open_plugins(
    config: &Config,
    means: (Arc<Loader>, Arc<Kept>),
    plugins: &Arc<Plugins>,
) -> Result<PluginDirectory, StartError> {
    let dir = &config.plugins;
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    PluginDirectory::open(dir, means, Arc::clone(plugins) as _).map_err(failed(dir))
}

pub(super) fn failed(path: &Path) -> impl Fn(io::Error) -> StartError {
    let path = path.to_owned();
    move |source| StartError::Directory { path: path.clone(), source }
}

/// Answers requests until the runtime stops; those under way are ended first.
async fn serve(listener: tokio::net::TcpListener, router: axum::Router, mut stops: watch::Receiver<bool>) {
    let stopped = async move {
        // Whoever could say stop is gone: then it is time, too.
        let _ = stops.wait_for(|stopping| *stopping).await;
    };
    // What is small must not wait for the acknowledgement of what was sent before: Nagle's algorithm and delayed
    // acknowledgements together hold an answer back for up to 40 ms.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("a connection sends with delay: {error}");
        }
    });
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::error!("the API ended: {error}");
    }
}

/// Writes to the log what the store has to say.
async fn tell_notices(api: Arc<Api>, mut stops: watch::Receiver<bool>) {
    loop {
        for notice in api.store.notices() {
            if let Notice::Poisoned(reason) = &notice {
                api.health.fail(reason);
                tracing::error!("{notice}");
            } else {
                tracing::warn!("{notice}");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(NOTICES_EVERY) => {}
            _ = stops.wait_for(|stopping| *stopping) => return,
        }
    }
}
