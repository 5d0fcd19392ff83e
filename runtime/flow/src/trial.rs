//! A new version on trial: which one comes back if it fails, where it has proved itself, and what was refused. Shared by
//! the workers and who changes handlers; switches nothing itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::dead_letter::bounded;
use crate::installed::Settings;
use crate::status::RefusedVersion;

/// The trial of a handler's newest version. Generations count from 1; 0 is none.
#[derive(Default)]
pub(crate) struct Trial {
    /// The generation on trial.
    generation: AtomicU64,
    /// The generation that has failed: it gets no further call.
    failed: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// What comes back if it fails.
    former: Option<Arc<Settings>>,
    /// The last version that failed.
    refused: Option<RefusedVersion>,
}

impl Trial {
    /// A trial of `generation`, with `former` to come back; the last that failed is still told.
    pub(crate) fn of(
        generation: u64,
        former: Option<Arc<Settings>>,
        refused: Option<RefusedVersion>,
    ) -> Self {
        let on_trial = if former.is_some() { generation } else { 0 };
        Self {
            generation: AtomicU64::new(on_trial),
            failed: AtomicU64::new(0),
            inner: Mutex::new(Inner { former, refused }),
        }
    }

    /// Begins the trial of `generation`.
    pub(crate) fn begin(&self, generation: u64, former: Arc<Settings>) {
        self.inner.lock().former = Some(former);
        self.generation.store(generation, Ordering::Release);
    }

    /// Ends the trial, one way or the other.
    pub(crate) fn end(&self) {
        self.generation.store(0, Ordering::Release);
        self.inner.lock().former = None;
    }

    /// What comes back if the newest version fails.
    pub(crate) fn former(&self) -> Option<Arc<Settings>> {
        self.inner.lock().former.clone()
    }

    /// Whether `generation` is on trial.
    pub(crate) fn is_of(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
    }

    /// Whether `generation` has failed.
    pub(crate) fn has_failed(&self, generation: u64) -> bool {
        self.failed.load(Ordering::Acquire) == generation
    }

    /// The version on trial has failed. False if it is on trial no more, or failed before.
    pub(crate) fn fail(&self, settings: &Settings, reason: &str, at_ms: i64) -> bool {
        let mut inner = self.inner.lock();
        if !self.is_of(settings.generation) || self.has_failed(settings.generation) {
            return false;
        }
        self.failed.store(settings.generation, Ordering::Release);
        let (version, reason) = (settings.handler.version().into(), bounded(reason).to_owned());
        inner.refused = Some(RefusedVersion { version, reason, at_ms });
        true
    }

    /// The last version that failed.
    pub(crate) fn refused(&self) -> Option<RefusedVersion> {
        self.inner.lock().refused.clone()
    }
}
