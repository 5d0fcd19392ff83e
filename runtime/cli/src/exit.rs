//! The codes that the command ends with, as `tidemill --help` lists them.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

/// What is shown at the end of `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  failed: the message says what, where, and what to do next
  2  the command line is not understood
  3  no runtime answers at the URL
  4  no such topic, handler, group or dead letter
  5  the configuration or a plugin is not valid";

/// Why the command failed, where the code says more than 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No runtime answers.
    Unreachable,
    /// What was named does not exist.
    NotFound,
    /// A configuration or a plugin is not valid.
    Invalid,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "no runtime answers",
            Self::NotFound => "not found",
            Self::Invalid => "not valid",
        })
    }
}

impl Error for Failure {}

/// An error with its own code.
pub(crate) fn failed(
    failure: Failure,
    message: impl fmt::Display + fmt::Debug + Send + Sync + 'static,
) -> anyhow::Error {
    anyhow::Error::new(failure).context(message)
}

/// The code of an error.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(match error.downcast_ref::<Failure>() {
        None => 1,
        Some(Failure::Unreachable) => 3,
        Some(Failure::NotFound) => 4,
        Some(Failure::Invalid) => 5,
    })
}

/// Whether whoever read our output has had enough.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken))
}
