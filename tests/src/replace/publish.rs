//! A publisher that goes on until told, no further ahead of the outputs than it should.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::harness::{Api, Published};

/// Keys that the events have.
pub(super) const KEYS: usize = 100;

/// Events of a request.
const REQUEST_EVENTS: u64 = 1_000;

/// Events published and not yet seen as outputs: enough that the handler always has work, and little enough that a
/// pause is its own and not that of a backlog.
const AHEAD_MAX: u64 = 100_000;

/// What a pause is put down to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// There was no replacement yet.
    Before,
    /// Versions come and go.
    Replacing,
    /// A version that wants other state has the handler stopped, as it should.
    Stopped,
}

/// What publishers and followers share.
#[derive(Default)]
pub(super) struct Flowing {
    /// Events published.
    pub(super) published: AtomicU64,
    /// Outputs seen.
    pub(super) seen: AtomicU64,
    /// What a pause is put down to, a [`Phase`].
    pub(super) phase: AtomicUsize,
    /// No more is to be published.
    pub(super) enough: AtomicBool,
    /// Nothing more will come: followers may go.
    pub(super) over: AtomicBool,
}

impl Flowing {
    /// From now on pauses are put down to this.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as usize, Ordering::Relaxed);
    }

    /// Publishes until it is enough, and returns how many events of each key.
    pub(super) fn publish(&self, api: &Api) -> Result<Vec<u64>> {
        let mut counts = vec![0; KEYS];
        let mut lines = String::new();
        while !self.enough.load(Ordering::Relaxed) {
            let ahead =
                self.published.load(Ordering::Relaxed).saturating_sub(self.seen.load(Ordering::Relaxed));
            if ahead > AHEAD_MAX {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            lines.clear();
            for _ in 0..REQUEST_EVENTS {
                let key = fastrand::usize(..KEYS);
                counts[key] += 1;
                writeln!(lines, r#"{{"key":"k{key}","number":{}}}"#, fastrand::u32(..1_000))?;
            }
            match api.publish("events", &lines, None)? {
                Published::Acknowledged(_) => self.published.fetch_add(REQUEST_EVENTS, Ordering::Relaxed),
                other => bail!("a publish ended with {other:?}"),
            };
        }
        Ok(counts)
    }
}
