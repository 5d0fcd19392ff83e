//! What the fuzzer feeds: any bytes as a body, a configuration, a plugin's file. Not for anybody else.

use std::sync::Arc;

use serde::de::IgnoredAny;
use tidemill_bus::TopicId;
use tidemill_bus::block::header;
use tidemill_bus::log::Topic;
use tidemill_wasm::document::{self, DocumentError};
use tidemill_wasm::plugin_file::{self, PluginFileError};

use crate::Config;
use crate::limits::BLOCK_BYTES_MAX;
use crate::publish::{self, Format, Plan, Pointers};

/// Takes `bytes` as a body whose first byte says in which format, and whether fields are read from it: refused,
/// or events that are as sound as those of the store. Tells whether it was taken.
///
/// # Panics
/// If one is not.
pub fn body(bytes: &[u8]) -> bool {
    let Some((&how, body)) = bytes.split_first() else { return false };
    let format = [Format::Ndjson, Format::Json, Format::Batch][usize::from(how % 3)];
    let pointer = |text: &str| Some(text.parse().expect("the pointers are ours"));
    let pointers = if how & 0x40 == 0 {
        Pointers::default()
    } else {
        Pointers { key: pointer("/a"), time: pointer("/b/0"), headers: pointer("/c") }
    };
    let topic = Topic { id: TopicId(1), name: Arc::from("t"), partitions: u32::from(how >> 4) % 4 + 1 };
    let Ok(placed) = publish::read(body, &Plan { topic, format, pointers, now_ms: 7, turn: 1 }) else {
        return false;
    };
    let mut events = 0;
    for block in &placed.blocks {
        assert_eq!(block.columns.check(), Ok(()));
        assert!(block.columns.byte_len() <= BLOCK_BYTES_MAX, "a block above its bound");
        for event in &*block.columns {
            assert!(header::iter(event.headers).count() * 6 <= event.headers.len(), "headers out of nothing");
            let is_json = |value| serde_json::from_slice::<IgnoredAny>(value).is_ok();
            assert!(format == Format::Batch || event.value.is_some_and(is_json), "a value that is no JSON");
        }
        events += block.columns.len();
    }
    assert_eq!(events, placed.order.len());
    true
}

/// Takes `bytes` as `tidemill.toml`: refused at a place that there is, or a configuration. Tells whether it may run.
///
/// # Panics
/// If there is no such place.
pub fn configuration(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match document::parse::<Config>(text) {
        Ok(config) => config.check().is_ok(),
        Err(error) => assert_place(text, &error),
    }
}

/// Takes `bytes` as the file beside a plugin: refused at a place that there is, or what a handler is run with. Tells
/// which.
///
/// # Panics
/// If there is no such place.
pub fn plugin(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match plugin_file::parse("plugin", text) {
        Ok(config) => {
            assert!(!config.name.is_empty() && !config.inputs.is_empty(), "{config:?}");
            true
        }
        Err(PluginFileError::Document(error)) => assert_place(text, &error),
        Err(PluginFileError::Value(_)) => false,
    }
}

/// False, for the text was refused.
fn assert_place(text: &str, error: &DocumentError) -> bool {
    let lines = text.matches('\n').count() + 1;
    assert!((1..=lines).contains(&error.line) && error.column > 0 && !error.message.is_empty(), "{error}");
    false
}
