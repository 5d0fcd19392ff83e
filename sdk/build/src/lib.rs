//! Builds a Rust handler crate into a component without WASI imports.
