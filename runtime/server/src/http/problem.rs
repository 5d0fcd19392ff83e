//! Errors of the API: RFC 9457 problems, each with a stable type. Knows which status goes with which.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tidemill_bus::log::{Abort, AdminError, ReadError, StateError};

use tidemill_wasm::document::suggestion;

use crate::limits::RETRY_AFTER;
use crate::publish::Refused;

/// What kind of problem it is. The type of a problem is `urn:tidemill:problem:` and the kind's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body is not what its content type says.
    MalformedBody,
    /// A query parameter or header is not understood.
    InvalidRequest,
    /// A name breaks the rule for names.
    InvalidName,
    /// Not with that name or address from there.
    Forbidden,
    /// No such path.
    UnknownPath,
    /// The path takes other methods.
    MethodNotAllowed,
    /// No such topic.
    UnknownTopic,
    /// No such partition of the topic.
    UnknownPartition,
    /// No such handler.
    UnknownHandler,
    /// No such group.
    UnknownGroup,
    /// No such dead letter.
    UnknownDeadLetter,
    /// What is there is not what was asked for.
    Conflict,
    /// The events asked for are no longer kept.
    Gone,
    /// The body is above the limit.
    TooLarge,
    /// The body has a type that is not taken.
    UnsupportedMediaType,
    /// The idempotency key was used with another body.
    KeyReused,
    /// The store is busy; to be tried again.
    Busy,
    /// The runtime is stopping.
    Stopping,
    /// The store stopped after a failed write.
    StoreStopped,
    /// The disk is full.
    DiskFull,
    /// What is stored cannot be read.
    Broken,
    /// Our fault.
    Internal,
}

impl Kind {
    /// The stable name.
    pub fn name(self) -> &'static str {
        self.facts().1
    }

    fn status(self) -> StatusCode {
        self.facts().0
    }

    /// Status, name and title.
    fn facts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedBody => (S::BAD_REQUEST, "malformed-body", "the body cannot be read"),
            Self::InvalidRequest => (S::BAD_REQUEST, "invalid-request", "the request is not understood"),
            Self::InvalidName => (S::BAD_REQUEST, "invalid-name", "the name is not allowed"),
            Self::Forbidden => (S::FORBIDDEN, "forbidden", "not from there"),
            Self::UnknownPath => (S::NOT_FOUND, "unknown-path", "no such path"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method-not-allowed", "not with this method"),
            Self::UnknownTopic => (S::NOT_FOUND, "unknown-topic", "no such topic"),
            Self::UnknownPartition => (S::NOT_FOUND, "unknown-partition", "no such partition"),
            Self::UnknownHandler => (S::NOT_FOUND, "unknown-handler", "no such handler"),
            Self::UnknownGroup => (S::NOT_FOUND, "unknown-group", "no such group"),
            Self::UnknownDeadLetter => (S::NOT_FOUND, "unknown-dead-letter", "no such dead letter"),
            Self::Conflict => (S::CONFLICT, "conflict", "what is there is something else"),
            Self::Gone => (S::GONE, "gone", "the events are no longer kept"),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, "too-large", "above a limit"),
            Self::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "the content type is not taken")
            }
            Self::KeyReused => {
                (S::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "the idempotency key was used before")
            }
            Self::Busy => (S::SERVICE_UNAVAILABLE, "busy", "more is waiting than the store takes"),
            Self::Stopping => (S::SERVICE_UNAVAILABLE, "stopping", "the runtime is stopping"),
            Self::StoreStopped => (S::SERVICE_UNAVAILABLE, "store-stopped", "the store stopped"),
            Self::DiskFull => (S::INSUFFICIENT_STORAGE, "disk-full", "the disk is full"),
            Self::Broken => (S::INTERNAL_SERVER_ERROR, "broken", "what is stored cannot be read"),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "the runtime failed"),
        }
    }
}

/// An answer that says why not.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    retry_after: Option<Duration>,
    place: Option<(usize, usize)>,
}

impl Problem {
    /// A problem of `kind`; `detail` says what was attempted, on which thing, and what to do next.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after = matches!(kind, Kind::Busy | Kind::Stopping).then_some(RETRY_AFTER);
        Self { kind, detail: detail.into(), retry_after, place: None }
    }

    /// No topic of that name, among these that there are.
    pub fn unknown_topic<'a>(name: &str, topics: impl IntoIterator<Item = &'a str>) -> Self {
        let detail = match suggestion(name, topics) {
            Some(nearest) => format!("no topic {name:?}; did you mean {nearest:?}?"),
            None => format!(
                "no topic {name:?}: `tidemill topics create {name}` (PUT /v1/topics/{name}) creates it, and so does \
                 the first event"
            ),
        };
        Self::new(Kind::UnknownTopic, detail)
    }

    /// The problem as JSON, as it stands in a body.
    pub fn json(&self) -> serde_json::Value {
        let (status, name, title) = self.kind.facts();
        let mut json = json!({
            "type": format!("urn:tidemill:problem:{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let Some((line, column)) = self.place {
            json["line"] = line.into();
            json["column"] = column.into();
        }
        json
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), self.json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let kind = match refused {
            Refused::EventTooLarge { .. } | Refused::TooLarge { .. } => Kind::TooLarge,
            _ => Kind::MalformedBody,
        };
        let place = match refused {
            Refused::Text { line, column, .. } => Some((line, column)),
            _ => None,
        };
        Self { place, ..Self::new(kind, format!("{refused}; nothing of the request was published")) }
    }
}

impl From<Abort> for Problem {
    fn from(abort: Abort) -> Self {
        let kind = match &abort {
            Abort::TopicGone(_) => Kind::UnknownTopic,
            Abort::Fenced(_) | Abort::Producer { .. } => Kind::Conflict,
            Abort::KeyReused(_) => Kind::KeyReused,
            Abort::Busy => Kind::Busy,
            Abort::TooLarge { .. } => Kind::TooLarge,
            Abort::Full(_) => Kind::DiskFull,
            Abort::Tables(_) => Kind::Broken,
            Abort::Closing => Kind::Stopping,
            Abort::Poisoned(_) => Kind::StoreStopped,
        };
        Self::new(kind, abort.to_string())
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Unknown(_) => Kind::UnknownTopic,
            ReadError::Gone { .. } => Kind::Gone,
            ReadError::Broken { .. } | ReadError::Disk { .. } => Kind::Broken,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let kind = match &error {
            AdminError::InvalidName { .. } => Kind::InvalidName,
            AdminError::UnknownTopic(_) => Kind::UnknownTopic,
            AdminError::UnknownGroup(_) => Kind::UnknownGroup,
            AdminError::Exists { .. } | AdminError::Bound { .. } | AdminError::Stopped(_) => Kind::Conflict,
            AdminError::Partitions { .. } => Kind::InvalidRequest,
            AdminError::Aborted(abort) => return abort.clone().into(),
        };
        Self::new(kind, error.to_string())
    }
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Self {
        Self::new(Kind::Broken, error.to_string())
    }
}
