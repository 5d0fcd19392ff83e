//! `/v1/handlers`: look at handlers, pause, resume and move them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_bus::Partition;
use tidemill_flow::status::{HandlerState, HandlerStatus, PartitionStatus, RefusedVersion};
use tidemill_flow::{Flow, OperateError, Seek, SeekError, SeekTo, UnknownHandler};

use super::extract::{Names, Settings};
use super::problem::{Kind, Problem};
use super::read::From;
use super::{Api, blocking};
use crate::runtime::PluginState;

/// A handler as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HandlerEntry {
    name: String,
    /// `running`, `retrying`, `paused`, `stopped`, `failed`, or `not-loaded` when no version of it could be taken.
    state: &'static str,
    /// Since when it is paused, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_since: Option<i64>,
    /// SHA-256 of the component that takes events.
    version: Option<String>,
    /// SHA-256 of the component in charge, as long as `version` is on trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_charge: Option<String>,
    /// The last version that failed while it was on trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<RefusedEntry>,
    /// Why it does not run, or why its newest file was not taken.
    error: Option<String>,
    inputs: Vec<String>,
    outputs: Vec<String>,
    lag: u64,
    events_in: u64,
    events_out: u64,
    batches: u64,
    retries: u64,
    aborts: u64,
    dead_letters: u64,
    dropped: u64,
    lost: u64,
    faults: BTreeMap<&'static str, u64>,
    instances: usize,
    memory_bytes: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partitions: Vec<PartitionEntry>,
}

/// A version that failed while it was on trial: the one before is back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RefusedEntry {
    /// SHA-256 of the component.
    version: String,
    reason: String,
    /// Milliseconds since the Unix epoch.
    at: i64,
}

impl RefusedEntry {
    fn of(refused: RefusedVersion) -> Self {
        Self { version: refused.version.to_string(), reason: refused.reason, at: refused.at_ms }
    }
}

/// Where a handler stands in a partition of an input.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartitionEntry {
    pub(super) topic: String,
    pub(super) partition: u32,
    pub(super) position: u64,
    pub(super) end: u64,
    pub(super) lag: u64,
    pub(super) attempts: u32,
    /// Milliseconds since the Unix epoch; 0 is at once.
    pub(super) not_before: i64,
    pub(super) stopped: Option<String>,
}

impl PartitionEntry {
    pub(super) fn of(status: &PartitionStatus) -> Self {
        Self {
            topic: status.topic.to_string(),
            partition: status.partition.0,
            position: status.position.0,
            end: status.end.0,
            lag: status.lag,
            attempts: status.attempts,
            not_before: status.not_before,
            stopped: status.stopped.clone(),
        }
    }
}

/// Where a handler is to go on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SeekBody {
    to: String,
    topic: Option<String>,
    partition: Option<u32>,
}

/// All handlers, by name.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Vec<HandlerEntry>>, Problem> {
    let brief = |entry| HandlerEntry { partitions: Vec::new(), ..entry };
    Ok(Json(entries(api).await?.into_iter().map(brief).collect()))
}

/// One handler with its partitions.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
) -> Result<Json<HandlerEntry>, Problem> {
    let found = entries(api).await?.into_iter().find(|entry| entry.name == name);
    found.map(Json).ok_or_else(|| UnknownHandler(name).into())
}

/// Gives the handler no more events.
pub(super) async fn pause(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
) -> Result<Json<HandlerEntry>, Problem> {
    operate(api, name, Flow::pause).await
}

/// Gives the handler events again, also where it stands still.
pub(super) async fn resume(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
) -> Result<Json<HandlerEntry>, Problem> {
    operate(api, name, Flow::resume).await
}

/// Moves the handler.
pub(super) async fn seek(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    Settings(body): Settings<SeekBody>,
) -> Result<Json<HandlerEntry>, Problem> {
    let invalid = |detail: &str| Problem::new(Kind::InvalidRequest, format!("to: {detail}"));
    let to = match body.to.parse::<From>().map_err(invalid)? {
        From::Earliest => SeekTo::Earliest,
        From::Latest => SeekTo::Latest,
        From::Time(time_ms) => SeekTo::Time(time_ms),
        From::Offset(_) if body.partition.is_none() => {
            return Err(invalid("an offset is one of a partition: say which"));
        }
        From::Offset(offset) => SeekTo::Offset(offset),
    };
    let seek = Seek { topic: body.topic, partition: body.partition.map(Partition), to };
    let (flow, handler) = (Arc::clone(&api.flow), name.clone());
    blocking(move || flow.seek(&handler, &seek)).await??;
    show(State(api), Names(name)).await
}

/// Says that the state of the handler's group is fit for the `state-version` that it wants now.
pub(super) async fn adopt_state(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
) -> Result<Json<HandlerEntry>, Problem> {
    operate(api, name, Flow::adopt_state).await
}

/// Does something to a handler, and shows it.
async fn operate(
    api: Arc<Api>,
    name: String,
    operation: fn(&Flow, &str) -> Result<(), OperateError>,
) -> Result<Json<HandlerEntry>, Problem> {
    let (flow, handler) = (Arc::clone(&api.flow), name.clone());
    blocking(move || operation(&flow, &handler)).await??;
    show(State(api), Names(name)).await
}

/// What is installed, and plugins of which nothing is.
async fn entries(api: Arc<Api>) -> Result<Vec<HandlerEntry>, Problem> {
    blocking(move || {
        let mut entries: BTreeMap<String, HandlerEntry> = BTreeMap::new();
        for (name, plugin) in api.plugins.all() {
            entries.insert(name.clone(), HandlerEntry::without_status(name, plugin));
        }
        for status in api.flow.status() {
            let name = status.name.to_string();
            let entry = entries.remove(&name);
            let entry =
                entry.unwrap_or_else(|| HandlerEntry::without_status(name.clone(), PluginState::default()));
            entries.insert(name, entry.with_status(status));
        }
        entries.into_values().collect()
    })
    .await
}

impl HandlerEntry {
    fn without_status(name: String, plugin: PluginState) -> Self {
        Self {
            name,
            state: "not-loaded",
            paused_since: None,
            version: plugin.version.map(|version| version.sha256),
            in_charge: None,
            refused: None,
            error: plugin.error,
            inputs: Vec::new(),
            outputs: Vec::new(),
            lag: 0,
            events_in: 0,
            events_out: 0,
            batches: 0,
            retries: 0,
            aborts: 0,
            dead_letters: 0,
            dropped: 0,
            lost: 0,
            faults: BTreeMap::new(),
            instances: 0,
            memory_bytes: 0,
            partitions: Vec::new(),
        }
    }

    fn with_status(self, status: HandlerStatus) -> Self {
        let paused_since = match status.state {
            HandlerState::Paused { since } => Some(since),
            _ => None,
        };
        let (state, reason) = match status.state {
            HandlerState::Running => ("running", None),
            HandlerState::Retrying(reason) => ("retrying", Some(reason)),
            HandlerState::Paused { .. } => ("paused", None),
            HandlerState::Stopped(reason) => ("stopped", Some(reason)),
            HandlerState::Failed(reason) => ("failed", Some(reason)),
        };
        let refused = status.refused.map(RefusedEntry::of);
        // Of the newest file, not of one that was refused before it.
        let newest = refused.as_ref().filter(|refused| self.version.as_ref() == Some(&refused.version));
        let was_refused = newest.map(|refused| format!("it failed on trial: {}", refused.reason));
        let counters = status.counters;
        Self {
            state,
            paused_since,
            // One look at the flow gives both, so that a handler is never shown to run before its version is.
            version: Some(status.version.to_string()),
            in_charge: status.on_trial.and(status.in_charge).map(|version| version.to_string()),
            refused,
            error: self.error.or(reason).or(was_refused),
            inputs: status.inputs.iter().map(ToString::to_string).collect(),
            outputs: status.outputs,
            lag: status.partitions.iter().map(|partition| partition.lag).sum(),
            events_in: counters.events_in,
            events_out: counters.events_out,
            batches: counters.batches,
            retries: counters.retries,
            aborts: counters.aborts,
            dead_letters: counters.dead_letters,
            dropped: counters.dropped,
            lost: counters.lost,
            faults: counters.faults.into_iter().collect(),
            instances: status.instances,
            memory_bytes: status.memory_bytes,
            partitions: status.partitions.iter().map(PartitionEntry::of).collect(),
            ..self
        }
    }
}

impl std::convert::From<UnknownHandler> for Problem {
    fn from(unknown: UnknownHandler) -> Self {
        Self::new(Kind::UnknownHandler, unknown.to_string())
    }
}

impl std::convert::From<OperateError> for Problem {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::Unknown(unknown) => unknown.into(),
            OperateError::Note { source, .. } => source.into(),
            OperateError::Install(error) => Self::new(Kind::Internal, error.to_string()),
            OperateError::Stopped => Self::new(Kind::Stopping, error.to_string()),
        }
    }
}

impl std::convert::From<SeekError> for Problem {
    fn from(error: SeekError) -> Self {
        let kind = match &error {
            SeekError::Unknown(_) => Kind::UnknownHandler,
            SeekError::NotRead { .. } => Kind::InvalidRequest,
            SeekError::Read(error) => return error.clone().into(),
            SeekError::Failed { .. } => Kind::Internal,
            SeekError::Stopped => Kind::Stopping,
        };
        Self::new(kind, error.to_string())
    }
}
