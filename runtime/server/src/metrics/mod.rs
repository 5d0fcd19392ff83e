//! What the runtime counts, and how it is told to Prometheus.

mod counters;
mod encode;

pub use counters::Counters;
pub use encode::encode;
