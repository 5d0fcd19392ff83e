//! `POST /v1/topics/{topic}/events`: one request is one transaction, answered when it is on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidemill_bus::log::{Answer, Answered, Outcome, Receipt, Topic};
use tidemill_bus::transaction::{IdempotencyKey, Run};
use tidemill_bus::{Log, Transaction};
use tokio::sync::oneshot;

use super::extract::{Names, Params};
use super::problem::{Kind, Problem};
use super::{Api, blocking};
use crate::limits::{BODY_BYTES_MAX, DISCARDED_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX, INLINE_BODY_BYTES_MAX};
use crate::publish::{self, Format, Placed, Plan, Pointer, Pointers};

/// Where a publish's events have their fields, and what is answered.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Query {
    key: Option<String>,
    time: Option<String>,
    headers: Option<String>,
    #[serde(default)]
    answer: AnswerWith,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AnswerWith {
    /// One entry per run of consecutive offsets, by partition and offset.
    #[default]
    Runs,
    /// One entry per event, in the order of the request.
    Events,
}

#[derive(Serialize)]
struct RunEntry {
    partition: u32,
    offset: u64,
    count: u32,
}

#[derive(Serialize)]
struct EventEntry {
    partition: u32,
    offset: u64,
}

/// Publishes the body.
pub(super) async fn publish(
    State(api): State<Arc<Api>>,
    Names(topic): Names<String>,
    Params(query): Params<Query>,
    request: Request,
) -> Result<Response, Problem> {
    let format = format(request.headers())?;
    let pointers = pointers(&query)?;
    let query_text = request.uri().query().unwrap_or_default().to_owned();
    let once_key = idempotency_key(request.headers())?;
    let body = collect(request).await?;
    let topic = open_topic(&api, topic).await?;
    let once = once_key.map(|key| {
        let mut hash = Sha256::new();
        for part in [topic.name.as_bytes(), format!("{format:?}").as_bytes(), query_text.as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(&body);
        IdempotencyKey { key, body: hash.finalize().into() }
    });
    let plan = Plan { topic, format, pointers, now_ms: api.log.now_ms(), turn: turn(once.as_ref()) };
    let bytes = body.len();
    let placed = read(body, plan).await?;
    let events = placed.order.len();
    let receipt =
        if events == 0 { Receipt::default() } else { commit(&api.log, placed.blocks, once).await? };
    if !receipt.repeated {
        api.counters.published(events, bytes);
    }
    answer(query.answer, &placed.order, &receipt)
}

fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.and_then(Format::of_content_type).ok_or_else(|| {
        let found = content_type.unwrap_or("nothing");
        let detail = format!("the content type is {found:?}: send {}", Format::MEDIA_TYPES);
        Problem::new(Kind::UnsupportedMediaType, detail)
    })
}

fn pointers(query: &Query) -> Result<Pointers, Problem> {
    let pointer = |name: &str, text: &Option<String>| {
        let parse = |text: &String| text.parse::<Pointer>();
        let refused = |error| Problem::new(Kind::InvalidRequest, format!("{name}: {error}"));
        text.as_ref().map(parse).transpose().map_err(refused)
    };
    Ok(Pointers {
        key: pointer("key", &query.key)?,
        time: pointer("time", &query.time)?,
        headers: pointer("headers", &query.headers)?,
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_BYTES_MAX => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            Kind::InvalidRequest,
            format!("an Idempotency-Key is 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters"),
        )),
    }
}

async fn collect(request: Request) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes: send it in parts");
        Problem::new(Kind::TooLarge, detail)
    };
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    if declared.is_some_and(|len: u64| len > BODY_BYTES_MAX as u64) {
        if !request.headers().contains_key(header::EXPECT) {
            discard(request.into_body()).await;
        }
        return Err(too_large());
    }
    match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Problem::new(Kind::MalformedBody, format!("the body broke off: {error}"))),
    }
}

/// Reads a body that is not taken, within bounds: a client that is still sending would see a broken
/// connection instead of the answer. Who asks before sending (`Expect`) need not send at all.
async fn discard(mut body: Body) {
    let mut left = DISCARDED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// The topic, created if the configuration allows it.
async fn open_topic(api: &Arc<Api>, name: String) -> Result<Topic, Problem> {
    if name.starts_with('_') {
        let detail = format!("{name:?}: topics whose names begin with _ are the runtime's");
        return Err(Problem::new(Kind::InvalidName, detail));
    }
    match api.topic(&name) {
        Err(_) if api.create_topics => {
            let log = Arc::clone(&api.log);
            Ok(blocking(move || log.create_topic(&name, None)).await??)
        }
        topic => topic,
    }
}

/// Chooses the partition of the events without a key: by turns, and for a publish that may come twice always
/// the same one, so that its second answer fits its first.
fn turn(once: Option<&IdempotencyKey>) -> u32 {
    static TURN: AtomicU32 = AtomicU32::new(0);
    match once {
        Some(once) => once.body[..4].iter().fold(0, |turn, &byte| turn << 8 | u32::from(byte)),
        None => TURN.fetch_add(1, Ordering::Relaxed),
    }
}

async fn read(body: Bytes, plan: Plan) -> Result<Placed, Problem> {
    if body.len() <= INLINE_BODY_BYTES_MAX {
        return Ok(publish::read(&body, &plan)?);
    }
    Ok(blocking(move || publish::read(&body, &plan)).await??)
}

/// Hands the transaction in and waits for its end.
async fn commit(
    log: &Arc<dyn Log>,
    blocks: Vec<tidemill_bus::transaction::NewBlock>,
    once: Option<IdempotencyKey>,
) -> Result<Receipt, Problem> {
    let (sender, receiver) = oneshot::channel();
    let to = Arc::new(Waiting(Mutex::new(Some(sender))));
    log.submit(Transaction { blocks, once, ..Transaction::default() }, Answer { to, token: 0 });
    match receiver.await {
        Ok(Outcome::Committed(receipt)) => Ok(receipt),
        Ok(Outcome::Aborted(abort)) => Err(abort.into()),
        Err(_) => {
            Err(Problem::new(Kind::Stopping, "the store closed; whether the events were kept is not known"))
        }
    }
}

/// A publisher who waits for the end of its transaction.
struct Waiting(Mutex<Option<oneshot::Sender<Outcome>>>);

impl Answered for Waiting {
    fn answered(&self, _token: u64, outcome: Outcome) {
        if let Some(sender) = self.0.lock().take() {
            // The client may have gone; its events are committed all the same.
            let _ = sender.send(outcome);
        }
    }
}

fn answer(with: AnswerWith, order: &[u32], receipt: &Receipt) -> Result<Response, Problem> {
    let mut response = match with {
        AnswerWith::Runs => Json(receipt.runs.iter().map(run_entry).collect::<Vec<_>>()).into_response(),
        AnswerWith::Events => {
            let events = event_entries(order, &receipt.runs).ok_or_else(|| {
                let detail = "the topic's partitions were changed since these events were published: ask without answer=events";
                Problem::new(Kind::Conflict, detail)
            })?;
            Json(events).into_response()
        }
    };
    if receipt.repeated {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn run_entry(run: &Run) -> RunEntry {
    RunEntry { partition: run.partition.0, offset: run.offset.0, count: run.count }
}

/// The place of each event: those of a partition take its offsets in their order. `None` if they do not fit.
fn event_entries(order: &[u32], runs: &[Run]) -> Option<Vec<EventEntry>> {
    let mut offsets: std::collections::HashMap<u32, Vec<u64>> = std::collections::HashMap::new();
    for run in runs.iter().rev() {
        let offsets = offsets.entry(run.partition.0).or_default();
        offsets.extend((run.offset.0..).take(run.count as usize).collect::<Vec<_>>().into_iter().rev());
    }
    let entry = |&partition| Some(EventEntry { partition, offset: offsets.get_mut(&partition)?.pop()? });
    order.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use tidemill_bus::{Offset, Partition};

    use super::*;

    #[test]
    fn every_event_of_the_request_gets_its_place() {
        let run =
            |partition, offset, count| Run { partition: Partition(partition), offset: Offset(offset), count };
        let runs = [run(0, 10, 2), run(0, 50, 1), run(2, 7, 1)];
        let places = event_entries(&[0, 2, 0, 0], &runs).unwrap();
        let places: Vec<_> = places.iter().map(|place| (place.partition, place.offset)).collect();
        assert_eq!(places, [(0, 10), (2, 7), (0, 11), (0, 50)]);
        assert!(event_entries(&[1], &runs).is_none());
    }
}
