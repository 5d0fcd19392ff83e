//! What the suite shares: the guest, built once, an engine, a loader that keeps its log, and a call with defaults.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_flow::config::HandlerConfig;
use tidemill_flow::handler::{Call, Fault, Handler, Instance, Pace, StateReader};
use tidemill_flow::output::Output;
use tidemill_flow::{Batch, DriverKey, Event, HandlerId, Lane, Partition, TopicId, TopicPartition};
use tidemill_wasm::{Engine, Level, Loader, LogLine, LogSink, Plugin};

/// The guest of every vice, as a component.
pub(crate) static GUEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let guest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/", "vices");
    let built = tidemill_build::build_crate(&tidemill_build::BuildOptions::new(guest)).unwrap();
    std::fs::read(built.path).unwrap()
});

/// One engine for the whole suite, as a runtime has one.
pub(crate) static ENGINE: LazyLock<Arc<Engine>> = LazyLock::new(|| Engine::with_instances(64).unwrap());

pub(crate) const DRIVER: DriverKey =
    DriverKey { handler: HandlerId(7), partition: Partition(3), lane: Lane(0) };

/// A line as the sink got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) place: (String, u32, Option<u64>),
    pub(crate) context: String,
    pub(crate) message: String,
    pub(crate) dropped: u64,
}

/// Keeps every line.
#[derive(Default)]
pub(crate) struct Log(pub(crate) Mutex<Vec<Line>>);

impl LogSink for Log {
    fn line(&self, line: LogLine<'_>) {
        self.0.lock().push(Line {
            level: line.level,
            place: (line.handler.to_owned(), line.partition.0, line.offset.map(|offset| offset.0)),
            context: line.context.to_owned(),
            message: line.message.to_owned(),
            dropped: line.dropped,
        });
    }
}

/// A loader without a cache whose log is dropped.
pub(crate) fn loader() -> Loader {
    Loader::new(ENGINE.clone(), None, Arc::new(Log::default())).unwrap()
}

/// The settings of a handler with this vice: little memory and time, so that the suite is quick.
pub(crate) fn with_vice(vice: &str) -> HandlerConfig {
    let mut config = HandlerConfig::bare("sinner");
    config.config = BTreeMap::from([("vice".to_owned(), vice.to_owned())]);
    config.limits.memory = 64 << 20;
    config
}

/// The guest with this vice.
pub(crate) fn guest(vice: &str) -> Arc<Plugin> {
    loader().load(&GUEST, with_vice(vice)).unwrap()
}

/// Calls a fresh instance of `plugin` once with [`batch`].
pub(crate) fn call(plugin: &Plugin) -> Result<Output, Fault> {
    call_again(&mut *plugin.instantiate(DRIVER).unwrap())
}

/// Calls `instance` with [`batch`].
pub(crate) fn call_again(instance: &mut dyn Instance) -> Result<Output, Fault> {
    let batch = batch();
    instance.process(call_of(&batch))
}

/// A call with `batch`, a second of time, and no state.
pub(crate) fn call_of(batch: &Batch) -> Call<'_> {
    Call {
        batch,
        topic: "sins",
        attempt: 1,
        deadline: Duration::from_secs(20),
        state: Arc::new(State::default()),
        pace: Arc::new(Told::default()),
    }
}

/// Three events with everything: a null key, an empty value, a tombstone, a header.
pub(crate) fn batch() -> Batch {
    let header = b"\x06\x00origin\x04\x00\x00\x00test";
    let mut batch = Batch::new(TopicPartition { topic: TopicId(1), partition: Partition(3) });
    batch.base_offset.0 = 100;
    batch.append_time = 1_795_255_200_000;
    for (time, key, headers, value) in [
        (1, Some(&b"one"[..]), &[][..], Some(&b"first value"[..])),
        (-2, None, header, Some(b"")),
        (3, Some(b""), &[], None),
    ] {
        batch.columns.push(Event { time, key, headers, value });
    }
    batch
}

/// A state in memory.
#[derive(Default)]
pub(crate) struct State(pub(crate) Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl StateReader for State {
    fn get_many(&self, keys: &mut dyn Iterator<Item = &[u8]>) -> Result<Vec<Option<Vec<u8>>>, String> {
        let entries = self.0.lock();
        Ok(keys.map(|key| entries.get(key).cloned()).collect())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        let entries = self.0.lock();
        let found = entries
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_slice() > after));
        Ok(found.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

/// Counts how often it was told that a call is slow.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<u32>);

impl Pace for Told {
    fn slow(&self) {
        *self.0.lock() += 1;
    }
}
