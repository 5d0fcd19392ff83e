//! Sandboxed WebAssembly handlers for Tidemill: plugin directory, engine, compile cache, instances.
