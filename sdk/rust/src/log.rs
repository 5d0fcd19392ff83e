//! Log lines of a handler: `tidemill_sdk::log::info!("read {n} events")`. The host puts handler, partition and
//! offset beside each line, and drops lines of a handler that writes too many.

use std::fmt::Arguments;

use crate::host;

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
    /// Something failed.
    Error,
}

/// Writes a line; `context` says where in the handler it comes from.
pub fn write(level: Level, context: &str, message: Arguments<'_>) {
    match message.as_str() {
        Some(text) => host::log(level, context, text),
        None => host::log(level, context, &message.to_string()),
    }
}

/// Logs every step, as `format!` does.
#[macro_export]
#[doc(hidden)]
macro_rules! __trace {
    ($($line:tt)*) => { $crate::log::write($crate::log::Level::Trace, module_path!(), format_args!($($line)*)) };
}

/// Logs for the one who wrote the handler, as `format!` does.
#[macro_export]
#[doc(hidden)]
macro_rules! __debug {
    ($($line:tt)*) => { $crate::log::write($crate::log::Level::Debug, module_path!(), format_args!($($line)*)) };
}

/// Logs for the one who runs the handler, as `format!` does.
#[macro_export]
#[doc(hidden)]
macro_rules! __info {
    ($($line:tt)*) => { $crate::log::write($crate::log::Level::Info, module_path!(), format_args!($($line)*)) };
}

/// Logs something to look at, as `format!` does.
#[macro_export]
#[doc(hidden)]
macro_rules! __warn {
    ($($line:tt)*) => { $crate::log::write($crate::log::Level::Warn, module_path!(), format_args!($($line)*)) };
}

/// Logs that something failed, as `format!` does.
#[macro_export]
#[doc(hidden)]
macro_rules! __error {
    ($($line:tt)*) => { $crate::log::write($crate::log::Level::Error, module_path!(), format_args!($($line)*)) };
}

#[doc(inline)]
pub use crate::{__debug as debug, __error as error, __info as info, __trace as trace, __warn as warn};
