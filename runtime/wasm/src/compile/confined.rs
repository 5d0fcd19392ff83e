//! The child's side: limits itself, reads a component, writes its machine code. Trusts nothing of what it reads.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

use super::Code;
use crate::engine;
use crate::limits::COMPILE_NICE;

/// The child's codes, beside 0 for code that was written to its end.
pub(super) const REFUSED: u8 = 65;
/// The compiler was refused memory, and could say so.
pub(super) const NO_MEMORY: u8 = 66;
/// Anything else, as its words tell.
const FAILED: u8 = 70;

/// Compiles the component at standard input to standard output within these limits, at a lower priority than that of
/// the process that began it: the body of the program that [`super::Compiler::in_child`] starts. What goes wrong is
/// said at standard error and by the code.
pub fn serve(cpu_seconds: u64, memory_bytes: u64) -> ExitCode {
    let Err(failure) = compile(cpu_seconds, memory_bytes) else { return ExitCode::SUCCESS };
    let (code, words) = match failure {
        Failure::World(what, error) => (FAILED, format!("{what}: {error}")),
        Failure::Compiler(error) if is_out_of_memory(&error) => (NO_MEMORY, format!("{error:#}")),
        Failure::Compiler(error) => (REFUSED, format!("{error:#}")),
    };
    // Who does not listen to the words has the code.
    let _ = io::stderr().write_all(words.as_bytes());
    ExitCode::from(code)
}

enum Failure {
    World(&'static str, io::Error),
    Compiler(wasmtime::Error),
}

fn compile(cpu_seconds: u64, memory_bytes: u64) -> Result<(), Failure> {
    let world = |what| move |error: io::Error| Failure::World(what, error);
    confine(cpu_seconds, memory_bytes).map_err(world("limiting the compiler"))?;
    let mut wasm = Vec::new();
    io::stdin().read_to_end(&mut wasm).map_err(world("reading the component"))?;
    let engine = engine::for_compiling().map_err(Failure::Compiler)?;
    let code = Code::compile(&engine, &wasm).map_err(Failure::Compiler)?;
    let mut out = io::stdout().lock();
    out.write_all(code.bytes()).and_then(|()| out.flush()).map_err(world("writing the machine code"))
}

/// Limits this process: beyond its processor time it gets a signal, beyond its memory no more. No core is dumped: it
/// could have the size of all that memory.
fn confine(cpu_seconds: u64, memory_bytes: u64) -> io::Result<()> {
    limit(Resource::Core, 0)?;
    limit(Resource::Cpu, cpu_seconds)?;
    limit(Resource::As, memory_bytes)?;
    nice(COMPILE_NICE)?;
    Ok(())
}

/// Limits one resource, or leaves it at less if this process may have no more.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let maximum = getrlimit(resource).maximum;
    let current = Some(maximum.map_or(most, |maximum| maximum.min(most)));
    Ok(setrlimit(resource, Rlimit { current, maximum })?)
}

fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    let refused = |cause: &io::Error| cause.kind() == io::ErrorKind::OutOfMemory;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(refused))
}
