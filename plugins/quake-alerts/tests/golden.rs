//! Alerts of a real week of earthquakes.

use quake_alerts::quake_alerts;
use tidemill_sdk::testing::{Harness, Input, assert_golden, inputs};

const QUAKES: &str = include_str!("../../data/earthquakes.ndjson");

#[test]
fn a_week_of_earthquakes_raises_its_alerts() {
    let report = Harness::new(quake_alerts).run_in_every_batching(&inputs(QUAKES, "/net", "/time"));
    assert_golden(&report, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/alerts.ndjson"));
}

#[test]
fn the_minimum_decides_and_every_quake_counts() {
    let quake = |mag: &str, place: &str| Input::new(format!("{{\"mag\":{mag},\"place\":\"{place}\"}}"));
    let events =
        [quake("1", "here, Fiji"), quake("2", "Fiji"), quake("null", "Fiji"), quake("2.5", "there, Fiji")];
    let harness = Harness::new(quake_alerts).config("minimum-magnitude", 2);
    let report = harness.run_in_every_batching(&events);
    assert_eq!(
        report.values(),
        [
            r#"{"region":"Fiji","magnitude":2.0,"place":"Fiji","id":null,"region-count":2,"region-mean":1.5}"#,
            r#"{"region":"Fiji","magnitude":2.5,"place":"there, Fiji","id":null,"region-count":3,"region-mean":1.833}"#,
        ]
    );
    assert!(report.emitted.iter().all(|alert| alert.key.as_deref() == Some(b"Fiji")));
}

#[test]
fn an_earthquake_without_a_place_is_rejected() {
    let report = Harness::new(quake_alerts).run_in_every_batching(&[Input::new(r#"{"mag":5}"#)]);
    assert_eq!(report.rejected[0].reason, "an earthquake without a place");
}
