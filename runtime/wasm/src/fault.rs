//! What went wrong in a call, told from wasmtime's error: the guest's fault or the host's. Decides nothing.

use thiserror::Error;
use tidemill_flow::handler::Fault;
use wasmtime::{FrameInfo, FrameSymbol, PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::budget;
use crate::clock::Overrun;
use crate::logs;

/// An imported function could not do its part; travels through the guest's frames to the caller.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ImportError {
    /// The world's fault.
    #[error("{0}")]
    Host(String),
    /// The guest's: what it handed over contradicts itself.
    #[error("{0}")]
    Lie(String),
}

/// What wasmtime says when a guest hands over more than its cap. The type of that error is private.
const FUEL_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

/// The fault that `error` stands for; `output_bytes` is the cap of the output.
pub(crate) fn of(error: &wasmtime::Error, output_bytes: usize) -> Fault {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    if let Some(refused) = error.downcast_ref::<budget::Refused>() {
        return Fault::Memory { asked: refused.asked, limit: refused.limit };
    }
    if let Some(Overrun(deadline)) = error.downcast_ref::<Overrun>() {
        return Fault::Deadline(*deadline);
    }
    match error.downcast_ref::<ImportError>() {
        Some(ImportError::Host(why)) => return Fault::Host(why.clone()),
        Some(ImportError::Lie(what)) => return Fault::Lie(what.clone()),
        None => {}
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::Host(format!("no place for another instance: {error:#}"));
    }
    let cause = error.root_cause().to_string();
    if error.is::<Trap>() {
        return Fault::Trap { message: trap_message(&cause), backtrace: frames(backtrace) };
    }
    // Without a guest's frame on the stack the host was lifting what the guest had returned, or lowering to
    // where the guest had told it to.
    match backtrace {
        None if cause.contains(FUEL_EXHAUSTED) => Fault::OutputTooLarge { limit: output_bytes },
        None => Fault::Lie(format!("against the canonical ABI: {cause}")),
        Some(_) if cause.contains(FUEL_EXHAUSTED) => Fault::Trap {
            message: format!("handed more than {output_bytes} bytes to an imported function"),
            backtrace: frames(backtrace),
        },
        Some(_) => Fault::Trap { message: cause, backtrace: frames(backtrace) },
    }
}

/// The fault that `error` of an instantiation stands for. Nothing was lifted or lowered yet, so what is not the
/// guest's own doing is the host's: no address space, no file descriptor.
pub(crate) fn of_instantiation(error: &wasmtime::Error, output_bytes: usize) -> Fault {
    match of(error, output_bytes) {
        Fault::Lie(_) if !error.is::<ImportError>() => Fault::Host(format!("{error:#}")),
        fault => fault,
    }
}

fn trap_message(cause: &str) -> String {
    cause.strip_prefix("wasm trap: ").unwrap_or(cause).to_owned()
}

/// One frame a line, innermost first, and no longer than a log line. Names are under guest control.
fn frames(backtrace: Option<&WasmBacktrace>) -> String {
    let frames = backtrace.map(WasmBacktrace::frames).unwrap_or_default();
    let lines: Vec<String> = frames.iter().map(frame).collect();
    logs::cut(&lines.join("\n")).to_owned()
}

fn frame(frame: &FrameInfo) -> String {
    let symbol = frame.symbols().first();
    let name = match frame.func_name().or(symbol.and_then(FrameSymbol::name)) {
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("function {}", frame.func_index()),
    };
    match symbol.and_then(|symbol| symbol.file().zip(symbol.line())) {
        Some((file, line)) => format!("{name} ({file}:{line})"),
        None => name,
    }
}
