//! `/v1/topics`: list, look at, create and delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidemill_bus::log::{AdminError, ReadError, Topic};
use tidemill_bus::{Log, Partition};

use super::extract::{Names, Settings};
use super::problem::{Kind, Problem};
use super::{Api, blocking};

/// What a topic is created with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Wanted {
    partitions: Option<u32>,
}

/// A topic as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TopicEntry {
    name: String,
    id: u64,
    partitions: u32,
    /// Offsets from the oldest event kept to the high watermark, all partitions together.
    events: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<RangeEntry>,
}

#[derive(Debug, Serialize)]
struct RangeEntry {
    partition: u32,
    start: u64,
    end: u64,
}

/// All topics, by name.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let log = Arc::clone(&api.log);
    let entries = blocking(move || {
        let brief = |topic| entry(&*log, &topic).map(|entry| TopicEntry { ranges: Vec::new(), ..entry });
        // A topic that was deleted in between is left out.
        log.topics().into_iter().filter_map(|topic| brief(topic).ok()).collect::<Vec<_>>()
    });
    Ok(Json(entries.await?).into_response())
}

/// One topic with its partitions.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
) -> Result<Response, Problem> {
    let topic = api.log.topic(&name).ok_or_else(|| Problem::unknown_topic(&name))?;
    let log = Arc::clone(&api.log);
    Ok(Json(blocking(move || entry(&*log, &topic)).await??).into_response())
}

/// Creates a topic. The body may be empty, or `{"partitions": 8}`. 201 if it is new, 200 if it was there and is
/// what was asked for, 409 if it is something else.
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    Settings(wanted): Settings<Wanted>,
) -> Result<Response, Problem> {
    refuse_reserved(&name)?;
    let log = Arc::clone(&api.log);
    let (new, entry) = blocking(move || {
        let new = log.topic(&name).is_none();
        let topic = log.create_topic(&name, wanted.partitions)?;
        if wanted.partitions.is_some_and(|asked| asked != topic.partitions) {
            return Err(Problem::from(AdminError::Exists { name, partitions: topic.partitions }));
        }
        Ok((new, entry(&*log, &topic)?))
    })
    .await??;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(entry)).into_response())
}

/// Deletes a topic and its events.
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
) -> Result<Response, Problem> {
    refuse_reserved(&name)?;
    blocking(move || api.store.delete_topic(&name)).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn refuse_reserved(name: &str) -> Result<(), Problem> {
    if name.starts_with('_') {
        let detail = format!("{name:?}: topics whose names begin with _ are the runtime's");
        return Err(Problem::new(Kind::InvalidName, detail));
    }
    Ok(())
}

fn entry(log: &dyn Log, topic: &Topic) -> Result<TopicEntry, ReadError> {
    let range = |partition: u32| {
        let range = log.range(topic.partition(Partition(partition)))?;
        Ok(RangeEntry { partition, start: range.start.0, end: range.end.0 })
    };
    let ranges = (0..topic.partitions).map(range).collect::<Result<Vec<_>, ReadError>>()?;
    let events = ranges.iter().map(|range| range.end - range.start).sum();
    Ok(TopicEntry {
        name: topic.name.to_string(),
        id: topic.id.0,
        partitions: topic.partitions,
        events,
        ranges,
    })
}
