//! What guests log: lines with their place, cut and rationed. Knows neither the runtime's log nor its format.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidemill_flow::{Offset, Partition};

use crate::limits::{LOG_LINE_BYTES, LOG_LINES_PER_SECOND};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// For the one who wrote the handler.
    Debug,
    /// For the one who runs it.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed, or nothing goes on.
    Error,
}

/// A line that a guest logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// How much it matters.
    pub level: Level,
    /// The handler's name.
    pub handler: &'a str,
    /// The partition that it works on.
    pub partition: Partition,
    /// The first offset of the batch in hand; `None` while the instance is made.
    pub offset: Option<Offset>,
    /// Where in the handler it comes from; may be empty. Under guest control.
    pub context: &'a str,
    /// What it says, at most [`LOG_LINE_BYTES`]. Under guest control: may hold control characters.
    pub message: &'a str,
    /// Lines of this handler that were dropped since its last one.
    pub dropped: u64,
}

/// Takes the lines of all guests. Called on the worker's thread within a call: it must not wait.
pub trait LogSink: Send + Sync + 'static {
    /// Takes one line.
    fn line(&self, line: LogLine<'_>);
}

/// What one handler may log, over all its instances.
#[derive(Debug, Default)]
pub(crate) struct Ration {
    window: Mutex<Option<Window>>,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Window {
    started: Instant,
    lines: u32,
    dropped: u64,
}

impl Ration {
    /// Takes a place for one line at `now`: how many were dropped since the last, or `None` if this one is.
    pub(crate) fn take(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock();
        let window = window.get_or_insert(Window { started: now, lines: 0, dropped: 0 });
        if now.saturating_duration_since(window.started) >= Duration::from_secs(1) {
            (window.started, window.lines) = (now, 0);
        }
        if window.lines == LOG_LINES_PER_SECOND {
            window.dropped += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.dropped))
    }

    /// Lines dropped since the handler was loaded.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// `text` up to [`LOG_LINE_BYTES`], cut between characters.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LOG_LINE_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_ration_are_counted_and_told_with_the_next() {
        let ration = Ration::default();
        let start = Instant::now();
        for _ in 0..LOG_LINES_PER_SECOND {
            assert_eq!(ration.take(start), Some(0));
        }
        assert_eq!(ration.take(start), None);
        assert_eq!(ration.take(start + Duration::from_millis(999)), None);
        assert_eq!(ration.take(start + Duration::from_secs(1)), Some(2));
        assert_eq!(ration.take(start + Duration::from_secs(1)), Some(0));
        assert_eq!(ration.dropped(), 2);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let long = "é".repeat(LOG_LINE_BYTES);
        assert_eq!(cut(&long).len(), LOG_LINE_BYTES);
        assert_eq!(cut(&format!("x{long}")).len(), LOG_LINE_BYTES - 1);
        assert_eq!(cut("short"), "short");
    }
}
