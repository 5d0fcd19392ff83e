//! `/v1/topics`: list, look at, create, raise and delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidemill_bus::log::{AdminError, PartitionRange, ReadError, Topic};
use tidemill_bus::store::Readers;
use tidemill_bus::{Compression, Partition, Policy, TopicSettings};

use super::extract::{Names, Params, Settings};
use super::problem::{Kind, Problem};
use super::{Api, blocking};

/// What a topic is created with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Wanted {
    partitions: Option<u32>,
    policy: Option<WantedPolicy>,
    compression: Option<WantedCompression>,
}

/// What becomes of the events in time.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WantedPolicy {
    Delete,
    Compact,
}

/// How blocks are stored that are written from now on.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WantedCompression {
    None,
    Lz4,
}

impl Wanted {
    /// What a topic is set to that was set to `now`.
    fn settings(&self, now: TopicSettings) -> TopicSettings {
        let policy = self.policy.map_or(now.policy, |policy| match policy {
            WantedPolicy::Delete => Policy::Delete,
            WantedPolicy::Compact => Policy::Compact,
        });
        let compression = self.compression.map_or(now.compression, |compression| match compression {
            WantedCompression::None => Compression::None,
            WantedCompression::Lz4 => Compression::Lz4,
        });
        TopicSettings { policy, compression }
    }
}

/// How a topic may be changed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Query {
    /// Whether it may get more partitions though a handler's state does not know where its keys go then.
    force: bool,
}

/// A topic as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TopicEntry {
    name: String,
    id: u64,
    partitions: u32,
    policy: &'static str,
    compression: &'static str,
    /// Offsets from the oldest event kept to the high watermark, all partitions together.
    events: u64,
    /// Bytes on disk, of events that are no longer readable too, as long as their segment is kept.
    bytes: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<RangeEntry>,
}

#[derive(Debug, Serialize)]
struct RangeEntry {
    partition: u32,
    start: u64,
    end: u64,
    bytes: u64,
}

/// All topics, by name.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let entries = blocking(move || {
        let bytes = api.store.topic_bytes();
        let brief = |topic: Topic| {
            let range = |partition| api.log.range(topic.partition(Partition(partition)));
            let ranges = (0..topic.partitions).map(range).collect::<Result<Vec<_>, ReadError>>().ok()?;
            let settings = api.store.topic_settings(topic.id)?;
            Some(TopicEntry {
                policy: settings.policy.name(),
                compression: settings.compression.name(),
                name: topic.name.to_string(),
                id: topic.id.0,
                partitions: topic.partitions,
                events: ranges.iter().map(|range| range.end.0 - range.start.0).sum(),
                bytes: bytes.get(&topic.id).copied().unwrap_or(0),
                ranges: Vec::new(),
            })
        };
        // A topic that was deleted in between is left out.
        api.log.topics().into_iter().filter_map(brief).collect::<Vec<_>>()
    });
    Ok(Json(entries.await?).into_response())
}

/// One topic with its partitions.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
) -> Result<Response, Problem> {
    Ok(Json(blocking(move || entry(&api, &name)).await??).into_response())
}

/// Creates a topic, or raises its number of partitions, or sets it. The body may be empty, or
/// `{"partitions": 8, "policy": "compact", "compression": "lz4"}`; what is not named stays as it is. 201 if the topic is
/// new, 200 if it was there and now is what was asked for, 409 if it cannot be that.
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    Params(query): Params<Query>,
    Settings(wanted): Settings<Wanted>,
) -> Result<Response, Problem> {
    refuse_reserved(&name)?;
    let (new, entry) = blocking(move || {
        let there = api.log.topic(&name).map(|topic| topic.partitions);
        match (there, wanted.partitions) {
            (None, asked) => {
                let settings = wanted.settings(TopicSettings::default());
                drop(api.store.create_topic_with(&name, asked, settings)?);
            }
            (Some(partitions), Some(asked)) if asked < partitions => {
                return Err(Problem::from(AdminError::Exists { name, partitions }));
            }
            (Some(partitions), Some(asked)) if asked > partitions => {
                raise(&api, &name, (asked, query.force))?;
            }
            (Some(_), _) => {}
        }
        // Also of a topic that somebody else created in between.
        let topic = api.topic(&name)?;
        let now = api.store.topic_settings(topic.id).unwrap_or_default();
        api.store.set_topic(&name, wanted.settings(now))?;
        Ok((there.is_none(), entry(&api, &name)?))
    })
    .await??;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(entry)).into_response())
}

/// Raises the number of partitions, unless a handler's state would no longer find its keys.
fn raise(api: &Api, name: &str, (partitions, force): (u32, bool)) -> Result<(), Problem> {
    let readers = if force { Readers::Forced } else { Readers::Bound(api.plugins.bound_to(name)) };
    match api.store.raise_partitions(name, partitions, readers) {
        Ok(_) => Ok(()),
        Err(AdminError::Bound { name, handlers }) => Err(Problem::new(
            Kind::Conflict,
            format!(
                "topic {name:?} is read by {}, with state: with {partitions} partitions its keys would go where \
                 that state is not; `tidemill topics raise {name} --partitions {partitions} --force` \
                 (?force=true) does it all the same",
                handlers.join(", ")
            ),
        )),
        Err(error) => Err(error.into()),
    }
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

fn entry(api: &Api, name: &str) -> Result<TopicEntry, Problem> {
    api.topic(name)?;
    let gone = || Problem::from(AdminError::UnknownTopic(name.to_owned()));
    let details = api.store.topic_details(name)?.ok_or_else(gone)?;
    let range = |(partition, (range, &bytes)): (u32, (&PartitionRange, &u64))| RangeEntry {
        partition,
        start: range.start.0,
        end: range.end.0,
        bytes,
    };
    let ranges: Vec<_> = (0..).zip(details.ranges.iter().zip(&details.bytes)).map(range).collect();
    Ok(TopicEntry {
        name: details.topic.name.to_string(),
        id: details.topic.id.0,
        partitions: details.topic.partitions,
        policy: details.settings.policy.name(),
        compression: details.settings.compression.name(),
        events: ranges.iter().map(|range| range.end - range.start).sum(),
        bytes: details.bytes.iter().sum(),
        ranges,
    })
}
