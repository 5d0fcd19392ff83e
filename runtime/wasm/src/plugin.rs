//! A plugin's way from bytes to a handler: is it a component, does it import only what is granted, does it
//! export what a handler must. Checked by type; what else it exports is no fault. Knows no file.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use thiserror::Error;
use tidemill_flow::DriverKey;
use tidemill_flow::config::HandlerConfig;
use tidemill_flow::handler::{Fault, Handler, Instance as FlowInstance};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use crate::cache::{Cache, hex};
use crate::engine::{Engine, EngineError};
use crate::imports;
use crate::instance::{Guest, Instance, Params, Returned};
use crate::logs::{LogSink, Ration};

/// What every handler exports.
const EXPORT: &str = "tidemill:handler/processor@0.1.0";

/// Bytes that are no plugin.
#[derive(Debug, Error)]
pub enum LoadError {
    /// No Wasm at all.
    #[error("not WebAssembly: it does not begin with the bytes \\0asm")]
    NotWasm,
    /// A module instead of a component.
    #[error("a core module, not a component: build it with `tidemill build`, or `wasm-tools component new`")]
    CoreModule,
    /// Wasm that the engine refuses.
    #[error("not a valid component: {0}")]
    Invalid(String),
    /// It wants what handlers do not get.
    #[error("imports what is not granted: {}{}", .0.join(", "), hint(.0))]
    NotGranted(Vec<String>),
    /// It wants what handlers get, in another shape.
    #[error("imports an interface of another shape: {0}")]
    ImportShape(String),
    /// It is no handler.
    #[error("does not export {EXPORT}; it exports {}", listed(.0))]
    NoExport(Vec<String>),
    /// It exports what a handler must, in another shape.
    #[error("exports {EXPORT} in another shape: {0}")]
    ExportShape(String),
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn hint(imports: &[String]) -> &'static str {
    if imports.iter().any(|name| name.starts_with("wasi:")) {
        "; a Rust handler built for wasm32-unknown-unknown with `tidemill build` needs none of WASI"
    } else {
        ""
    }
}

/// Turns bytes into handlers, with one engine and one cache.
pub struct Loader {
    engine: Arc<Engine>,
    cache: Option<Cache>,
    linker: Linker<Guest>,
    logs: Arc<dyn LogSink>,
}

impl Loader {
    /// A loader whose handlers log to `logs`; without a cache every load compiles.
    pub fn new(
        engine: Arc<Engine>,
        cache: Option<Cache>,
        logs: Arc<dyn LogSink>,
    ) -> Result<Self, EngineError> {
        let linker = imports::linker(engine.wasmtime()).map_err(EngineError::Build)?;
        Ok(Self { engine, cache, linker, logs })
    }

    /// Makes a handler of the component `wasm`, run as `config` says. Compiles it unless it is in the cache, which
    /// takes about 100 ms for 130 KiB.
    pub fn load(&self, wasm: &[u8], config: HandlerConfig) -> Result<Arc<Plugin>, LoadError> {
        let component = self.component(wasm)?;
        self.check_imports(&component)?;
        let shape = |error: wasmtime::Error| LoadError::ImportShape(format!("{error:#}"));
        let pre = self.linker.instantiate_pre(&component).map_err(shape)?;
        let process = self.export(&component)?;
        let invalid = |error: wasmtime::Error| LoadError::Invalid(format!("{error:#}"));
        component.initialize_copy_on_write_image().map_err(invalid)?;
        let has_state =
            imported(&component, self.engine.wasmtime()).any(|name| bare(&name) == imports::STATE);
        let shared = Shared { config, process, ration: Ration::default(), logs: self.logs.clone() };
        let sha256 = hex(&Sha256::digest(wasm));
        Ok(Arc::new(Plugin { shared: Arc::new(shared), pre, has_state, sha256, bytes: wasm.len() }))
    }

    fn component(&self, wasm: &[u8]) -> Result<Component, LoadError> {
        let engine = self.engine.wasmtime();
        check_preamble(wasm)?;
        if let Some(component) = self.cache.as_ref().and_then(|cache| cache.get(engine, wasm)) {
            return Ok(component);
        }
        let component =
            Component::from_binary(engine, wasm).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(engine, wasm, &component)
        {
            tracing::warn!("not keeping the compiled component: {error:#}");
        }
        Ok(component)
    }

    fn check_imports(&self, component: &Component) -> Result<(), LoadError> {
        let refused: Vec<String> = imported(component, self.engine.wasmtime())
            .filter(|name| !imports::GRANTED.contains(&bare(name)))
            .collect();
        if refused.is_empty() { Ok(()) } else { Err(LoadError::NotGranted(refused)) }
    }

    /// Finds the function that takes batches, and checks its type without instantiating anything.
    fn export(&self, component: &Component) -> Result<ComponentExportIndex, LoadError> {
        let engine = self.engine.wasmtime();
        let shape = |what: String| LoadError::ExportShape(what);
        let Some(processor) = component.get_export_index(None, EXPORT) else {
            let ty = component.component_type();
            return Err(LoadError::NoExport(ty.exports(engine).map(|(name, _)| name.to_owned()).collect()));
        };
        let Some((item, process)) = component.get_export(Some(&processor), "process") else {
            return Err(shape("it has no function `process`".to_owned()));
        };
        let ComponentItem::ComponentFunc(function) = item else {
            return Err(shape("`process` is not a function".to_owned()));
        };
        let ty =
            self.linker.substituted_component_type(component).map_err(|error| shape(format!("{error:#}")))?;
        function
            .typecheck::<Params, Returned>(&ty.instance_type())
            .map_err(|error| shape(format!("`process`: {error:#}")))?;
        Ok(process)
    }
}

fn check_preamble(wasm: &[u8]) -> Result<(), LoadError> {
    match wasm {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(LoadError::CoreModule),
        [0, b'a', b's', b'm', ..] => Ok(()),
        _ => Err(LoadError::NotWasm),
    }
}

/// What the component imports, but for interfaces of which only types are used: they ask for nothing.
fn imported(component: &Component, engine: &wasmtime::Engine) -> impl Iterator<Item = String> {
    let ty = component.component_type();
    let asks = |item: &ComponentItem| match item {
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).any(|(_, export)| !matches!(export.ty, ComponentItem::Type(_)))
        }
        ComponentItem::Type(_) => false,
        _ => true,
    };
    let names: Vec<String> =
        ty.imports(engine).filter(|(_, import)| asks(&import.ty)).map(|(name, _)| name.to_owned()).collect();
    names.into_iter()
}

/// An interface's name without its version.
fn bare(name: &str) -> &str {
    name.split_once('@').map_or(name, |(bare, _)| bare)
}

/// What all instances of a plugin share.
pub(crate) struct Shared {
    pub(crate) config: HandlerConfig,
    pub(crate) process: ComponentExportIndex,
    pub(crate) ration: Ration,
    pub(crate) logs: Arc<dyn LogSink>,
}

/// A loaded version of a handler: compiled, checked, ready to be instantiated.
pub struct Plugin {
    shared: Arc<Shared>,
    pre: InstancePre<Guest>,
    has_state: bool,
    sha256: String,
    bytes: usize,
}

impl Plugin {
    /// How it is run.
    pub fn config(&self) -> &HandlerConfig {
        &self.shared.config
    }

    /// The SHA-256 of the component, in hexadecimal: what tells its versions apart.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Bytes of the component.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Log lines of its guests that were dropped since it was loaded.
    pub fn log_lines_dropped(&self) -> u64 {
        self.shared.ration.dropped()
    }
}

impl Handler for Plugin {
    fn instantiate(&self, driver: DriverKey) -> Result<Box<dyn FlowInstance>, Fault> {
        Ok(Box::new(Instance::new(&self.pre, &self.shared, driver)?))
    }

    fn has_state(&self) -> bool {
        self.has_state
    }
}
