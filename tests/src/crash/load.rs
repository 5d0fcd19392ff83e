//! Publishers that never stop until told, and what they know of their requests. One thread each.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::Result;

use super::model::{Fate, line};
use crate::harness::{Api, Published};

/// Keys that the events have.
const KEYS: u64 = 50;

/// A request and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The id of its first event; the others follow.
    pub first: u64,
    /// Number of events.
    pub count: u64,
    /// Its body.
    pub lines: String,
    /// Whether it was sent with an idempotency key, and so may be sent again.
    pub idempotent: bool,
    /// How it ended.
    pub published: Published,
}

impl Request {
    /// The idempotency key that it is sent with.
    pub(crate) fn idempotency_key(&self) -> Option<String> {
        self.idempotent.then(|| format!("request-{}", self.first))
    }
}

/// What all publishers share.
pub(crate) struct Load {
    next_id: AtomicU64,
    stop: AtomicBool,
    requests_max: usize,
}

impl Load {
    /// A load whose ids start at 1; each publisher makes so many requests before a kill and no more, less than
    /// what retention keeps, for all is read back.
    pub(crate) fn new(requests_max: usize) -> Self {
        Self { next_id: AtomicU64::new(1), stop: AtomicBool::new(false), requests_max }
    }

    /// Publishes with `publishers` threads while `meanwhile` runs, and returns all requests with their ends.
    pub(crate) fn publish_while<T>(
        &self,
        apis: Vec<Api>,
        seed: u64,
        meanwhile: impl FnOnce() -> T,
    ) -> Result<(T, Vec<Request>)> {
        self.stop.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            let publishers: Vec<_> = apis
                .into_iter()
                .zip(seed..)
                .map(|(api, seed)| scope.spawn(move || self.publish(&api, fastrand::Rng::with_seed(seed))))
                .collect();
            let value = meanwhile();
            self.stop.store(true, Ordering::Relaxed);
            let mut requests = Vec::new();
            for publisher in publishers {
                requests.extend(publisher.join().expect("a publisher does not panic")?);
            }
            Ok((value, requests))
        })
    }

    /// Publishes until told to stop, until the runtime is gone, or until it is enough.
    fn publish(&self, api: &Api, mut random: fastrand::Rng) -> Result<Vec<Request>> {
        let mut requests = Vec::new();
        while !self.stop.load(Ordering::Relaxed) && requests.len() < self.requests_max {
            let mut request = self.request(&mut random);
            request.published =
                api.publish("events", &request.lines, request.idempotency_key().as_deref())?;
            let gone = request.published == Published::Unknown;
            requests.push(request);
            if gone {
                break;
            }
        }
        Ok(requests)
    }

    fn request(&self, random: &mut fastrand::Rng) -> Request {
        let count = random.u64(1..=60);
        let first = self.next_id.fetch_add(count, Ordering::Relaxed);
        let lines =
            (first..first + count).map(|id| line(id, random.u64(0..KEYS), fate(random)) + "\n").collect();
        Request { first, count, lines, idempotent: random.bool(), published: Published::Unknown }
    }
}

/// Now and then an event fails.
fn fate(random: &mut fastrand::Rng) -> Fate {
    match random.u32(0..1_000) {
        0..10 => Fate::Reject,
        10..12 => Fate::Trap,
        12..20 => Fate::Retry,
        _ => Fate::Pass,
    }
}
