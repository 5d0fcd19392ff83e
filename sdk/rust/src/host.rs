//! The host's side of the SDK: the imports in a guest, a stand-in of the test harness natively. A guest that never
//! calls one of these functions does not import its interface.

#[cfg(target_arch = "wasm32")]
pub(crate) use guest::*;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::*;

/// Values in columns: bytes of each, -1 where there is none, and the data.
pub(crate) struct Values {
    pub(crate) value_lens: Vec<i32>,
    pub(crate) data: Vec<u8>,
}

#[cfg(target_arch = "wasm32")]
mod guest {
    use super::Values;
    use crate::bindings::tidemill::handler::state;
    use crate::bindings::wasi::config::store;
    use crate::bindings::wasi::logging::logging;
    use crate::log::Level;

    pub(crate) fn get_many(key_lens: &[u32], keys: &[u8]) -> Values {
        let state::Values { value_lens, data } = state::get_many(key_lens, keys);
        Values { value_lens, data }
    }

    pub(crate) fn config() -> Result<Vec<(String, String)>, String> {
        store::get_all().map_err(|error| match error {
            store::Error::Upstream(message) | store::Error::Io(message) => message,
        })
    }

    pub(crate) fn log(level: Level, context: &str, message: &str) {
        let level = match level {
            Level::Trace => logging::Level::Trace,
            Level::Debug => logging::Level::Debug,
            Level::Info => logging::Level::Info,
            Level::Warn => logging::Level::Warn,
            Level::Error => logging::Level::Error,
        };
        logging::log(level, context, message);
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::Values;
    use crate::log::Level;

    /// What a handler under test sees of a host.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Host {
        pub(crate) config: Vec<(String, String)>,
        pub(crate) state: BTreeMap<Vec<u8>, Vec<u8>>,
        pub(crate) log: Vec<(Level, String)>,
        /// How often state was read.
        pub(crate) reads: usize,
    }

    thread_local! {
        static HOST: RefCell<Host> = RefCell::default();
    }

    /// Puts `host` in charge of this thread while `body` runs.
    pub(crate) fn with<R>(host: &mut Host, body: impl FnOnce() -> R) -> R {
        HOST.with(|current| current.swap(&RefCell::new(std::mem::take(host))));
        let result = body();
        *host = HOST.take();
        result
    }

    pub(crate) fn get_many(key_lens: &[u32], keys: &[u8]) -> Values {
        HOST.with_borrow_mut(|host| {
            host.reads += 1;
            let mut values = Values { value_lens: Vec::new(), data: Vec::new() };
            let mut rest = keys;
            for &len in key_lens {
                let (key, after) = rest.split_at(len as usize);
                rest = after;
                let value = host.state.get(key);
                let len = value.map(|value| i32::try_from(value.len()).expect("a value is below its limit"));
                values.value_lens.push(len.unwrap_or(-1));
                values.data.extend_from_slice(value.map_or(&[], Vec::as_slice));
            }
            assert!(rest.is_empty(), "the keys' lengths add up to their bytes");
            values
        })
    }

    #[expect(clippy::unnecessary_wraps, reason = "the guest's twin can fail")]
    pub(crate) fn config() -> Result<Vec<(String, String)>, String> {
        Ok(HOST.with_borrow(|host| host.config.clone()))
    }

    pub(crate) fn log(level: Level, _context: &str, message: &str) {
        HOST.with_borrow_mut(|host| host.log.push((level, message.to_owned())));
    }
}
