//! Filters and projections of `json-filter`, on real and on odd events.

use json_filter::json_filter;
use tidemill_sdk::testing::{Harness, Input, assert_golden, inputs};

const QUAKES: &str = include_str!("../../data/earthquakes.ndjson");

/// What the filter passes on of `values`.
fn passed(comparison: &str, value: &str, values: &[&str]) -> Vec<String> {
    let harness = Harness::new(json_filter)
        .config("pointer", "/a")
        .config("comparison", comparison)
        .config("value", value);
    let events: Vec<Input> = values.iter().map(Input::new).collect();
    harness.run_in_every_batching(&events).values()
}

#[test]
fn large_quakes_keep_the_fields_asked_for() {
    let harness = Harness::new(json_filter)
        .config("pointer", "/mag")
        .config("comparison", ">=")
        .config("value", 4.5)
        .config("fields", r#"["/id", "/mag", "/place"]"#);
    let report = harness.run_in_every_batching(&inputs(QUAKES, "/net", "/time"));
    assert_golden(&report, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/large-quakes.ndjson"));
}

#[test]
fn numbers_compare_as_numbers_and_anything_else_as_text() {
    let values =
        [r#"{"a":9}"#, r#"{"a":10}"#, r#"{"a":"10"}"#, r#"{"b":10}"#, r#"{"a":[10]}"#, r#"{"a":null}"#];
    assert_eq!(passed(">", "9", &values), [r#"{"a":10}"#]);
    assert_eq!(passed("at-least", "9", &values), [r#"{"a":9}"#, r#"{"a":10}"#]);
    assert_eq!(passed("<", "9", &values), [r#"{"a":"10"}"#]);
    assert_eq!(passed("==", "10", &values), [r#"{"a":10}"#, r#"{"a":"10"}"#]);
    assert_eq!(passed("equal", "null", &values), [r#"{"a":null}"#]);
    assert_eq!(
        passed("!=", "10.0", &values),
        [r#"{"a":9}"#, r#"{"a":"10"}"#, r#"{"a":[10]}"#, r#"{"a":null}"#]
    );
}

#[test]
fn what_is_no_json_is_rejected_and_its_neighbours_pass() {
    let harness = Harness::new(json_filter).config("pointer", "/a").config("value", "x");
    let events = [r#"{"a":"x"}"#, "a: x", r#"{"a":"x","c":1}"#].map(Input::new);
    let report = harness.run_in_every_batching(&events);
    assert_eq!(report.values(), [r#"{"a":"x"}"#, r#"{"a":"x","c":1}"#]);
    assert!(report.rejected[0].reason.starts_with("malformed JSON"), "{:?}", report.rejected);
}

#[test]
fn a_field_that_is_missing_is_left_out() {
    let fields = r#"["/b/c", "/d", "/a"]"#;
    let harness =
        Harness::new(json_filter).config("pointer", "/a").config("value", 1).config("fields", fields);
    let report = harness.run_in_every_batching(&[Input::new(r#"{"a":1, "b":{"c": [1, 2]}}"#)]);
    assert_eq!(report.values(), [r#"{"c":[1, 2],"a":1}"#]);
}

#[test]
fn a_wrong_pointer_is_named_with_its_key() {
    let report = Harness::new(json_filter).config("pointer", "a").config("value", 1).run(&[Input::new("1")]);
    let reason = report.stopped.expect("it cannot run").reason;
    assert_eq!(reason, "configuration: `pointer`: `a` is not a JSON pointer, such as `/name` or `/names/0`");
}
