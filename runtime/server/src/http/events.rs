//! `GET /v1/topics/{topic}/events`: lines of JSON, to the end or on and on. A reader that goes away is dropped
//! with its stream, and with it everything that it held.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tidemill_bus::Partition;
use tidemill_bus::log::{ReadError, Topic};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::extract::{Names, Params};
use super::problem::{Kind, Problem};
use super::read::{End, From, Reader, Request};
use super::wake::Wake;
use super::{Api, blocking};

/// Which events are read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Query {
    from: Option<String>,
    partition: Option<u32>,
    limit: Option<u64>,
    #[serde(default)]
    follow: bool,
}

/// Reads events.
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let topic = api.topic(&name)?;
    let request = request(topic, &query)?;
    let Ok(permit) = Arc::clone(&api.readers).try_acquire_owned() else {
        return Err(Problem::new(Kind::Busy, "as many readers as are allowed at a time are reading"));
    };
    let wake = query.follow.then(|| api.wakes.follow(request.topic.id));
    let log = Arc::clone(&api.log);
    // The first lines are read before the answer begins, so that what cannot be read has a status of its own.
    let (reader, lines, events) = blocking(move || {
        let mut reader = Reader::start(&log, &request)?;
        let (lines, events) = reader.lines()?;
        Ok::<_, ReadError>((reader, lines, events))
    })
    .await??;
    api.counters.read(events);
    let stopping = api.stopping.clone();
    let next = Next::Send(reader, lines);
    let stream = Stream { api, next, wake, stopping, _permit: permit };
    let body = Body::from_stream(futures_util::stream::unfold(stream, Stream::step));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

fn request(topic: Topic, query: &Query) -> Result<Request, Problem> {
    let invalid = |detail: String| Problem::new(Kind::InvalidRequest, detail);
    let from = query.from.as_deref().unwrap_or("earliest").parse::<From>();
    let from = from.map_err(|rule| invalid(format!("from: {rule}")))?;
    if let Some(partition) = query.partition.filter(|&partition| partition >= topic.partitions) {
        let detail =
            format!("topic {:?} has partitions 0 to {}, not {partition}", topic.name, topic.partitions - 1);
        return Err(Problem::new(Kind::UnknownPartition, detail));
    }
    let partition = query.partition.map(Partition).or((topic.partitions == 1).then_some(Partition(0)));
    if matches!(from, From::Offset(_)) && partition.is_none() {
        return Err(invalid("an offset is one of a partition: say which with partition=".to_owned()));
    }
    let end = if query.follow { End::Never } else { End::Now };
    Ok(Request { topic, partition, from, limit: query.limit.unwrap_or(u64::MAX), end })
}

/// The body of an answer.
struct Stream {
    api: Arc<Api>,
    next: Next,
    wake: Option<Wake>,
    stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

/// What a stream does next.
enum Next {
    /// It sends these lines, and then reads on.
    Send(Reader, Vec<u8>),
    /// It sends this last line, and then breaks off, so that the client sees that something is missing.
    Fail(String, ReadError),
    /// It ends; broken off if there is an error.
    End(Option<ReadError>),
}

impl Stream {
    /// The next piece of the body; `None` ends it.
    async fn step(mut self) -> Option<(Result<Bytes, ReadError>, Self)> {
        loop {
            match std::mem::replace(&mut self.next, Next::End(None)) {
                Next::End(None) => return None,
                Next::End(Some(error)) => return Some((Err(error), self)),
                Next::Fail(line, error) => {
                    self.next = Next::End(Some(error));
                    return Some((Ok(line.into()), self));
                }
                Next::Send(reader, lines) if !lines.is_empty() => {
                    self.next = Next::Send(reader, Vec::new());
                    return Some((Ok(lines.into()), self));
                }
                Next::Send(reader, _) if reader.is_done() => return None,
                Next::Send(reader, _) => {
                    let (next, found) = self.read(reader).await;
                    self.next = next;
                    if !found && !self.wait().await {
                        return None;
                    }
                }
            }
        }
    }

    /// Reads on, and tells whether anything came.
    async fn read(&self, mut reader: Reader) -> (Next, bool) {
        let read = blocking(move || reader.lines().map(|(lines, events)| (reader, lines, events))).await;
        match read {
            Ok(Ok((reader, lines, events))) => {
                self.api.counters.read(events);
                (Next::Send(reader, lines), events > 0)
            }
            // Said within the body, for its head is sent: the last line is the problem.
            Ok(Err(error)) => {
                let line =
                    format!("{}\n", serde_json::json!({ "problem": Problem::from(error.clone()).json() }));
                (Next::Fail(line, error), true)
            }
            Err(_) => (Next::End(None), true),
        }
    }

    /// Waits until there may be more; false if there never will be.
    async fn wait(&mut self) -> bool {
        let Some(wake) = &mut self.wake else { return false };
        tokio::select! {
            () = wake.wait() => true,
            _ = self.stopping.wait_for(|stopping| *stopping) => false,
        }
    }
}
