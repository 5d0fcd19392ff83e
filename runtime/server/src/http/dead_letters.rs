//! `/v1/dead-letters`: the events that handlers gave up. They are events of the topic `_dead.HANDLER`, and stay
//! there; dropping them moves the progress of the group `_dropped.HANDLER` past them, which is durable, and
//! which retention waits for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidemill_bus::log::{PartitionRange, ReadError, Topic};
use tidemill_bus::{Offset, Partition, TopicPartition};

use super::extract::{Names, Params, Settings};
use super::problem::{Kind, Problem};
use super::read::{End, Reader};
use super::{Api, blocking};
use crate::limits::DEAD_LETTERS_MAX;

/// What the names of dead-letter topics begin with.
const DEAD: &str = "_dead.";

/// What the names of the groups begin with that remember which dead letters were dropped.
pub(super) const DROPPED: &str = "_dropped.";

/// The dead letters of a handler, counted.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    handler: String,
    topic: String,
    count: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Query {
    limit: Option<u64>,
}

/// Which dead letters are dropped: all, or those of a partition up to an offset.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct DropBody {
    partition: Option<u32>,
    through: Option<u64>,
}

/// How many were dropped.
#[derive(Debug, Serialize)]
pub(super) struct Dropped {
    dropped: u64,
}

/// How many dead letters each handler has that were not dropped.
pub(super) async fn overview(State(api): State<Arc<Api>>) -> Result<Json<Vec<Summary>>, Problem> {
    blocking(move || {
        let dead = api.log.topics().into_iter().filter_map(|topic| {
            let handler = topic.name.strip_prefix(DEAD)?.to_owned();
            Some((handler, topic))
        });
        let count = |(handler, topic): (String, Topic)| {
            let letters = Letters::of(&api, &handler, topic)?;
            Ok(Summary { handler, topic: letters.topic.name.to_string(), count: letters.count() })
        };
        dead.map(count)
            .filter(|count| count.as_ref().map_or(true, |count| count.count > 0))
            .collect::<Result<_, _>>()
    })
    .await?
    .map(Json)
}

/// The dead letters of a handler that were not dropped, the oldest first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Names(handler): Names<String>,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let limit = query.limit.unwrap_or(DEAD_LETTERS_MAX).min(DEAD_LETTERS_MAX);
    let lines = blocking(move || Letters::open(&api, &handler)?.lines(&api, limit)).await??;
    let mut array = vec![b'['];
    for (index, line) in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
        if index > 0 {
            array.push(b',');
        }
        array.extend_from_slice(line);
    }
    array.push(b']');
    Ok(json(array))
}

/// One dead letter, also one that was dropped.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Names((handler, partition, offset)): Names<(String, u32, u64)>,
) -> Result<Response, Problem> {
    let unknown = Problem::new(
        Kind::UnknownDeadLetter,
        format!("handler {handler:?} has no dead letter at {partition}:{offset}"),
    );
    let line = blocking(move || {
        let letters = Letters::open(&api, &handler)?;
        let found = letters.ranges.get(partition as usize).map(|(_, range)| *range);
        if !found.is_some_and(|range| (range.start.0..range.end.0).contains(&offset)) {
            return Ok(Vec::new());
        }
        let place = (letters.topic.partition(Partition(partition)), Offset(offset));
        Ok::<_, Problem>(Reader::at(&api.log, &[place], (1, End::Now))?.lines()?.0)
    })
    .await??;
    if line.is_empty() { Err(unknown) } else { Ok(json(line)) }
}

/// Marks dead letters as done with.
pub(super) async fn drop(
    State(api): State<Arc<Api>>,
    Names(handler): Names<String>,
    Settings(body): Settings<DropBody>,
) -> Result<Json<Dropped>, Problem> {
    if body.partition.is_some() != body.through.is_some() {
        let detail =
            "partition and through (the last offset to drop) go together; without both all are dropped";
        return Err(Problem::new(Kind::InvalidRequest, detail));
    }
    blocking(move || {
        let letters = Letters::open(&api, &handler)?;
        let group = format!("{DROPPED}{handler}");
        api.log.handler_id(&group)?;
        let mut dropped = 0;
        for (partition, (first, range)) in (0..).zip(&letters.ranges) {
            if body.partition.is_some_and(|only| only != partition) {
                continue;
            }
            let end = body.through.map_or(range.end.0, |through| through.saturating_add(1).min(range.end.0));
            if end > first.0 {
                api.store.seek(&group, letters.topic.partition(Partition(partition)), Offset(end))?;
                dropped += end - first.0;
            }
        }
        Ok(Json(Dropped { dropped }))
    })
    .await?
}

fn json(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The dead letters of a handler: for each partition the first that was not dropped, and what is there.
struct Letters {
    topic: Topic,
    ranges: Vec<(Offset, PartitionRange)>,
}

impl Letters {
    fn open(api: &Api, handler: &str) -> Result<Self, Problem> {
        let topic = api.log.topic(&format!("{DEAD}{handler}")).ok_or_else(|| {
            Problem::new(Kind::UnknownHandler, format!("there is no handler {handler:?} with dead letters"))
        })?;
        Ok(Self::of(api, handler, topic)?)
    }

    fn of(api: &Api, handler: &str, topic: Topic) -> Result<Self, ReadError> {
        let group = api.store.group(&format!("{DROPPED}{handler}"));
        let dropped = |source: TopicPartition| {
            let partitions = group.iter().flat_map(|group| &group.partitions);
            partitions.filter(|one| one.source == source).map(|one| one.progress.next).max()
        };
        let range = |partition| {
            let source = topic.partition(Partition(partition));
            let range = api.log.range(source)?;
            let first = dropped(source).unwrap_or(range.start);
            Ok((first.clamp(range.start, range.end), range))
        };
        let ranges = (0..topic.partitions).map(range).collect::<Result<_, ReadError>>()?;
        Ok(Self { topic, ranges })
    }

    fn count(&self) -> u64 {
        self.ranges.iter().map(|(first, range)| range.end.0 - first.0).sum()
    }

    fn lines(&self, api: &Api, limit: u64) -> Result<Vec<u8>, Problem> {
        let places: Vec<_> = (0..)
            .map(Partition)
            .zip(&self.ranges)
            .map(|(partition, (first, _))| (self.topic.partition(partition), *first))
            .collect();
        let mut reader = Reader::at(&api.log, &places, (limit, End::Now))?;
        let mut lines = Vec::new();
        loop {
            let (more, events) = reader.lines()?;
            if events == 0 {
                return Ok(lines);
            }
            lines.extend_from_slice(&more);
        }
    }
}
