//! Running aggregates, on real and on odd events.

use aggregate::aggregate;
use tidemill_sdk::testing::{Harness, Input, assert_golden, inputs};

const FLIGHTS: &str = include_str!("../../data/flights.ndjson");

#[test]
fn delays_of_flights_add_up_by_origin() {
    let lines: Vec<&str> = FLIGHTS.lines().take(200).collect();
    let events = inputs(&lines.join("\n"), "/origin", "/time");
    let report = Harness::new(aggregate).config("pointer", "/delay").run_in_every_batching(&events);
    assert_golden(&report, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/delays.ndjson"));
}

#[test]
fn all_flights_are_counted() {
    let events = inputs(FLIGHTS, "/origin", "/time");
    let report = Harness::new(aggregate).config("pointer", "/delay").run(&events);
    assert_eq!((report.emitted.len(), report.rejected.len()), (20_000, 0));
}

#[test]
fn an_event_without_the_number_is_rejected_and_counts_nothing() {
    let events =
        ["{\"n\":2}", "{}", "{\"n\":\"3\"}", "7", "{\"n\":-4}"].map(|value| Input::new(value).key("k"));
    let report = Harness::new(aggregate).config("pointer", "/n").run_in_every_batching(&events);
    let last = report.values().pop();
    assert_eq!(last.as_deref(), Some(r#"{"count":2,"sum":-2.0,"mean":-1.0,"min":-4.0,"max":2.0}"#));
    assert_eq!(report.rejected.len(), 3);
    assert_eq!(report.rejected[0].reason, "no number at `/n`");
}
