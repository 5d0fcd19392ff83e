//! From a component to machine code: in this process, or in a child of it that may use only so much. Owns the way,
//! one component at a time; knows neither the cache nor what a handler is.

mod child;
mod code;
mod confined;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::limits;

pub(crate) use code::Code;
pub use confined::serve;

/// What the compilation of one component may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Processor time of all its threads; the kernel counts whole seconds, at least one.
    pub cpu: Duration,
    /// Bytes of address space, the program itself included.
    pub memory_bytes: u64,
    /// Time on the clock.
    pub time: Duration,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            cpu: limits::COMPILE_CPU,
            memory_bytes: limits::COMPILE_MEMORY_BYTES,
            time: limits::COMPILE_TIME,
        }
    }
}

impl CompileLimits {
    fn cpu_seconds(&self) -> u64 {
        self.cpu.as_millis().div_ceil(1_000).max(1).try_into().unwrap_or(u64::MAX)
    }
}

/// A program that calls [`serve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program, of the same build as this one: what another makes is refused.
    pub path: PathBuf,
    /// Its arguments; the limits come after them, seconds of processor time and bytes of memory.
    pub arguments: Vec<OsString>,
    /// Its environment, all of it: what it makes follows from the component alone.
    pub environment: Vec<(OsString, OsString)>,
}

/// A component of which no machine code was made.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The compiler refused it.
    #[error("not a valid component: {0}")]
    Invalid(String),
    /// It took too much of the processor.
    #[error("compiling it took more than {seconds} s of processor time, the limit that `compile.cpu` sets")]
    Cpu {
        /// The limit.
        seconds: u64,
    },
    /// It took too much memory.
    #[error("compiling it took more than {bytes} bytes of memory, the limit that `compile.memory` sets")]
    Memory {
        /// The limit.
        bytes: u64,
    },
    /// It took too long.
    #[error("compiling it took longer than {0:?}, the limit that `compile.time` sets")]
    Time(Duration),
    /// The process that compiled it ended without an answer.
    #[error("the process that compiled it ended ({status}){said}")]
    Died {
        /// How.
        status: std::process::ExitStatus,
        /// What it said last, after a colon. Under guest control.
        said: String,
    },
    /// There is no such process.
    #[error("starting a process that compiles it: {0}")]
    Start(io::Error),
    /// The runtime stops.
    #[error("it was not compiled, for the runtime stops")]
    Stopped,
}

/// Makes machine code of components.
#[derive(Debug)]
pub struct Compiler(Way);

#[derive(Debug)]
enum Way {
    Here,
    Child(child::Compiler),
}

impl Compiler {
    /// Compiles in this process, without limits.
    pub fn here() -> Self {
        Self(Way::Here)
    }

    /// Compiles in a child process, one component at a time.
    pub fn in_child(program: Program, limits: CompileLimits) -> Self {
        Self(Way::Child(child::Compiler::new(program, limits)))
    }

    /// Makes machine code of `wasm` for engines with the settings of `engine`. Waits for it.
    pub(crate) fn compile(&self, engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Code, CompileError> {
        match &self.0 {
            Way::Here => {
                Code::compile(engine, wasm).map_err(|error| CompileError::Invalid(format!("{error:#}")))
            }
            Way::Child(child) => child.compile(wasm),
        }
    }

    /// Ends a child that compiles, and starts no other. What is compiled in this process goes on to its end.
    pub(crate) fn stop(&self) {
        if let Way::Child(child) = &self.0 {
            child.stop();
        }
    }
}
