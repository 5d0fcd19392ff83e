//! HTTP API, metrics and wiring of the Tidemill runtime.
