//! The wasm host with real guests in the real engine: one guest per vice, the cache, the plugin directory.

mod caching;
mod calls;
mod directory;
mod loading;
mod support;
mod vices;
mod wasi;
