//! Handlers as operators meet them: dropped in, watched, paused, moved, failing, killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::mill::{BINARY, Mill, stderr, stdout};

/// The plugins of the suite, built once by the binary itself.
static PLUGINS: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
    let built = Command::new(BINARY)
        .arg("build")
        .arg(root)
        .args(["--package", "passthrough", "--package", "aggregate", "--package", "dice", "--out"])
        .arg(&out)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", stderr(&built));
    out
});

const SUMS: &str = "inputs = [\"numbers\"]\noutput = \"sums\"\n[config]\npointer = \"/n\"\n";

/// A directory in which the plugin `name` runs as `handler` with these settings.
pub(crate) fn dir_with(plugin: &str, handler: &str, settings: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    put_in(dir.path(), plugin, handler, settings);
    dir
}

pub(crate) fn put_in(dir: &Path, plugin: &str, handler: &str, settings: &str) {
    let plugins = dir.join("plugins");
    fs::create_dir_all(&plugins).unwrap();
    fs::write(plugins.join(format!("{handler}.toml")), settings).unwrap();
    fs::copy(PLUGINS.join(format!("{plugin}.wasm")), dir.join("new.wasm")).unwrap();
    fs::rename(dir.join("new.wasm"), plugins.join(format!("{handler}.wasm"))).unwrap();
}

/// Waits for so many events of a topic, and returns them.
pub(crate) fn wait_for(mill: &Mill, topic: &str, count: usize) -> Vec<Value> {
    mill.read(topic, &format!("follow=true&limit={count}"))
}

/// Asks until the answer is as it should be.
pub(crate) fn until(mill: &Mill, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        let (_, answer) = mill.get(path);
        if is_so(&answer) {
            return answer;
        }
        std::thread::yield_now();
    }
}

fn post(mill: &Mill, path: &str, body: &Value) -> (StatusCode, Value) {
    mill.ask(mill.request(Method::POST, path).json(body))
}

fn numbers(mill: &Mill, range: std::ops::Range<u32>) {
    let lines: Vec<_> = range.map(|n| json!({ "k": "k", "n": n }).to_string()).collect();
    let request = mill.request(Method::POST, "/v1/topics/numbers/events?key=/k");
    let (status, answer) =
        mill.ask(request.header("content-type", "application/x-ndjson").body(lines.join("\n")));
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[test]
fn state_and_outputs_go_on_after_a_kill() {
    let mut mill = Mill::start_in(dir_with("aggregate", "sums", SUMS), &[]);
    for round in 1..=3 {
        numbers(&mill, 0..10);
        let sums = wait_for(&mill, "sums", round * 10);
        let counts: Vec<_> = sums.iter().map(|sum| sum["value"]["count"].as_u64().unwrap()).collect();
        assert!(counts.iter().copied().eq(1..=round as u64 * 10), "{counts:?}");
        mill = mill.kill_and_restart();
    }
    let group = until(&mill, "/v1/groups/sums", |group| group["lag"] == 0);
    assert_eq!((&group["installed"], &group["topics"]), (&json!(true), &json!(["numbers"])));
}

#[test]
fn dead_letters_are_listed_shown_and_dropped_for_good() {
    let mill = Mill::start_in(dir_with("aggregate", "sums", SUMS), &[]);
    mill.publish("numbers", "{\"n\":1}\n{\"n\":\"no\"}\n{\"n\":2}");
    assert_eq!(wait_for(&mill, "sums", 2).len(), 2);
    until(&mill, "/v1/dead-letters", |dead| dead[0]["count"] == 1);
    let (_, letters) = mill.get("/v1/dead-letters/sums");
    let letter = &letters[0];
    assert_eq!(letter["value"], json!({"n": "no"}));
    assert_eq!(letter["headers"]["tidemill-topic"], "numbers");
    assert!(letter["headers"]["tidemill-error"].as_str().unwrap().contains("no number"), "{letter}");
    let place = format!("{}:{}", letter["partition"], letter["offset"]);
    assert!(stdout(&mill.cli(&["dead-letters", "show", "sums", &place])).contains("no number"));
    assert_eq!(mill.cli(&["dead-letters", "show", "sums", "0:99"]).status.code(), Some(4));
    let done = mill.cli(&["dead-letters", "drop", "sums", &place]);
    assert!(stdout(&done).contains("dropped 1"), "{}", stderr(&done));
    let mill = mill.kill_and_restart();
    assert_eq!(mill.get("/v1/dead-letters").1, json!([]));
    assert_eq!(mill.get("/v1/dead-letters/sums").1, json!([]));
    let groups = mill.get("/v1/groups").1;
    assert!(!groups.to_string().contains("_dropped"), "{groups}");
}

#[test]
fn one_answer_lists_so_many_dead_letters() {
    let most = usize::try_from(tidemill_server::limits::DEAD_LETTERS_MAX).unwrap();
    let mill = Mill::start_in(dir_with("aggregate", "sums", SUMS), &[]);
    mill.publish("numbers", &"{\"n\":\"no\"}\n".repeat(most + 1));
    until(&mill, "/v1/dead-letters", |dead| dead[0]["count"] == most + 1);
    let (status, letters) = mill.get("/v1/dead-letters/sums?limit=5000");
    assert_eq!((status, letters.as_array().map(Vec::len)), (StatusCode::OK, Some(most)));
}

#[test]
fn partitions_are_raised_unless_a_state_would_lose_its_keys() {
    let dir = dir_with("passthrough", "pass", "inputs = [\"in\"]\noutput = \"out\"");
    put_in(dir.path(), "aggregate", "sums", SUMS);
    let mill = Mill::start_in(dir, &[]);
    let put = |topic: &str, query: &str| {
        let request = mill.request(Method::PUT, &format!("/v1/topics/{topic}{query}"));
        mill.ask(request.json(&json!({ "partitions": 16 })))
    };
    // The handler without state reads what goes to the new partitions.
    assert_eq!(put("in", "").0, StatusCode::OK);
    for number in 0..32 {
        mill.publish("in", &number.to_string());
    }
    assert_eq!(wait_for(&mill, "out", 32).len(), 32);
    let (_, topic) = mill.get("/v1/topics/in");
    let used =
        |topic: &Value| topic["ranges"].as_array().unwrap().iter().filter(|range| range["end"] != 0).count();
    assert_eq!(used(&topic), 16);

    // And one that emits to a topic finds its new partitions, as publishers do.
    assert_eq!(put("out", "").0, StatusCode::OK);
    let keyed = (0..200).map(|key| format!("{{\"k\":\"{key}\"}}")).collect::<Vec<_>>().join("\n");
    let request = mill.request(Method::POST, "/v1/topics/in/events?key=/k");
    let published = mill.ask(request.header("content-type", "application/x-ndjson").body(keyed));
    assert_eq!(published.0, StatusCode::OK, "{}", published.1);
    assert_eq!(wait_for(&mill, "out", 232).len(), 232);
    assert_eq!(used(&mill.get("/v1/topics/out").1), 16);

    let (status, problem) = put("numbers", "");
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("is read by sums") && detail.contains("--force"), "{detail}");
    let refused = mill.cli(&["topics", "raise", "numbers", "--partitions", "16"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("is read by sums"), "{}", stderr(&refused));
    let done = mill.cli(&["topics", "raise", "numbers", "--partitions", "16", "--force"]);
    assert!(stdout(&done).contains("topic numbers has 16 partitions"), "{}", stderr(&done));
    let unknown = mill.cli(&["topics", "raise", "numbres", "--partitions", "16"]);
    assert_eq!(unknown.status.code(), Some(4));
}

#[test]
fn a_handler_is_paused_moved_and_resumed() {
    let mill = Mill::start_in(dir_with("passthrough", "pass", "inputs = [\"in\"]\noutput = \"out\""), &[]);
    mill.publish("in", "1\n2");
    assert_eq!(wait_for(&mill, "out", 2).len(), 2);
    until(&mill, "/v1/handlers/pass", |handler| handler["lag"] == 0);
    assert_eq!(post(&mill, "/v1/handlers/pass/pause", &json!({})).1["state"], "paused");
    let (status, problem) = post(&mill, "/v1/handlers/pass/seek", &json!({ "to": "0" }));
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let (status, handler) = post(&mill, "/v1/handlers/pass/seek", &json!({ "to": "earliest" }));
    assert_eq!((status, &handler["lag"]), (StatusCode::OK, &json!(2)), "{handler}");
    assert_eq!(post(&mill, "/v1/handlers/pass/resume", &json!({})).1["state"], "running");
    assert_eq!(wait_for(&mill, "out", 4).len(), 4);
    let (status, problem) = mill.ask(mill.request(Method::DELETE, "/v1/groups/pass"));
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
}

#[test]
fn a_plugin_is_taken_when_it_is_dropped_in_and_kept_when_a_broken_one_follows() {
    let mill = Mill::start();
    put_in(mill.dir(), "passthrough", "pass", "inputs = [\"in\"]\noutput = \"out\"");
    // The handler runs a moment before its version is written down.
    let is_there = |handler: &Value| handler["state"] == "running" && handler["version"].is_string();
    let version = until(&mill, "/v1/handlers/pass", is_there)["version"].clone();
    fs::write(mill.dir().join("plugins/pass.wasm"), "not wasm").unwrap();
    let handler = until(&mill, "/v1/handlers/pass", |handler| handler["error"].is_string());
    assert_eq!((&handler["state"], &handler["version"]), (&json!("running"), &version));
    assert!(handler["error"].as_str().unwrap().contains("not WebAssembly"), "{handler}");
    mill.publish("in", "1");
    assert_eq!(wait_for(&mill, "out", 1)[0]["value"], 1);
    fs::remove_file(mill.dir().join("plugins/pass.wasm")).unwrap();
    fs::remove_file(mill.dir().join("plugins/pass.toml")).unwrap();
    until(&mill, "/v1/handlers", |handlers| *handlers == json!([]));
    assert_eq!(mill.get("/v1/groups/pass").1["installed"], false);
    assert!(mill.cli(&["groups", "delete", "pass"]).status.success());
}

#[test]
fn a_topic_that_comes_back_while_its_handler_lags_is_read_anew() {
    let mill = Mill::start_in(dir_with("passthrough", "pass", "inputs = [\"in\"]\noutput = \"out\""), &[]);
    post(&mill, "/v1/handlers/pass/pause", &json!({}));
    mill.publish("in", "\"old\"");
    assert_eq!(mill.ask(mill.request(Method::DELETE, "/v1/topics/in")).0, StatusCode::NO_CONTENT);
    mill.publish("in", "\"new\"");
    post(&mill, "/v1/handlers/pass/resume", &json!({}));
    let out = wait_for(&mill, "out", 1);
    assert_eq!(out[0]["value"], "new");
    until(&mill, "/v1/handlers/pass", |handler| handler["lag"] == 0);
    assert_eq!(mill.read("out", "").len(), 1);
}

/// The latest sum that was emitted, after `count` events in all.
fn latest_sum(mill: &Mill, count: usize) -> Value {
    let sums = wait_for(mill, "sums", count);
    sums.last().unwrap()["value"]["sum"].clone()
}

#[test]
fn a_state_of_another_version_is_adopted_or_reset_before_the_handler_goes_on() {
    let settings = |version: u32| format!("state-version = {version}\n{SUMS}");
    let mill = Mill::start_in(dir_with("aggregate", "sums", &settings(1)), &[]);
    numbers(&mill, 1..4);
    assert_eq!(latest_sum(&mill, 3), 6.0);
    let stopped = |entry: &Value| entry["state"] == "stopped";

    fs::write(mill.dir().join("plugins/sums.toml"), settings(2)).unwrap();
    let handler = until(&mill, "/v1/handlers/sums", stopped);
    let error = handler["error"].as_str().unwrap();
    assert!(error.contains("state-version 1, and it wants 2"), "{error}");
    numbers(&mill, 4..5);
    let done = mill.cli(&["handlers", "adopt-state", "sums"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(latest_sum(&mill, 4), 10.0);

    fs::write(mill.dir().join("plugins/sums.toml"), settings(3)).unwrap();
    until(&mill, "/v1/handlers/sums", stopped);
    let done = mill.cli(&["groups", "reset", "sums"]);
    assert!(done.status.success() && stdout(&done).contains("begins anew"), "{}", stderr(&done));
    // All four once more, from nothing.
    assert_eq!(latest_sum(&mill, 8), 10.0);
    assert_eq!(mill.cli(&["groups", "reset", "nobody"]).status.code(), Some(4));
    assert_eq!(mill.cli(&["groups", "restore", "nobody"]).status.code(), Some(4));
}

#[test]
fn a_version_that_gives_up_all_it_gets_goes_and_the_former_does_the_work() {
    let mill = Mill::start_in(dir_with("aggregate", "sums", SUMS), &[]);
    numbers(&mill, 1..4);
    assert_eq!(latest_sum(&mill, 3), 6.0);
    let version = until(&mill, "/v1/handlers/sums", |entry| entry["version"].is_string())["version"].clone();

    // The same component, looking for its number where none is.
    let wrong = SUMS.replace("\"/n\"", "\"/nowhere\"");
    fs::write(mill.dir().join("plugins/sums.toml"), wrong).unwrap();
    let mut next = 4;
    let refused = loop {
        numbers(&mill, next..next + 1);
        next += 1;
        // Whichever version it met, it comes out once.
        assert_eq!(latest_sum(&mill, next as usize - 1), f64::from((1..next).sum::<u32>()));
        let (_, entry) = mill.get("/v1/handlers/sums");
        if !entry["refused"].is_null() {
            break entry;
        }
    };
    assert!(refused["refused"].to_string().contains("no number at `/nowhere`"), "{refused}");
    assert_eq!((&refused["version"], &refused["deadLetters"]), (&version, &json!(0)));
}

#[test]
fn the_version_in_charge_comes_back_after_a_start_that_finds_a_broken_file() {
    let mill = Mill::start();
    let one = mill.request(Method::PUT, "/v1/topics/numbers").json(&json!({ "partitions": 1 }));
    assert!(mill.ask(one).0.is_success());
    put_in(mill.dir(), "aggregate", "sums", SUMS);
    until(&mill, "/v1/handlers/sums", |entry| entry["state"] == "running");
    numbers(&mill, 1..4);
    assert_eq!(latest_sum(&mill, 3), 6.0);
    let entry = until(&mill, "/v1/handlers/sums", |entry| entry["lag"] == 0 && entry["version"].is_string());
    let (_, dir) = mill.stop();

    fs::write(dir.path().join("plugins/sums.wasm"), "not wasm").unwrap();
    let mill = Mill::start_in(dir, &[]);
    numbers(&mill, 4..5);
    assert_eq!(latest_sum(&mill, 4), 10.0);
    let back = mill.get("/v1/handlers/sums").1;
    assert_eq!(back["version"], entry["version"]);
    assert!(back["error"].as_str().unwrap().contains("not WebAssembly"), "{back}");
}
