//! The API as the command uses it. Turns problems into errors that say what to do next.

use anyhow::{Context, Result, anyhow};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::exit::{Failure, failed};

/// A runtime, reached over HTTP.
pub(crate) struct Client {
    url: String,
    http: reqwest::Client,
}

impl Client {
    /// The runtime at `url`.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build().context("cannot set up an HTTP client")?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), http })
    }

    /// A request to the path of these segments, each of which may be any text.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> Result<RequestBuilder> {
        let mut url: reqwest::Url = self
            .url
            .parse()
            .with_context(|| format!("{:?} is no URL: write it like http://127.0.0.1:7070", self.url))?;
        url.path_segments_mut()
            .map_err(|()| {
                anyhow!("{:?} is no URL that has a path: write it like http://127.0.0.1:7070", self.url)
            })?
            .pop_if_empty()
            .extend(segments);
        Ok(self.http.request(method, url))
    }

    /// Sends, and makes an error of every answer that is not a success.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|error| self.unreached(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        Err(problem(status, &body))
    }

    /// What a path answers, as JSON; null where it answers nothing.
    pub(crate) async fn json(&self, request: RequestBuilder) -> Result<Value> {
        let body = self.send(request).await?.bytes().await.map_err(|error| self.unreached(error))?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).with_context(|| format!("{} did not answer with JSON", self.url))
    }

    /// What is at a path.
    pub(crate) async fn get(&self, segments: &[&str]) -> Result<Value> {
        self.json(self.request(Method::GET, segments)?).await
    }

    /// The error of a connection that failed.
    pub(crate) fn unreached(&self, error: reqwest::Error) -> anyhow::Error {
        let url = &self.url;
        if error.is_connect() {
            let hint = "start one with `tidemill run`, or name another with --url or TIDEMILL_URL";
            return failed(Failure::Unreachable, format!("no runtime answers at {url}: {hint}"));
        }
        anyhow::Error::new(error).context(format!("the connection to {url} failed"))
    }
}

/// A refusal by the runtime.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub status: StatusCode,
    pub kind: String,
    pub detail: String,
    pub line: Option<u64>,
    pub column: Option<u64>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// The problem that a body says.
    pub(crate) fn of_json(status: StatusCode, json: &Value) -> Self {
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        Self {
            status,
            kind: text("type").and_then(|kind| Some(kind.rsplit(':').next()?.to_owned())).unwrap_or_default(),
            detail: text("detail")
                .or_else(|| text("title"))
                .unwrap_or_else(|| format!("the runtime answered {status}")),
            line: json["line"].as_u64(),
            column: json["column"].as_u64(),
        }
    }
}

fn problem(status: StatusCode, body: &[u8]) -> anyhow::Error {
    let json = serde_json::from_slice(body).unwrap_or(Value::Null);
    let problem = Problem::of_json(status, &json);
    if problem.kind.starts_with("unknown-") {
        return failed(Failure::NotFound, problem);
    }
    anyhow::Error::new(problem)
}
