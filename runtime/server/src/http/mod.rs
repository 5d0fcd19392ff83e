//! The API over HTTP, versioned by path. Knows requests and answers; what they mean is done elsewhere.

mod guard;

mod publish;

mod events;
mod read;
mod render;
mod wake;

mod dead_letters;
mod groups;
mod handlers;
mod health;
mod topics;

mod extract;
mod problem;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware;
use axum::routing::{get, post};
use tidemill_bus::log::Topic;
use tidemill_bus::{Log, Store};
use tidemill_flow::Flow;
use tokio::sync::{Semaphore, watch};

pub use guard::{Guard, Principal};
pub use health::Health;
pub use problem::{Kind, Problem};
pub use wake::Wakes;

use crate::limits::{READERS_MAX, SMALL_BODY_BYTES_MAX};
use crate::metrics::Counters;
use crate::runtime::Plugins;

/// What the API works on.
pub struct Api {
    /// Where topics are read and written.
    pub log: Arc<dyn Log>,
    /// The same log, with what operators may ask of it.
    pub store: Store,
    /// The handlers.
    pub flow: Arc<Flow>,
    /// What became of the plugins.
    pub plugins: Arc<Plugins>,
    /// Who is woken when there is more to read; watches the log.
    pub wakes: Arc<Wakes>,
    /// Places of readers.
    pub readers: Arc<Semaphore>,
    /// Turns true when the runtime stops.
    pub stopping: watch::Receiver<bool>,
    /// Whether the first publish to a topic creates it.
    pub create_topics: bool,
    /// What was published and read over the API.
    pub counters: Counters,
    /// Whether the store still works.
    pub health: Health,
}

impl Api {
    /// The topic of that name.
    fn topic(&self, name: &str) -> Result<Topic, Problem> {
        self.log.topic(name).ok_or_else(|| {
            let topics = self.log.topics();
            Problem::unknown_topic(name, topics.iter().map(|topic| &*topic.name))
        })
    }
}

/// The API's paths.
pub fn router(api: Arc<Api>, guard: Arc<Guard>) -> Router {
    Router::new()
        .route("/v1/topics", get(topics::list))
        .route("/v1/topics/{topic}", get(topics::show).put(topics::create).delete(topics::delete))
        .route("/v1/topics/{topic}/events", post(publish::publish).get(events::read))
        .route("/v1/handlers", get(handlers::list))
        .route("/v1/handlers/{handler}", get(handlers::show))
        .route("/v1/handlers/{handler}/pause", post(handlers::pause))
        .route("/v1/handlers/{handler}/resume", post(handlers::resume))
        .route("/v1/handlers/{handler}/seek", post(handlers::seek))
        .route("/v1/handlers/{handler}/adopt-state", post(handlers::adopt_state))
        .route("/v1/groups", get(groups::list))
        .route("/v1/groups/{group}", get(groups::show).delete(groups::delete))
        .route("/v1/groups/{group}/restore", post(groups::restore))
        .route("/v1/groups/{group}/reset", post(groups::reset))
        .route("/v1/dead-letters", get(dead_letters::overview))
        .route("/v1/dead-letters/{handler}", get(dead_letters::list))
        .route("/v1/dead-letters/{handler}/drop", post(dead_letters::drop))
        .route("/v1/dead-letters/{handler}/{partition}/{offset}", get(dead_letters::show))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(SMALL_BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(guard, guard::guard))
        .with_state(api)
}

/// The places that readers share.
pub fn reader_places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(READERS_MAX))
}

async fn unknown_path(request: Request) -> Problem {
    Problem::new(Kind::UnknownPath, format!("there is nothing at {}", request.uri().path()))
}

async fn unknown_method(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    Problem::new(Kind::MethodNotAllowed, format!("{path} does not take {method}"))
}

/// Does what may wait for the disk or takes long, on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::new(Kind::Internal, format!("the work on the request failed: {error}")))
}
