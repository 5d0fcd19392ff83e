//! What a guest may import: one module per interface, and the list that a refused import is looked up in.

mod config;
mod logging;
mod state;

use wasmtime::component::Linker;

use crate::instance::Guest;

/// The interfaces that are granted, without their versions.
pub(crate) const GRANTED: [&str; 4] = [TYPES, state::NAME, config::NAME, logging::NAME];

/// The interface of shapes, which has no function.
const TYPES: &str = "tidemill:handler/types";

/// The interface whose import means that the handler has state.
pub(crate) use state::NAME as STATE;

/// A linker that grants everything in [`GRANTED`].
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    linker.instance(&format!("{TYPES}@0.1.0"))?;
    state::add_to_linker(&mut linker)?;
    config::add_to_linker(&mut linker)?;
    logging::add_to_linker(&mut linker)?;
    Ok(linker)
}
