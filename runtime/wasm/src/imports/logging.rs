//! `wasi:logging/logging`: the guest's log lines, cut and rationed, with their place.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, WasmStr};

use crate::instance::Guest;
use crate::logs;

/// The interface, without its version.
pub(crate) const NAME: &str = "wasi:logging/logging";

/// `level`.
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "its values are lifted, never written here")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

impl From<Level> for logs::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error | Level::Critical => Self::Error,
        }
    }
}

pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(&format!("{NAME}@0.1.0-draft"))?.func_wrap(
        "log",
        |cx: StoreContextMut<'_, Guest>, (level, context, message): (Level, WasmStr, WasmStr)| {
            // Asked first: a guest that logs without end should not pay for its text being read, nor make us.
            let Some(dropped) = cx.data().take_log_line() else { return Ok(()) };
            let (context, message) = (context.to_str(&cx)?, message.to_str(&cx)?);
            cx.data().log(level.into(), (&context, &message), dropped);
            Ok(())
        },
    )
}
