//! The wasm host with real guests in the real engine: one guest per vice, the cache, the plugin directory.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

mod bounds;
mod caching;
mod calls;
mod compiling;
mod directory;
mod loading;
mod plugins;
mod support;
mod vices;
mod wasi;
