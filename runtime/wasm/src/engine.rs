//! The engine that compiles and runs guests: which features it has, how it takes memory. Knows no component.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use thiserror::Error;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::limits;
use crate::ticker::Ticker;

/// An engine that could not be built.
#[derive(Debug, Error)]
pub enum EngineError {
    /// wasmtime refused the settings: not on this machine.
    #[error("building the Wasm engine: {0:#}")]
    Build(wasmtime::Error),
    /// The thread that counts time could not be started.
    #[error("starting the thread of the epoch: {0}")]
    Ticker(#[from] io::Error),
}

/// Where the memory of instances comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// From a pool whose address space was reserved at the start: an instance takes 14 µs.
    Pooling {
        /// Instances that fit in.
        instances: u32,
    },
    /// From the system, instance by instance, for the pool's address space could not be reserved: slower.
    OnDemand {
        /// Why there is no pool.
        reason: String,
    },
}

/// The engine, with the thread that counts its time. Sync: its guests import nothing that can wait.
pub struct Engine {
    wasmtime: wasmtime::Engine,
    allocation: Allocation,
    /// Held so that the epoch advances as long as the engine is in use.
    _ticker: Ticker,
}

impl Engine {
    /// Builds an engine for [`limits::INSTANCES`] instances at once.
    pub fn new() -> Result<Arc<Self>, EngineError> {
        Self::with_instances(limits::INSTANCES)
    }

    /// Builds an engine for that many instances at once. Without the address space for them it allocates on
    /// demand, which [`Engine::allocation`] tells and the log says.
    pub fn with_instances(instances: u32) -> Result<Arc<Self>, EngineError> {
        let (wasmtime, allocation) = match wasmtime::Engine::new(&pooling(instances)) {
            Ok(engine) => (engine, Allocation::Pooling { instances }),
            Err(error) => {
                let reason = format!("{error:#}");
                tracing::warn!(
                    instances,
                    reason,
                    "no address space for a pool of instances, allocating on demand"
                );
                (
                    wasmtime::Engine::new(&config()).map_err(EngineError::Build)?,
                    Allocation::OnDemand { reason },
                )
            }
        };
        let ticker = Ticker::start(&wasmtime)?;
        Ok(Arc::new(Self { wasmtime, allocation, _ticker: ticker }))
    }

    /// Where the memory of instances comes from.
    pub fn allocation(&self) -> &Allocation {
        &self.allocation
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }
}

/// An engine that compiles for all others and runs nothing: it reserves no memory and has no thread.
pub(crate) fn for_compiling() -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config())
}

/// What all guests are compiled for and run with. The same inputs give the same bytes: NaNs are canonical, and what depends on the
/// machine or on other threads is off.
fn config() -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .memory_init_cow(true)
        .max_wasm_stack(limits::GUEST_STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(limits::BACKTRACE_FRAMES));
    config
}

fn pooling(instances: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(limits::CORE_INSTANCES_PER_INSTANCE))
        .total_memories(instances.saturating_mul(limits::MEMORIES_PER_INSTANCE))
        .total_tables(instances.saturating_mul(limits::TABLES_PER_INSTANCE))
        // A guest may have them all in one module; the pool's own bound for one is lower.
        .max_tables_per_module(limits::TABLES_PER_INSTANCE)
        .table_elements(limits::TABLE_ELEMENTS);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_without_address_space_falls_back_to_on_demand_visibly() {
        let engine = Engine::with_instances(1_000_000).unwrap();
        let Allocation::OnDemand { reason } = engine.allocation() else {
            panic!("a million instances of 4 GiB fit in: {:?}", engine.allocation());
        };
        assert!(!reason.is_empty());
    }
}
