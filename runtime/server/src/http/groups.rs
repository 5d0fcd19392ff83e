//! `/v1/groups`: how far handlers have come, also those whose plugin is gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tidemill_bus::log::AdminError;
use tidemill_bus::store::Group;
use tidemill_bus::{FrameNumber, Log, Store};
use tidemill_flow::Flow;
use tidemill_flow::status::{HandlerState, HandlerStatus};

use super::dead_letters::DROPPED;
use super::extract::Names;
use super::handlers::PartitionEntry;
use super::problem::{Kind, Problem};
use super::{Api, blocking};

/// A group as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupEntry {
    name: String,
    /// Whether a handler of that name is installed.
    installed: bool,
    topics: BTreeSet<String>,
    /// Events not read yet, as far as offsets tell.
    lag: u64,
    /// Why it stands still, if a change of it was found broken on the disk.
    broken: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partitions: Vec<PartitionEntry>,
}

/// All groups, by name.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Vec<GroupEntry>>, Problem> {
    let brief = |entry| GroupEntry { partitions: Vec::new(), ..entry };
    Ok(Json(entries(api).await?.into_iter().map(brief).collect()))
}

/// One group with its partitions.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
) -> Result<Json<GroupEntry>, Problem> {
    let found = entries(api).await?.into_iter().find(|entry| entry.name == name);
    found.map(Json).ok_or_else(|| AdminError::UnknownGroup(name).into())
}

/// Deletes a group with its progress and state, unless its handler is installed.
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
) -> Result<StatusCode, Problem> {
    blocking(move || {
        if api.flow.status().iter().any(|status| *status.name == *name) {
            let detail =
                format!("handler {name:?} is installed: remove its plugin first, then delete its group");
            return Err(Problem::new(Kind::Conflict, detail));
        }
        api.store.delete_group(&name)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await?
}

/// Lets the partitions of a group that a broken change stopped go on from what they were before it.
pub(super) async fn restore(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
) -> Result<Json<GroupEntry>, Problem> {
    change(api, name, |store, group| store.restore_group(group).map(drop)).await
}

/// Gives a group a new beginning: without progress and state.
pub(super) async fn reset(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
) -> Result<Json<GroupEntry>, Problem> {
    change(api, name, |store, group| store.reset_group(group).map(drop)).await
}

/// Changes a group, and has its handler see it.
async fn change(
    api: Arc<Api>,
    name: String,
    change: fn(&Store, &str) -> Result<(), AdminError>,
) -> Result<Json<GroupEntry>, Problem> {
    let (changed, group) = (Arc::clone(&api), name.clone());
    blocking(move || {
        change(&changed.store, &group)?;
        go_on(&changed.flow, &group)
    })
    .await??;
    show(State(api), Names(name)).await
}

/// Lets the handler of a group that was changed under it load what there is now; one that is paused does so when it
/// is resumed.
fn go_on(flow: &Flow, name: &str) -> Result<(), Problem> {
    let status = flow.status().into_iter().find(|status| *status.name == *name);
    match status.map(|status| status.state) {
        None | Some(HandlerState::Paused { .. }) => Ok(()),
        Some(_) => Ok(flow.resume(name)?),
    }
}

async fn entries(api: Arc<Api>) -> Result<Vec<GroupEntry>, Problem> {
    blocking(move || {
        let running = api.flow.status();
        let groups = api.store.groups().into_iter().filter(|group| !group.name.starts_with(DROPPED));
        groups
            .map(|group| {
                let status = running.iter().find(|status| status.name == group.name);
                entry(&group, status, &*api.log)
            })
            .collect()
    })
    .await
}

/// A handler that runs knows more than its group: also of partitions of which it has read nothing yet.
fn entry(group: &Group, status: Option<&HandlerStatus>, log: &dyn Log) -> GroupEntry {
    let partitions: Vec<_> = match status {
        Some(status) => status.partitions.iter().map(PartitionEntry::of).collect(),
        None => kept(group, log),
    };
    GroupEntry {
        name: group.name.to_string(),
        installed: status.is_some(),
        topics: partitions.iter().map(|partition| partition.topic.clone()).collect(),
        lag: partitions.iter().map(|partition| partition.lag).sum(),
        broken: group.broken.first().map(|(driver, frame)| {
            if *frame == FrameNumber(0) {
                return format!("all that was known of {driver} is lost: reset it");
            }
            format!("a change of {driver} in frame {frame} is broken: restore or reset it")
        }),
        partitions,
    }
}

fn kept(group: &Group, log: &dyn Log) -> Vec<PartitionEntry> {
    let entry = |partition: &tidemill_bus::store::GroupPartition| PartitionEntry {
        topic: log
            .topic_by_id(partition.source.topic)
            .map_or_else(String::new, |topic| topic.name.to_string()),
        partition: partition.source.partition.0,
        position: partition.progress.next.0,
        end: partition.end.0,
        lag: partition.lag(),
        attempts: partition.progress.attempts,
        not_before: partition.progress.not_before,
        stopped: None,
    };
    group.partitions.iter().map(entry).collect()
}
