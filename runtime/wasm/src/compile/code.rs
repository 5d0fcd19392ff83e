//! Machine code that may be run. Owns the one door through which it comes: knows neither files nor processes.

use wasmtime::component::Component;

/// Machine code as wasmtime wrote it. It is made by the compiler, in this process or in a child of the same build,
/// or taken from a cache that verified it; there is no other way to have one, for it is run as it is.
pub(crate) struct Code(Vec<u8>);

impl Code {
    /// Compiles `wasm` in this process, for engines with the settings of `engine`.
    pub(super) fn compile(engine: &wasmtime::Engine, wasm: &[u8]) -> wasmtime::Result<Self> {
        engine.precompile_component(wasm).map(Self)
    }

    /// What a child of this build wrote, to its end.
    pub(super) fn from_child(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What the cache kept, its digest verified.
    pub(crate) fn from_cache(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, to be kept.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The component, unless it was compiled for another engine.
    #[expect(unsafe_code, reason = "machine code is taken from outside; there is no safe way to do that")]
    pub(crate) fn component(&self, engine: &wasmtime::Engine) -> wasmtime::Result<Component> {
        // SAFETY: wasmtime asks that the bytes are what it once gave, unchanged. A child writes nothing else: it is
        // this very program, it read its limits and the component and nothing besides, and it wrote to a pipe that
        // only we read. `Cache::put` keeps nothing else, and the digest beside the code finds what a disk or a cut
        // broke. A digest does not stop somebody who means harm: that nobody else writes the directory is kept by its
        // mode (0700, set by `Cache::open`), and that its owner does not, nor meddles with the child, is the
        // operator's promise, as for the binary.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine;

    #[test]
    fn what_an_engine_without_a_pool_compiles_runs_in_one_with_a_pool() {
        let wasm = wat::parse_str("(component)").unwrap();
        let code = Code::compile(&engine::for_compiling().unwrap(), &wasm).unwrap();
        let pool = engine::Engine::with_instances(4).unwrap();
        assert_eq!(pool.allocation(), &engine::Allocation::Pooling { instances: 4 });
        code.component(pool.wasmtime()).unwrap();
    }
}
