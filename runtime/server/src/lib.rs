//! HTTP API, metrics and wiring of the Tidemill runtime.

pub mod limits;
pub mod publish;
