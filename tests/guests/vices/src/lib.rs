//! A handler of every vice, and of some virtues: its key `vice` says which. Written on the bare bindings, for
//! the SDK would not let it lie. Empty on any other machine than a wasm one.

#![cfg(target_family = "wasm")]

mod columns;
mod sins;

wit_bindgen::generate!({ path: "../../../wit", world: "checked-handler", generate_all });

use exports::tidemill::handler::processor::{Batch, Guest, Output};
use exports::tidemill::handler::setup;

struct Vices;

export!(Vices);

impl Guest for Vices {
    fn process(events: Batch) -> Result<Output, String> {
        match vice().as_str() {
            "" | "echo" => Ok(columns::echo(&events)),
            "bare" => Ok(columns::bare(&events)),
            "count" => Ok(columns::count(&events)),
            "list" => Ok(columns::list(&events)),
            "page" => Ok(columns::page(&events)),
            "stop" => Ok(columns::stop(&events)),
            "wasi" => Ok(columns::wasi(&events)),
            "leak" => Ok(sins::leak(&events)),
            "refuse" => Err("I do not like it".to_owned()),
            "trap" => sins::trap(),
            "spin" => sins::spin(),
            "hoard" => sins::hoard(),
            "recurse" => Err(sins::recurse(events.data.len() as u64).to_string()),
            "trap-at-random" => Ok(sins::trap_at_random(&events)),
            "gush" => sins::gush(&events),
            "swarm" => Ok(sins::swarm(&events)),
            "rant" => sins::rant(),
            "flood" => Ok(sins::flood(&events)),
            "chatter" => Ok(sins::chatter(&events)),
            "shout" => Ok(sins::shout(&events)),
            "lie-keys" => Ok(sins::lie_keys(&events)),
            lie => sins::lie(&events, lie).ok_or_else(|| format!("no such vice: {lie}")),
        }
    }
}

impl setup::Guest for Vices {
    fn check() -> Result<(), String> {
        match vice().as_str() {
            "unready" => Err("`vice` is no good".to_owned()),
            "trap-at-check" => sins::trap(),
            "read-at-check" => {
                tidemill::handler::state::get_many(&[1], b"x");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn vice() -> String {
    wasi::config::store::get("vice").expect("the keys are in memory").unwrap_or_default()
}

/// An output that settles all of `events` and does nothing.
fn settled(events: &Batch) -> Output {
    Output {
        settled: events.times.len() as u32,
        rejected: Vec::new(),
        stopped: None,
        topics: Vec::new(),
        topic_of: Vec::new(),
        cause_of: Vec::new(),
        times: Vec::new(),
        key_lens: Vec::new(),
        header_lens: Vec::new(),
        value_lens: Vec::new(),
        data: Vec::new(),
        state_key_lens: Vec::new(),
        state_value_lens: Vec::new(),
        state_data: Vec::new(),
    }
}
