//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::json;

use super::problem::{Kind, Problem};
use super::{Api, blocking};
use crate::metrics;

/// Whether the store still takes what comes.
#[derive(Debug, Default)]
pub struct Health {
    failed: Mutex<Option<Arc<str>>>,
}

impl Health {
    /// The store takes nothing more, for this reason.
    pub fn fail(&self, reason: &Arc<str>) {
        *self.failed.lock() = Some(Arc::clone(reason));
    }
}

/// The process lives.
pub(super) async fn alive() -> Response {
    Json(json!({ "status": "alive", "version": env!("CARGO_PKG_VERSION") })).into_response()
}

/// The runtime takes events.
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    if *api.stopping.borrow() {
        return Err(Problem::new(Kind::Stopping, "the runtime is stopping"));
    }
    if let Some(reason) = api.health.failed.lock().clone() {
        let detail =
            format!("the store stopped after a failed write: {reason}; free the disk and start again");
        return Err(Problem::new(Kind::StoreStopped, detail));
    }
    Ok(Json(json!({ "status": "ready" })).into_response())
}

/// Everything that is counted, as Prometheus reads it.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let text = blocking(move || metrics::encode(&api.counters, &api.store, &api.flow)).await?;
    let text = text.map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
