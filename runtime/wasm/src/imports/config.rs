//! `wasi:config/store`: the handler's own keys, from `[config]` of its plugin file.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::instance::Guest;

/// The interface, without its version.
pub(crate) const NAME: &str = "wasi:config/store";

/// `error`; the keys are in memory, so that none ever happens.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut store = linker.instance(&format!("{NAME}@0.2.0-rc.1"))?;
    store.func_wrap("get", |cx: StoreContextMut<'_, Guest>, (key,): (String,)| {
        let value = cx.data().config().get(&key).cloned();
        Ok((Ok::<_, Error>(value),))
    })?;
    store.func_wrap("get-all", |cx: StoreContextMut<'_, Guest>, (): ()| {
        let all: Vec<(String, String)> =
            cx.data().config().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok((Ok::<_, Error>(all),))
    })
}
