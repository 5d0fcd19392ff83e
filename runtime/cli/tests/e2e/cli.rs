//! The command line: what it prints, and the codes that it ends with.

use std::fs;
use std::process::Command;

use reqwest::{Method, StatusCode};

use crate::mill::{BINARY, Mill, run_command, stderr, stdout};

#[test]
fn a_file_is_published_and_tailed() {
    let mill = Mill::start();
    let file = mill.dir().join("events.ndjson");
    fs::write(&file, "{\"id\":\"a\",\"t\":1}\n{\"id\":\"b\",\"t\":2}\n").unwrap();
    let file = file.to_str().unwrap();
    let done = mill.cli(&["publish", "t", file, "--key", "/id", "--time", "/t"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert!(stdout(&done).contains("published 2 events to t"), "{}", stdout(&done));
    let lines = stdout(&mill.cli(&["tail", "t", "--output", "json"]));
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.contains("\"key\":\"a\"") && lines.contains("\"time\":2"), "{lines}");
    assert!(stdout(&mill.cli(&["topics"])).contains('t'));
}

#[test]
fn a_broken_line_is_named_with_its_file() {
    let mill = Mill::start();
    let file = mill.dir().join("events.ndjson");
    fs::write(&file, "1\n2\n{\"a\":}\n").unwrap();
    let done = mill.cli(&["publish", "t", file.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(1));
    assert!(stderr(&done).contains("events.ndjson:3:6: expected a value"), "{}", stderr(&done));
}

#[test]
fn a_compacted_topic_says_so_and_keeps_the_newest_event_of_each_key() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[store]\nsegment = \"1MiB\"\ncheckpoint = \"10ms\"\nsettle = \"0s\"\n";
    fs::write(dir.path().join("tidemill.toml"), config).unwrap();
    let mill = Mill::start_in(dir, &[]);
    let created = mill.cli(&["topics", "create", "latest", "--partitions", "1", "--compact"]);
    assert!(created.status.success(), "{}", stderr(&created));
    assert!(stdout(&mill.cli(&["topics", "show", "latest"])).contains("compact"));
    let topic = |mill: &Mill| mill.get("/v1/topics/latest").1;
    assert_eq!(topic(&mill)["policy"], "compact");
    let set = |policy: &str| {
        let body = format!("{{\"policy\": \"{policy}\"}}");
        mill.ask(mill.request(Method::PUT, "/v1/topics/latest").body(body))
    };
    assert_eq!(set("delete").1["policy"], "delete");
    assert_eq!(set("forever").0, StatusCode::BAD_REQUEST);
    assert!(mill.cli(&["topics", "create", "latest", "--compact"]).status.success());
    assert_eq!(topic(&mill)["policy"], "compact");

    let pad = "x".repeat(50_000);
    let publish = |number: u32, key: &str| {
        let path = "/v1/topics/latest/events?key=/key";
        let body = format!("{{\"key\": \"{key}\", \"number\": {number}, \"pad\": \"{pad}\"}}");
        let request = mill.request(Method::POST, path).header("content-type", "application/json");
        assert_eq!(mill.ask(request.body(body)).0, StatusCode::OK);
    };
    publish(0, "once");
    // Settling never touches the segment that is written, so it goes on until there are some.
    let mut number = 0;
    while number < 100 || topic(&mill)["bytes"].as_u64().unwrap() > 3 << 20 {
        number += 1;
        publish(number, "often");
    }
    let mill = mill.kill_and_restart();
    let events = mill.read("latest", "from=earliest&limit=1000");
    let of = |key: &str| events.iter().rfind(|event| event["key"] == key).unwrap()["value"]["number"].clone();
    assert_eq!((of("once"), of("often")), (0.into(), number.into()));
    assert!(events.len() < number as usize, "{} of {number}", events.len());
}

#[test]
fn a_compressed_topic_says_so_takes_less_room_and_is_read_as_it_was_published() {
    let mill = Mill::start();
    let created = mill.cli(&["topics", "create", "squeezed", "--partitions", "1", "--compression", "lz4"]);
    assert!(created.status.success(), "{}", stderr(&created));
    assert!(stdout(&mill.cli(&["topics", "show", "squeezed"])).contains("lz4"));
    assert!(mill.cli(&["topics", "create", "plain", "--partitions", "1"]).status.success());
    let refused = mill.cli(&["topics", "create", "plain", "--compression", "zip"]);
    assert!(!refused.status.success() && stderr(&refused).contains("lz4"), "{}", stderr(&refused));
    let words = "magnitude place depth ".repeat(500);
    for topic in ["squeezed", "plain"] {
        let path = format!("/v1/topics/{topic}/events");
        let request = mill.request(Method::POST, &path).header("content-type", "application/json");
        assert_eq!(mill.ask(request.body(format!("{{\"words\": \"{words}\"}}"))).0, StatusCode::OK);
    }
    let topic = |mill: &Mill, name: &str| mill.get(&format!("/v1/topics/{name}")).1;
    let mill = mill.kill_and_restart();
    assert_eq!(topic(&mill, "squeezed")["compression"], "lz4");
    assert_eq!(topic(&mill, "plain")["compression"], "none");
    let bytes = |name: &str| topic(&mill, name)["bytes"].as_u64().unwrap();
    assert!(bytes("squeezed") * 4 < bytes("plain"));
    let events = mill.read("squeezed", "from=earliest&limit=10");
    assert_eq!(events[0]["value"]["words"], words.as_str());
    let set = |body: &'static str| mill.ask(mill.request(Method::PUT, "/v1/topics/squeezed").body(body));
    assert_eq!(set("{\"policy\": \"delete\"}").1["compression"], "lz4");
    assert_eq!(set("{\"compression\": \"none\"}").1["compression"], "none");
    assert_eq!(set("{\"compression\": \"zip\"}").0, StatusCode::BAD_REQUEST);
}

#[test]
fn topics_are_managed() {
    let mill = Mill::start();
    assert!(mill.cli(&["topics", "create", "t", "--partitions", "2"]).status.success());
    assert!(stdout(&mill.cli(&["topics", "show", "t"])).contains("PARTITION"));
    assert!(mill.cli(&["topics", "delete", "t"]).status.success());
    assert_eq!(mill.cli(&["topics", "show", "t"]).status.code(), Some(4));
    mill.publish("earthquakes", "1");
    let mistyped = mill.cli(&["tail", "earthquaks"]);
    assert_eq!(mistyped.status.code(), Some(4));
    assert!(stderr(&mistyped).contains("did you mean \"earthquakes\"?"), "{}", stderr(&mistyped));
    for list in ["handlers", "groups", "dead-letters"] {
        assert!(mill.cli(&[list]).status.success(), "{list}");
    }
}

#[test]
fn codes_tell_what_went_wrong() {
    let code = |args: &[&str]| Command::new(BINARY).args(args).output().unwrap().status.code();
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["frobnicate"]), Some(2));
    assert_eq!(code(&["topics", "--url", "http://127.0.0.1:1"]), Some(3));
    assert_eq!(code(&["run", "--config", "/nowhere.toml"]), Some(5));
    assert_eq!(code(&["run", "--listen", "0.0.0.0:0"]), Some(5));
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let mill = Mill::start();
    let lines: Vec<_> = (0..50_000).map(|number| number.to_string()).collect();
    mill.publish("t", &lines.join("\n"));
    let command = format!("set -o pipefail; {BINARY} --url {} tail t | head -1", mill.url());
    let done = Command::new("bash").args(["-c", &command]).output().unwrap();
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(stdout(&done).lines().count(), 1);
}

#[test]
fn check_names_what_is_wrong_with_a_configuration_and_a_plugin() {
    let dir = tempfile::tempdir().unwrap();
    let check = || Command::new(BINARY).current_dir(dir.path()).arg("check").output().unwrap();
    // A directory that is missing is none that is wrong: a start makes it.
    let done = check();
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert!(stdout(&done).contains("no plugins in plugins"), "{}", stdout(&done));
    fs::create_dir(dir.path().join("plugins")).unwrap();
    assert_eq!(check().status.code(), Some(0));
    fs::write(dir.path().join("plugins/bad.wasm"), "not wasm").unwrap();
    let done = check();
    assert_eq!(done.status.code(), Some(5));
    assert!(stdout(&done).contains("not WebAssembly"), "{}", stdout(&done));
    fs::write(dir.path().join("tidemill.toml"), "[http]\nlistne = \"127.0.0.1:1\"\n").unwrap();
    let done = check();
    assert_eq!(done.status.code(), Some(5));
    let error = stderr(&done);
    assert!(error.contains("line 2") && error.contains("did you mean `listen`"), "{error}");
    assert!(!dir.path().join("data").exists());
}

#[test]
fn check_and_run_agree_on_a_plugin_directory_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plugins"), "a file").unwrap();
    let check = Command::new(BINARY).current_dir(dir.path()).arg("check").output().unwrap();
    for done in [check, run_command(dir.path()).output().unwrap()] {
        assert_eq!(done.status.code(), Some(1));
        assert!(stderr(&done).contains("cannot use the directory plugins"), "{}", stderr(&done));
    }
}

/// A file of so many lines, and the command that publishes it.
fn publishing(mill: &Mill, lines: usize) -> String {
    let file = mill.dir().join("events.ndjson");
    fs::write(&file, format!("\"{}\"\n", "x".repeat(100)).repeat(lines)).unwrap();
    format!("{BINARY} --url {} publish t {}", mill.url(), file.display())
}

#[test]
fn publish_shows_its_progress_on_a_terminal() {
    let mill = Mill::start();
    // `script` gives the command a terminal, and prints what it showed there.
    let command = publishing(&mill, 100_000);
    let Ok(done) = Command::new("script").args(["-qec", &command, "/dev/null"]).output() else {
        eprintln!("skipped: there is no `script` here");
        return;
    };
    let shown = stdout(&done);
    assert!(done.status.success(), "{shown}");
    assert!(shown.contains("events,") && shown.contains("/s"), "{shown:?}");
    assert!(shown.contains('\u{1b}'), "{shown:?}");
    assert!(shown.contains("published 100,000 events to t"), "{shown:?}");
}

#[test]
fn publish_writes_no_escape_codes_into_a_pipe() {
    let mill = Mill::start();
    let done = Command::new("sh").args(["-c", &publishing(&mill, 100_000)]).output().unwrap();
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(stderr(&done), "");
    assert_eq!(stdout(&done).lines().count(), 1);
    assert!(!stdout(&done).contains('\u{1b}'), "{}", stdout(&done));
}
