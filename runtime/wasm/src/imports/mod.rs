//! What a guest may import: one module per interface, and the list that a refused import is looked up in.

mod config;
mod logging;
mod state;
mod wasi;

use wasmtime::component::Linker;

use crate::instance::Guest;

/// The interfaces that are granted, without their versions; of WASI, what [`wasi`] answers.
const GRANTED: [&str; 4] = [TYPES, state::NAME, config::NAME, logging::NAME];

/// Whether a handler may import the interface `name`, with its version.
pub(crate) fn is_granted(name: &str) -> bool {
    GRANTED.contains(&bare(name)) || wasi::is_granted(name)
}

/// An interface's name without its version.
pub(crate) fn bare(name: &str) -> &str {
    name.split_once('@').map_or(name, |(bare, _)| bare)
}

/// The interface of shapes, which has no function.
const TYPES: &str = "tidemill:handler/types";

/// The interface whose import means that the handler has state.
pub(crate) use state::NAME as STATE;
pub(crate) use wasi::add_to_linker as add_wasi_to_linker;

/// A linker that grants everything in [`GRANTED`].
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    linker.instance(&format!("{TYPES}@0.1.0"))?;
    state::add_to_linker(&mut linker)?;
    config::add_to_linker(&mut linker)?;
    logging::add_to_linker(&mut linker)?;
    Ok(linker)
}
