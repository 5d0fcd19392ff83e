//! The HTTP API as the suites use it: publish, read, groups, topics.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::blocking::{Client, Response};
use serde_json::Value;

/// Where a run of events went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The partition.
    pub partition: u32,
    /// The offset of the first.
    pub offset: u64,
    /// How many.
    pub count: u64,
}

/// How a publish ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is durable, in these places.
    Acknowledged(Vec<Place>),
    /// It was refused with this status and problem: nothing of it was done.
    Refused(u16, String),
    /// No answer came, or that the store stopped: it was done in whole or not at all.
    Unknown,
}

/// An event as it is read.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its offset.
    pub offset: u64,
    /// Its key as text.
    pub key: Option<String>,
    /// Its headers.
    pub headers: Value,
    /// Its value.
    pub value: Value,
}

/// A client of one runtime.
pub struct Api {
    client: Client,
    address: String,
}

impl Api {
    /// A client of the runtime at `address` (`http://127.0.0.1:PORT`).
    pub fn new(address: &str) -> Result<Self> {
        let client = Client::builder().timeout(Duration::from_mins(1)).no_proxy().build()?;
        Ok(Self { client, address: address.to_owned() })
    }

    /// Whether it says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.client
            .get(format!("{}/readyz", self.address))
            .send()
            .is_ok_and(|answer| answer.status().is_success())
    }

    /// Whether it says that its store takes nothing more, for a write or a sync failed.
    pub fn store_has_stopped(&self) -> bool {
        let answer = self.client.get(format!("{}/readyz", self.address)).send();
        answer
            .and_then(reqwest::blocking::Response::text)
            .is_ok_and(|problem| problem.contains("store-stopped"))
    }

    /// Publishes lines of JSON, keyed by their `/key`.
    pub fn publish(&self, topic: &str, lines: &str, idempotency_key: Option<&str>) -> Result<Published> {
        let mut request = self
            .client
            .post(format!("{}/v1/topics/{topic}/events?key=/key", self.address))
            .header("content-type", "application/x-ndjson")
            .body(lines.to_owned());
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let Ok(answer) = request.send() else { return Ok(Published::Unknown) };
        let status = answer.status();
        let Ok(body) = answer.text() else { return Ok(Published::Unknown) };
        // A sync failed: what the disk has of the request shows when the store is opened again.
        if body.contains("store-stopped") {
            return Ok(Published::Unknown);
        }
        if !status.is_success() {
            return Ok(Published::Refused(status.as_u16(), body));
        }
        let places: Value = serde_json::from_str(&body).with_context(|| format!("the answer {body:?}"))?;
        let places = places.as_array().context("the answer is no array")?;
        places.iter().map(place).collect::<Result<_>>().map(Published::Acknowledged)
    }

    /// Up to `limit` events of a partition from an offset on, in order. Empty if the topic is not there yet.
    pub fn read(&self, topic: &str, partition: u32, from: u64, limit: usize) -> Result<Vec<Record>> {
        let path = format!("/v1/topics/{topic}/events?partition={partition}&from={from}&limit={limit}");
        let answer = self.client.get(format!("{}{path}", self.address)).send()?;
        if answer.status().as_u16() == 404 {
            return Ok(Vec::new());
        }
        let text = text_of(answer, &path)?;
        text.lines().map(record).collect()
    }

    /// The events of a partition from its beginning on, as lines, without end. Waits for the topic.
    pub fn follow(&self, topic: &str, partition: u32) -> Result<impl BufRead + Send + use<>> {
        // No time is too long for the next event to come.
        let client = Client::builder().timeout(None).no_proxy().build()?;
        let path = format!("/v1/topics/{topic}/events?partition={partition}&from=earliest&follow=true");
        let answer = client.get(format!("{}{path}", self.address)).send()?;
        ensure!(answer.status().is_success(), "GET {path} answered {}", answer.status());
        Ok(BufReader::with_capacity(1 << 16, answer))
    }

    /// What a path answers, as JSON.
    pub fn get(&self, path: &str) -> Result<Value> {
        let answer = self.client.get(format!("{}{path}", self.address)).send()?;
        let text = text_of(answer, path)?;
        serde_json::from_str(&text).with_context(|| format!("GET {path} answered {text:?}"))
    }

    /// What a path answers, as it is.
    pub fn text(&self, path: &str) -> Result<String> {
        text_of(self.client.get(format!("{}{path}", self.address)).send()?, path)
    }

    /// Sets what is at a path, or creates it.
    pub fn put(&self, path: &str, body: &Value) -> Result<()> {
        let request = self.client.put(format!("{}{path}", self.address));
        let answer = request.header("content-type", "application/json").body(body.to_string()).send()?;
        text_of(answer, path).map(drop)
    }

    /// What a path answers to a body, as JSON.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.client.post(format!("{}{path}", self.address));
        let answer = request.header("content-type", "application/json").body(body.to_string()).send()?;
        let text = text_of(answer, path)?;
        serde_json::from_str(&text).with_context(|| format!("POST {path} answered {text:?}"))
    }
}

fn text_of(answer: Response, path: &str) -> Result<String> {
    let status = answer.status();
    let text = answer.text()?;
    if !status.is_success() {
        bail!("{path} answered {status}: {text}");
    }
    Ok(text)
}

fn place(value: &Value) -> Result<Place> {
    let number = |name: &str| value[name].as_u64().with_context(|| format!("{value} has no {name}"));
    Ok(Place {
        partition: u32::try_from(number("partition")?)?,
        offset: number("offset")?,
        count: number("count")?,
    })
}

fn record(line: &str) -> Result<Record> {
    let mut value: Value = serde_json::from_str(line).with_context(|| format!("the line {line:?}"))?;
    Ok(Record {
        offset: value["offset"].as_u64().with_context(|| format!("{line} has no offset"))?,
        key: value["key"].as_str().map(str::to_owned),
        headers: value["headers"].take(),
        value: value["value"].take(),
    })
}
