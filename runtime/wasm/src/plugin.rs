//! A plugin's way from bytes to a handler: is it a component, does it import only what is granted, does it
//! export what a handler must. Checked by type; what else it exports is no fault. Knows no file.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use thiserror::Error;
use tidemill_flow::config::HandlerConfig;
use tidemill_flow::handler::{Fault, Handler, Instance as FlowInstance, Pace};
use tidemill_flow::{DriverKey, HandlerId, Lane, Partition};
use wasmtime::component::types::{self, ComponentItem};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Linker, Lower,
};

use crate::cache::{Cache, hex};
use crate::compile::{CompileError, Compiler};
use crate::engine::{Engine, EngineError};
use crate::imports;
use crate::instance::{Checked, Guest, Instance, Params, Returned};
use crate::logs::{LogSink, Ration};

/// What every handler exports.
const PROCESSOR: &str = "tidemill:handler/processor@0.1.0";

/// What a handler may export: a word before the first event.
const SETUP: &str = "tidemill:handler/setup@0.1.0";

/// The driver of the throw-away instance that is asked at load.
const NOBODY: DriverKey = DriverKey { handler: HandlerId(0), partition: Partition(0), lane: Lane(0) };

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
    /// Wasm of which no machine code was made.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It wants what handlers do not get.
    #[error("imports what is not granted: {}{}", .0.join(", "), hint(.0))]
    NotGranted(Vec<String>),
    /// It wants what handlers get, in another shape.
    #[error("imports an interface of another shape: {0}")]
    ImportShape(String),
    /// It is no handler.
    #[error("does not export {PROCESSOR}; it exports {}", listed(.0))]
    NoExport(Vec<String>),
    /// It exports what a handler must or may, in another shape.
    #[error("exports {interface} in another shape: {what}")]
    ExportShape {
        /// The interface.
        interface: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// No instance can be made of it.
    #[error("cannot be instantiated: {0}")]
    Instantiation(Fault),
    /// It was asked whether it can work as it is configured, and could not answer.
    #[error("failed when it was asked to check its configuration: {0}")]
    Check(Fault),
    /// It cannot work as it is configured, as it says.
    #[error("refuses its configuration: {0}")]
    RefusesConfig(String),
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

/// Turns bytes into handlers, with one engine, one compiler and one cache.
pub struct Loader {
    engine: Arc<Engine>,
    compiler: Compiler,
    cache: Option<Cache>,
    linker: Linker<Guest>,
    logs: Arc<dyn LogSink>,
}

impl Loader {
    /// A loader whose handlers log to `logs`; without a cache every load compiles. It compiles in this process,
    /// unless it is told otherwise ([`Loader::compiled_by`]).
    pub fn new(
        engine: Arc<Engine>,
        cache: Option<Cache>,
        logs: Arc<dyn LogSink>,
    ) -> Result<Self, EngineError> {
        let linker = imports::linker(engine.wasmtime()).map_err(EngineError::Build)?;
        Ok(Self { engine, compiler: Compiler::here(), cache, linker, logs })
    }

    /// The same loader with another compiler.
    #[must_use]
    pub fn compiled_by(self, compiler: Compiler) -> Self {
        Self { compiler, ..self }
    }

    /// Compiles nothing from now on; a child that compiles is ended. What the cache has is loaded all the same.
    pub(crate) fn stop_compiling(&self) {
        self.compiler.stop();
    }

    /// Makes a handler of the component `wasm`, run as `config` says. Compiles it unless it is in the cache, which
    /// takes about 100 ms for 130 KiB.
    pub fn load(&self, wasm: &[u8], config: HandlerConfig) -> Result<Arc<Plugin>, LoadError> {
        let component = self.component(wasm)?;
        self.check_imports(&component)?;
        let shape = |error: wasmtime::Error| LoadError::ImportShape(format!("{error:#}"));
        let mut linker = self.linker.clone();
        imports::add_wasi_to_linker(&mut linker, &component, self.engine.wasmtime()).map_err(shape)?;
        let pre = linker.instantiate_pre(&component).map_err(shape)?;
        let ty = linker.substituted_component_type(&component).map_err(shape)?;
        let process = export::<Params, Returned>((&component, &ty), PROCESSOR, "process")?;
        let process = process.ok_or_else(|| self.no_export(&component))?;
        let check = export::<(), Checked>((&component, &ty), SETUP, "check")?;
        let invalid = |error: wasmtime::Error| LoadError::Invalid(format!("{error:#}"));
        component.initialize_copy_on_write_image().map_err(invalid)?;
        let has_state =
            imported(&component, self.engine.wasmtime()).any(|name| imports::bare(&name) == imports::STATE);
        let (engine, logs) = (self.engine.clone(), self.logs.clone());
        let shared = Shared { config, process, ration: Ration::default(), logs, _engine: engine };
        let sha256 = hex(&Sha256::digest(wasm));
        let plugin = Plugin { shared: Arc::new(shared), pre, has_state, sha256, bytes: wasm.len() };
        plugin.try_out(check.as_ref())?;
        Ok(Arc::new(plugin))
    }

    fn component(&self, wasm: &[u8]) -> Result<Component, LoadError> {
        let engine = self.engine.wasmtime();
        check_preamble(wasm)?;
        if let Some(component) = self.cache.as_ref().and_then(|cache| cache.get(engine, wasm)) {
            return Ok(component);
        }
        let invalid = |error: wasmtime::Error| LoadError::Invalid(format!("{error:#}"));
        let code = self.compiler.compile(engine, wasm).map_err(|error| match error {
            CompileError::Invalid(why) => LoadError::Invalid(why),
            error => LoadError::Compile(error),
        })?;
        let component = code.component(engine).map_err(invalid)?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(engine, wasm, &code)
        {
            tracing::warn!("not keeping the compiled component: {error}");
        }
        Ok(component)
    }

    fn check_imports(&self, component: &Component) -> Result<(), LoadError> {
        let refused: Vec<String> =
            imported(component, self.engine.wasmtime()).filter(|name| !imports::is_granted(name)).collect();
        if refused.is_empty() { Ok(()) } else { Err(LoadError::NotGranted(refused)) }
    }

    fn no_export(&self, component: &Component) -> LoadError {
        let ty = component.component_type();
        LoadError::NoExport(ty.exports(self.engine.wasmtime()).map(|(name, _)| name.to_owned()).collect())
    }
}

/// Finds a function that the component exports and checks its type, without instantiating anything.
fn export<P, R>(
    (component, ty): (&Component, &types::Component),
    interface: &'static str,
    name: &str,
) -> Result<Option<ComponentExportIndex>, LoadError>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let shape = |what: String| LoadError::ExportShape { interface, what };
    let Some(instance) = component.get_export_index(None, interface) else { return Ok(None) };
    let Some((item, index)) = component.get_export(Some(&instance), name) else {
        return Err(shape(format!("it has no function `{name}`")));
    };
    let ComponentItem::ComponentFunc(function) = item else {
        return Err(shape(format!("`{name}` is not a function")));
    };
    function.typecheck::<P, R>(&ty.instance_type()).map_err(|error| shape(format!("`{name}`: {error:#}")))?;
    Ok(Some(index))
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

/// What all instances of a plugin share.
pub(crate) struct Shared {
    pub(crate) config: HandlerConfig,
    pub(crate) process: ComponentExportIndex,
    pub(crate) ration: Ration,
    pub(crate) logs: Arc<dyn LogSink>,
    /// Held so that the epoch advances, by which deadlines are kept, as long as there are instances.
    pub(crate) _engine: Arc<Engine>,
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
    /// Makes an instance and throws it away: does it start, and does it like its configuration?
    fn try_out(&self, check: Option<&ComponentExportIndex>) -> Result<(), LoadError> {
        let mut instance =
            Instance::new(&self.pre, &self.shared, NOBODY, None).map_err(LoadError::Instantiation)?;
        let Some(check) = check else { return Ok(()) };
        instance.check(check).map_err(LoadError::Check)?.map_err(LoadError::RefusesConfig)
    }

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
    fn version(&self) -> &str {
        &self.sha256
    }

    fn instantiate(&self, driver: DriverKey) -> Result<Box<dyn FlowInstance>, Fault> {
        Ok(Box::new(Instance::new(&self.pre, &self.shared, driver, None)?))
    }

    fn instantiate_at(&self, driver: DriverKey, pace: Arc<dyn Pace>) -> Result<Box<dyn FlowInstance>, Fault> {
        Ok(Box::new(Instance::new(&self.pre, &self.shared, driver, Some(pace))?))
    }

    fn has_state(&self) -> bool {
        self.has_state
    }
}
