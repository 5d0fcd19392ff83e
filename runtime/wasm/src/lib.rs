//! Sandboxed WebAssembly handlers for Tidemill: plugin directory, engine, compile cache, instances.
//!
//! The only crate that names wasmtime. It offers the flow's two ports ([`Plugin`] is a
//! [`tidemill_flow::handler::Handler`]) and knows no topic, no log and no HTTP. The modules stand in the order
//! of a plugin's way in: found in the directory, its file read, compiled or taken from the cache, checked,
//! instantiated, called.

pub mod compile;
pub mod directory;
pub mod document;
pub mod limits;
pub mod plugin_file;
pub mod units;

mod budget;
mod cache;
mod clock;
mod columns;
mod console;
mod engine;
mod fault;
mod imports;
mod instance;
mod logs;
mod plugin;
mod random;
mod ticker;

pub use cache::Cache;
pub use compile::{CompileError, CompileLimits, Compiler};
pub use engine::{Allocation, Engine, EngineError};
pub use logs::{Level, LogLine, LogSink};
pub use plugin::{LoadError, Loader, Plugin};
