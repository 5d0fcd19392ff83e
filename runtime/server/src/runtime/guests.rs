//! What guests log, as lines of the runtime's own log.

use tidemill_wasm::{Level, LogLine, LogSink};

/// Writes guests' lines to the runtime's log.
#[derive(Clone, Copy, Debug, Default)]
pub struct GuestLog;

macro_rules! write_line {
    ($level:expr, $line:expr) => {
        tracing::event!(
            target: "tidemill::guest",
            $level,
            handler = $line.handler,
            partition = $line.partition.0,
            offset = $line.offset.map(|offset| offset.0),
            context = $line.context.escape_debug().to_string(),
            dropped = $line.dropped,
            // What a guest says must not be taken for the runtime's own words or for a terminal's orders.
            "{}",
            $line.message.escape_debug()
        )
    };
}

impl LogSink for GuestLog {
    fn line(&self, line: LogLine<'_>) {
        match line.level {
            Level::Trace => write_line!(tracing::Level::TRACE, line),
            Level::Debug => write_line!(tracing::Level::DEBUG, line),
            Level::Info => write_line!(tracing::Level::INFO, line),
            Level::Warn => write_line!(tracing::Level::WARN, line),
            Level::Error => write_line!(tracing::Level::ERROR, line),
        }
    }
}
