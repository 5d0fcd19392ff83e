//! Plugins are compiled by a child of the runtime: what it may use, and what a component that wants more does to the
//! others.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::bomb;
use crate::handlers::{dir_with, put_in, until, wait_for};
use crate::mill::{BINARY, Mill};

const ECHO: &str = "inputs = [\"in\"]\noutput = \"out\"";

/// Drops the bomb in the place of a handler that works beside another, and returns what the runtime says of it.
fn drop_bomb(compile: &str) -> String {
    let dir = dir_with("passthrough", "other", ECHO);
    put_in(dir.path(), "passthrough", "victim", "inputs = [\"victims\"]\noutput = \"spared\"");
    fs::write(dir.path().join("tidemill.toml"), format!("[compile]\n{compile}")).unwrap();
    let mill = Mill::start_in(dir, &[]);
    let version =
        until(&mill, "/v1/handlers/victim", |entry| entry["version"].is_string())["version"].clone();

    fs::write(mill.dir().join("bomb"), bomb::component()).unwrap();
    fs::rename(mill.dir().join("bomb"), mill.dir().join("plugins/victim.wasm")).unwrap();
    let mut events = 0;
    let entry = loop {
        events += 1;
        mill.publish("in", &events.to_string());
        mill.publish("victims", &events.to_string());
        assert_eq!(wait_for(&mill, "out", events).len(), events);
        assert_eq!(wait_for(&mill, "spared", events).len(), events);
        let (_, entry) = mill.get("/v1/handlers/victim");
        if !entry["error"].is_null() {
            break entry;
        }
    };
    assert_eq!((&entry["state"], &entry["version"]), (&json!("running"), &version));
    entry["error"].as_str().unwrap().to_owned()
}

#[test]
fn a_component_that_takes_the_compiler_too_long_is_refused_and_all_others_go_on() {
    let error = drop_bomb("cpu = \"2s\"");
    assert!(error.contains("victim.wasm: compiling it took more than 2 s of processor time"), "{error}");
}

#[test]
fn a_component_that_takes_the_compiler_too_much_memory_is_refused_and_all_others_go_on() {
    let error = drop_bomb("memory = \"512MiB\"");
    assert!(error.contains("victim.wasm: compiling it took more than 536870912 bytes of memory"), "{error}");
}

/// What the kernel says of a process: a word after a name, in one of its files.
fn of_process(child: &Child, file: &str, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

fn niceness(process: &str) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The 17th field after the name in brackets.
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

#[test]
fn a_compilation_has_limits_and_a_lower_priority_before_it_reads_anything() {
    let mut child = Command::new(BINARY)
        .args(["compile", "7", "1000000000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (own, of_child) = (niceness("self"), || niceness(&child.id().to_string()));
    while of_child() == own {
        std::thread::yield_now();
    }
    assert_eq!(of_child(), 19.min(own + 10));
    assert_eq!(of_process(&child, "limits", "Max cpu time"), "7");
    assert_eq!(of_process(&child, "limits", "Max address space"), "1000000000");
    assert_eq!(of_process(&child, "limits", "Max core file size"), "0");
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(65));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!said.is_empty());
}
