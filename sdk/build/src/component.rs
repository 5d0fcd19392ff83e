//! Makes a core module a component, and checks that it is a handler. Knows nothing of cargo.

use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{Resolve, World, WorldKey};

use crate::Error;

/// The interface that every handler exports, without its version.
const PROCESSOR: &str = "tidemill:handler/processor";

/// Makes a component of a core module that was built with the SDK (or with bindings of `wit/`). It imports
/// what the module imports and nothing else: there is no WASI adapter in it.
pub fn componentize(core: &[u8]) -> Result<Vec<u8>, Error> {
    if !is_core_module(core) {
        return Err(Error::NotModule("it does not begin as one".to_owned()));
    }
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(core).map_err(|cause| Error::NotModule(format!("{cause:#}")))?;
    let component = encoder.encode().map_err(|cause| Error::Component(format!("{cause:#}")))?;
    let (resolve, world) = decode(&component)?;
    let is_processor = |key: &WorldKey| name(&resolve, key).split('@').next() == Some(PROCESSOR);
    if world.exports.keys().any(is_processor) { Ok(component) } else { Err(Error::NoHandler) }
}

/// The names of the interfaces and functions that a component imports.
pub(crate) fn imports(component: &[u8]) -> Result<Vec<String>, Error> {
    let (resolve, world) = decode(component)?;
    Ok(world.imports.keys().map(|key| name(&resolve, key)).collect())
}

/// Magic and version of a core module; a component has another version.
fn is_core_module(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x01\0\0\0")
}

fn decode(component: &[u8]) -> Result<(Resolve, World), Error> {
    let decoded = wit_component::decode(component).map_err(|cause| Error::Component(format!("{cause:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(Error::NoHandler);
    };
    let world = resolve.worlds[world].clone();
    Ok((resolve, world))
}

fn name(resolve: &Resolve, key: &WorldKey) -> String {
    resolve.name_world_key(key)
}
