//! The first-party plugins in the real engine, run as the files beside them say: what comes out is what their
//! golden files hold, and what they give natively.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use tidemill_build::{BuildOptions, build_crates};
use tidemill_flow::handler::{Call, Handler, Instance};
use tidemill_flow::output::Output;
use tidemill_flow::{Batch, Event, Partition, TopicId, TopicPartition};
use tidemill_wasm::{Plugin, plugin_file};

use crate::support::{DRIVER, State, batch, call, call_of, loader};

const PLUGINS: [&str; 4] = ["passthrough", "json-filter", "aggregate", "quake-alerts"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

/// Every plugin as its own file runs it, by its name.
static LOADED: LazyLock<BTreeMap<&str, Arc<Plugin>>> = LazyLock::new(|| {
    let packages = PLUGINS.map(str::to_owned).to_vec();
    let built = build_crates(&BuildOptions { packages, ..BuildOptions::new(root()) }).unwrap();
    let load = |(name, built): (&'static str, &tidemill_build::Built)| {
        let config = plugin_file::parse(name, &read(&format!("plugins/{name}/{name}.toml"))).unwrap();
        (name, loader().load(&std::fs::read(&built.path).unwrap(), config).unwrap())
    };
    PLUGINS.into_iter().zip(&built).map(load).collect()
});

/// A batch of these lines, keyed by the text of the field `key`.
fn batch_of(lines: &[&str], key: &str) -> Batch {
    let mut batch = Batch::new(TopicPartition { topic: TopicId(1), partition: Partition(0) });
    let mark = format!("\"{key}\":\"");
    for line in lines {
        let key = line.split(&mark).nth(1).and_then(|rest| rest.split('"').next());
        batch.columns.push(Event {
            time: 0,
            key: key.map(str::as_bytes),
            headers: &[],
            value: Some(line.as_bytes()),
        });
    }
    batch
}

/// Calls the plugin, and writes to `state` what it says: as the flow does at a commit.
fn process(instance: &mut dyn Instance, batch: &Batch, state: &Arc<State>) -> Output {
    let output = instance.process(Call { state: state.clone(), ..call_of(batch) }).unwrap();
    assert_eq!((output.settled as usize, &output.stopped), (batch.len(), &None));
    assert!(output.rejected.is_empty(), "{:?}", output.rejected);
    let mut entries = state.0.lock();
    for (key, value) in output.state.iter() {
        match value {
            Some(value) => entries.insert(key.to_owned(), value.to_owned()),
            None => entries.remove(key),
        };
    }
    output
}

/// The columns that were emitted, with the defaults filled in from the causes.
fn emitted(output: &Output, batch: &Batch) -> tidemill_flow::Columns {
    let causes: Vec<Event<'_>> = batch.columns.iter().collect();
    let (events, mut rest) = (&output.events, output.events.data.as_slice());
    let mut take = |len: i32| {
        let (taken, after) = rest.split_at(usize::try_from(len).ok()?);
        rest = after;
        Some(taken)
    };
    let mut columns = tidemill_flow::Columns::default();
    for (row, &cause) in output.cause_of.iter().enumerate() {
        let cause = &causes[cause as usize];
        let key = events.key_lens.get(row).map_or(cause.key, |&len| take(len));
        let header_len = events.header_lens.get(row).map_or(0, |&len| i32::try_from(len).unwrap());
        let headers = take(header_len).unwrap();
        let time = events.times.get(row).copied().unwrap_or(cause.time);
        columns.push(Event { time, key, headers, value: take(events.value_lens[row]) });
    }
    assert!(rest.is_empty(), "the lengths add up to the data");
    columns
}

/// Emitted events as golden files have them, one a line.
fn lines(columns: &tidemill_flow::Columns) -> Vec<String> {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_owned()).unwrap();
    columns
        .iter()
        .map(|event| format!("{{\"key\":\"{}\",\"value\":{}}}", text(event.key), text(event.value)))
        .collect()
}

/// Runs a plugin over events in batches of 1, 100 and all, and compares with its golden file. The instance is
/// replaced after every third batch: nothing but its state may last.
fn check(plugin: &str, (events, key): (&[&str], &str), golden: &str) {
    let expected = read(golden);
    for batch_events in [1, 100, events.len()] {
        let (plugin, state) = (&LOADED[plugin], Arc::new(State::default()));
        let mut found = Vec::new();
        for batches in events.chunks(batch_events).collect::<Vec<_>>().chunks(3) {
            let mut instance = plugin.instantiate(DRIVER).unwrap();
            for events in batches {
                let batch = batch_of(events, key);
                found.extend(lines(&emitted(&process(&mut *instance, &batch, &state), &batch)));
            }
        }
        assert_eq!(found, expected.lines().collect::<Vec<_>>(), "{golden}, {batch_events} events a batch");
    }
}

#[test]
fn passthrough_gives_every_column_back() {
    let batch = batch();
    let output = call(&LOADED["passthrough"]).unwrap();
    assert_eq!(output.cause_of, [0, 1, 2]);
    assert_eq!(emitted(&output, &batch), batch.columns);
}

#[test]
fn json_filter_gives_its_golden_file() {
    let quakes = read("plugins/data/earthquakes.ndjson");
    let quakes: Vec<&str> = quakes.lines().collect();
    check("json-filter", (&quakes, "net"), "plugins/json-filter/tests/large-quakes.ndjson");
}

#[test]
fn aggregate_gives_its_golden_file() {
    let flights = read("plugins/data/flights.ndjson");
    let flights: Vec<&str> = flights.lines().take(200).collect();
    check("aggregate", (&flights, "origin"), "plugins/aggregate/tests/delays.ndjson");
}

#[test]
fn quake_alerts_gives_its_golden_file() {
    let quakes = read("plugins/data/earthquakes.ndjson");
    let quakes: Vec<&str> = quakes.lines().collect();
    check("quake-alerts", (&quakes, "net"), "plugins/quake-alerts/tests/alerts.ndjson");
}

#[test]
fn plugins_import_only_what_they_use() {
    let state = LOADED.iter().filter(|(_, plugin)| plugin.has_state()).map(|(name, _)| *name);
    assert_eq!(state.collect::<Vec<_>>(), ["aggregate", "quake-alerts"]);
}
