//! Why a body was not taken, with the place in it.

use std::borrow::Cow;

use thiserror::Error;
use tidemill_bus::block::ColumnsError;

/// Why a body was not taken. Nothing of it was published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// A place in a text.
    #[error("line {line}, column {column}: {what}")]
    Text {
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong there.
        what: Cow<'static, str>,
    },
    /// The bytes of a batch contradict their layout.
    #[error("the batch is broken: {0}")]
    Batch(&'static str),
    /// The columns of a batch contradict each other.
    #[error("the batch is broken: {0}")]
    Columns(#[from] ColumnsError),
    /// An event above the limit.
    #[error("event {index} (from 0) has {bytes} bytes, the limit is {limit}")]
    EventTooLarge {
        /// Its place in the request, from 0.
        index: usize,
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The events take more room than a publish may.
    #[error("the events take more than {limit} bytes as columns: send them in parts")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

impl Refused {
    /// An error at byte `at` of `body`. Both are taken from the whole body, so that the line is right.
    pub(super) fn at(body: &[u8], at: usize, what: impl Into<Cow<'static, str>>) -> Self {
        let before = &body[..at.min(body.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        // A byte of UTF-8 begins a character unless it is a continuation.
        let is_start = |&&byte: &&u8| byte & 0xc0 != 0x80;
        Self::Text {
            line: 1 + memchr::memchr_iter(b'\n', before).count(),
            column: 1 + before[line_start..].iter().filter(is_start).count(),
            what: what.into(),
        }
    }
}

/// The body as text.
pub(super) fn text(body: &[u8]) -> Result<&str, Refused> {
    std::str::from_utf8(body).map_err(|error| Refused::at(body, error.valid_up_to(), "the text is not UTF-8"))
}
