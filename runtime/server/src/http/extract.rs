//! What a handler function takes from a request, with problems instead of plain text where it cannot.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};

/// The parts of the path that are names.
pub(super) struct Names<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Names<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(names)| Self(names))
            .map_err(|error| Problem::new(Kind::InvalidName, error.body_text()))
    }
}

/// The query; unknown parameters are errors.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(params)| Self(params))
            .map_err(|error| Problem::new(Kind::InvalidRequest, error.body_text()))
    }
}

/// Settings in a JSON body, whatever its content type says; an empty body is `{}`.
pub(super) struct Settings<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Settings<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|error| Problem::new(Kind::TooLarge, error.body_text()))?;
        let body = if body.is_empty() { b"{}" } else { &body[..] };
        let settings = serde_json::from_slice(body);
        settings.map(Self).map_err(|error| Problem::new(Kind::MalformedBody, error.to_string()))
    }
}
