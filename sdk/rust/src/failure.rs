//! How one event fails: given up, or tried again.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Why an event was not done. What was emitted and written for it is rolled back; its neighbours stay.
///
/// Any other error becomes a rejection with `?`: a handler depends on its event and its state only, so what
/// went wrong once goes wrong again.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: Kind,
    reason: Cow<'static, str>,
}

/// What becomes of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Reject,
    Retry(Option<Duration>),
}

impl Failure {
    /// Gives the event up: it goes to the dead letters with this reason, and the handler goes on.
    pub fn reject(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind: Kind::Reject, reason: reason.into() }))
    }

    /// Stops at the event: it is tried again after a pause, and what comes after it waits. How often and what
    /// then is the operator's retry policy.
    pub fn retry(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind: Kind::Retry(None), reason: reason.into() }))
    }

    /// Waits at least this long before the event is tried again (in whole milliseconds, rounded up). Makes a
    /// rejection a retry.
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        self.0.kind = Kind::Retry(Some(pause));
        self
    }

    /// Why, for the person who reads the dead letter.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Whether the event is tried again.
    pub fn is_retry(&self) -> bool {
        matches!(self.0.kind, Kind::Retry(_))
    }

    pub(crate) fn into_parts(self) -> (Kind, String) {
        (self.0.kind, self.0.reason.into_owned())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure").field("kind", &self.0.kind).field("reason", &self.0.reason).finish()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

// `Failure` is no `Error` itself, or this would overlap with the conversion of a type into itself.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        Self::reject(reason)
    }
}
