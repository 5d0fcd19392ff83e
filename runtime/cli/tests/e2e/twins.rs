//! Two runs from copies of one data directory: what comes out depends on what went in and on nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::handlers::{put_in, until};
use crate::mill::Mill;

const EVENTS: u64 = 3_000;

/// A foul is rejected, and neither rolls nor counts.
fn lines(events: std::ops::Range<u64>) -> String {
    let value = |event: u64| if event % 50 == 7 { json!("foul") } else { json!(event) };
    let line =
        |event: u64| json!({ "key": format!("k{}", event * event % 97), "n": value(event) }).to_string();
    events.map(line).collect::<Vec<_>>().join("\n")
}

fn publish(mill: &Mill, events: std::ops::Range<u64>) {
    let request = mill.request(Method::POST, "/v1/topics/throws/events?key=/key");
    let answer = mill.ask(request.header("content-type", "application/x-ndjson").body(lines(events)));
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Waits until both handlers have done all there is.
fn wait_until_done(mill: &Mill) {
    for handler in ["dice", "counts"] {
        until(mill, &format!("/v1/handlers/{handler}"), |entry| {
            // Until it is installed there is no partition, and no lag.
            let partitions = entry["partitions"].as_array().map_or(0, Vec::len);
            entry["state"] == "running" && entry["lag"] == 0 && partitions == 4
        });
    }
}

/// What a topic has, by the partition that the cause is from and the one that it went to, in order. Of each event what
/// its handler decides.
fn outcome(mill: &Mill, topic: &str, cause: impl Fn(&Value) -> u64) -> BTreeMap<(u64, u64), Vec<Value>> {
    let (_, described) = mill.get(&format!("/v1/topics/{topic}"));
    let mut outcome: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for range in described["ranges"].as_array().unwrap() {
        let partition = range["partition"].as_u64().unwrap();
        for event in mill.read(topic, &format!("partition={partition}&from=earliest")) {
            let kept = ["key", "headers", "value", "time"].map(|part| event[part].clone());
            outcome.entry((cause(&event), partition)).or_default().push(Value::from(kept.to_vec()));
        }
    }
    outcome
}

type Outcome = BTreeMap<(u64, u64), Vec<Value>>;

/// What both handlers made of all events. What `counts` emits has the key of its cause, and by it its partition.
fn outcomes(mill: &Mill) -> [Outcome; 2] {
    let throws = mill.read("throws", "from=earliest");
    let partitions: BTreeMap<String, u64> = throws
        .iter()
        .map(|event| (event["key"].as_str().unwrap().to_owned(), event["partition"].as_u64().unwrap()))
        .collect();
    let rolled = outcome(mill, "rolled", |event| event["headers"]["from"].as_str().unwrap().parse().unwrap());
    let counted = outcome(mill, "counted", |event| partitions[event["key"].as_str().unwrap()]);
    [rolled, counted]
}

#[test]
fn two_runs_from_copies_of_one_data_directory_come_to_the_same() {
    // One runtime takes the events and has no handler.
    let mill = Mill::start();
    for (topic, partitions) in [("throws", "4"), ("rolled", "3"), ("counted", "3")] {
        let created = mill.cli(&["topics", "create", topic, "--partitions", partitions]);
        assert!(created.status.success());
    }
    for first in (0..EVENTS).step_by(100) {
        publish(&mill, first..first + 100);
    }
    let (stopped_well, dir) = mill.stop();
    assert!(stopped_well);

    // Two go on from there; one takes small batches, and is killed on its way.
    let twin = |batch: &str| {
        let twin = tempfile::tempdir().unwrap();
        copy(&dir.path().join("data"), &twin.path().join("data"));
        let dice = format!("inputs = [\"throws\"]\noutput = \"rolled\"\n[batch]\nmax-events = {batch}\n");
        put_in(twin.path(), "dice", "dice", &dice);
        let counts = format!(
            "inputs = [\"throws\"]\noutput = \"counted\"\n[batch]\nmax-events = {batch}\n[config]\npointer = \"/n\"\n"
        );
        put_in(twin.path(), "aggregate", "counts", &counts);
        twin
    };
    let one = Mill::start_in(twin("4096"), &[]);
    let other: TempDir = twin("7");
    let other = Mill::start_in(other, &[]);
    until(&other, "/v1/handlers/dice", |entry| entry["eventsIn"].as_u64() > Some(100));
    let other = other.kill_and_restart();
    wait_until_done(&one);
    wait_until_done(&other);
    let [rolled, counted] = outcomes(&one);
    assert_eq!(outcomes(&other), [rolled.clone(), counted.clone()]);
    let count = |outcome: &Outcome| outcome.values().map(Vec::len).sum::<usize>() as u64;
    assert_eq!([count(&rolled), count(&counted)], [EVENTS / 50 * 49; 2]);
    // Events of one partition went to several, so that there was an order to keep.
    assert!(rolled.len() > 4, "{:?}", rolled.keys());

    // And their state is the same: it shows in what comes next. When that is appended is their own affair.
    for mill in [&one, &other] {
        publish(mill, EVENTS..EVENTS + 200);
        wait_until_done(mill);
    }
    let without_times = |mill: &Mill| {
        outcomes(mill).map(|outcome| {
            let values = outcome.into_values().flatten();
            let mut values: Vec<_> =
                values.map(|event| (event[0].to_string(), event[2].to_string())).collect();
            values.sort();
            values
        })
    };
    assert_eq!(without_times(&one), without_times(&other));
}
