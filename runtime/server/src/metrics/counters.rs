//! What came and went over the API since the runtime started.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of the API.
#[derive(Debug, Default)]
pub struct Counters {
    published_requests: AtomicU64,
    published_events: AtomicU64,
    published_bytes: AtomicU64,
    read_events: AtomicU64,
}

impl Counters {
    /// A request has published events; `bytes` is the length of its body.
    pub(crate) fn published(&self, events: usize, bytes: usize) {
        self.published_requests.fetch_add(1, Ordering::Relaxed);
        self.published_events.fetch_add(events as u64, Ordering::Relaxed);
        self.published_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Events were sent to a reader.
    pub(crate) fn read(&self, events: u64) {
        self.read_events.fetch_add(events, Ordering::Relaxed);
    }

    /// Requests that published something.
    pub fn published_requests(&self) -> u64 {
        self.published_requests.load(Ordering::Relaxed)
    }

    /// Events published.
    pub fn published_events(&self) -> u64 {
        self.published_events.load(Ordering::Relaxed)
    }

    /// Bytes of the bodies that published them.
    pub fn published_bytes(&self) -> u64 {
        self.published_bytes.load(Ordering::Relaxed)
    }

    /// Events sent to readers.
    pub fn read_events(&self) -> u64 {
        self.read_events.load(Ordering::Relaxed)
    }
}
