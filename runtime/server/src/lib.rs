//! HTTP API, metrics and wiring of the Tidemill runtime.

pub mod config;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod publish;
pub mod runtime;
mod tasks;

pub use config::Config;
pub use runtime::{Runtime, StartError};
pub use tidemill_bus::check as check_store;
pub use tidemill_wasm::compile::serve as compile;
