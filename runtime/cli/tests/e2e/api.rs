//! The API as a client sees it.

use std::io::{BufRead, BufReader};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::mill::Mill;

fn kind(problem: &Value) -> &str {
    problem["type"].as_str().unwrap().rsplit(':').next().unwrap()
}

#[test]
fn what_is_published_can_be_read() {
    let mill = Mill::start();
    let (status, runs) = mill.publish("quakes", "{\"mag\":1}\n{\"mag\":2}\n");
    assert_eq!(status, StatusCode::OK, "{runs}");
    assert_eq!(runs[0]["count"], 2);
    let events = mill.read("quakes", "");
    let values: Vec<_> = events.iter().map(|event| event["value"]["mag"].as_i64().unwrap()).collect();
    assert_eq!(values, [1, 2]);
    let (_, topic) = mill.get("/v1/topics/quakes");
    assert_eq!((&topic["partitions"], &topic["events"]), (&json!(4), &json!(2)));
    assert_eq!(mill.read("quakes", "from=latest").len(), 0);
    assert_eq!(mill.read("quakes", "limit=1").len(), 1);
    let partition = events[0]["partition"].as_u64().unwrap();
    assert_eq!(mill.read("quakes", &format!("partition={partition}&from=1")).len(), 1);
    assert_eq!(mill.read("quakes", "from=2100-01-01T00:00:00Z").len(), 0);
}

#[test]
fn keys_times_headers_and_places_are_kept() {
    let mill = Mill::start();
    let body = r#"[{"id":"a","at":"2100-01-01T00:00:00Z","h":{"x":"y"}},{"id":"b","at":7,"h":null}]"#;
    let path = "/v1/topics/t/events?key=/id&time=/at&headers=/h&answer=events";
    let request = mill.request(Method::POST, path).header("content-type", "application/json").body(body);
    let (status, places) = mill.ask(request);
    assert_eq!(status, StatusCode::OK, "{places}");
    let events = mill.read("t", "");
    for (place, key) in places.as_array().unwrap().iter().zip(["a", "b"]) {
        let event = events.iter().find(|event| event["key"] == key).unwrap();
        assert_eq!((&event["partition"], &event["offset"]), (&place["partition"], &place["offset"]));
    }
    let first = events.iter().find(|event| event["key"] == "a").unwrap();
    assert_eq!(first["time"], 4_102_444_800_000_i64);
    assert_eq!(first["headers"], json!({"x": "y"}));
    assert!(first["appendTime"].as_i64().unwrap() < 4_102_444_800_000);
}

#[test]
fn malformed_json_names_its_place_and_publishes_nothing() {
    let mill = Mill::start();
    let (status, problem) = mill.publish("t", "{\"a\":1}\n{\"a\":}\n");
    assert_eq!((status, kind(&problem)), (StatusCode::BAD_REQUEST, "malformed-body"));
    assert_eq!((&problem["line"], &problem["column"]), (&json!(2), &json!(6)));
    assert_eq!(mill.read("t", "").len(), 0);
}

#[test]
fn bodies_names_and_types_that_are_not_taken_are_refused_by_kind() {
    let mill = Mill::start();
    let post = |path: &str| mill.request(Method::POST, path).header("content-type", "application/json");
    let large = vec![b' '; (8 << 20) + 1];
    for (request, status, name) in [
        (post("/v1/topics/t/events").body(large), 413, "too-large"),
        (post("/v1/topics/a%20b/events").body("1"), 400, "invalid-name"),
        (post("/v1/topics/_dead.h/events").body("1"), 400, "invalid-name"),
        (post("/v1/topics/t/events?key=id").body("1"), 400, "invalid-request"),
        (post("/v1/topics/t/events?kye=/id").body("1"), 400, "invalid-request"),
        (mill.request(Method::POST, "/v1/topics/t/events").body("1"), 415, "unsupported-media-type"),
        (mill.request(Method::PUT, "/v1/topics/a%2Fb"), 400, "invalid-name"),
        (mill.request(Method::PUT, "/v1/topics/t2").body("{\"partitions\":0}"), 400, "invalid-request"),
        (mill.request(Method::PUT, "/v1/topics/t2").body("{\"partition\":1}"), 400, "malformed-body"),
        (mill.request(Method::GET, "/v1/topics/none/events"), 404, "unknown-topic"),
        (mill.request(Method::GET, "/v1/topics/none"), 404, "unknown-topic"),
        (mill.request(Method::DELETE, "/v1/topics/none"), 404, "unknown-topic"),
        (mill.request(Method::GET, "/v1/handlers/none"), 404, "unknown-handler"),
        (mill.request(Method::POST, "/v1/handlers/none/pause"), 404, "unknown-handler"),
        (mill.request(Method::GET, "/v1/groups/none"), 404, "unknown-group"),
        (mill.request(Method::GET, "/v1/dead-letters/none"), 404, "unknown-handler"),
        (mill.request(Method::GET, "/v2"), 404, "unknown-path"),
        (mill.request(Method::PATCH, "/v1/topics"), 405, "method-not-allowed"),
    ] {
        let (found, problem) = mill.ask(request);
        assert_eq!((found.as_u16(), kind(&problem)), (status, name), "{problem}");
    }
    assert_eq!(mill.get("/v1/topics").1, json!([]));
}

#[test]
fn foreign_hosts_and_origins_are_refused() {
    let mill = Mill::start();
    for (name, value) in [("host", "evil.example"), ("origin", "http://evil.example"), ("origin", "null")] {
        let (status, problem) = mill.ask(mill.request(Method::GET, "/v1/topics").header(name, value));
        assert_eq!((status, kind(&problem)), (StatusCode::FORBIDDEN, "forbidden"), "{name}: {value}");
    }
}

#[test]
fn an_idempotency_key_publishes_once() {
    let mill = Mill::start();
    let send = |body: &'static str| {
        let request = mill.request(Method::POST, "/v1/topics/t/events?answer=events");
        mill.ask(request.header("content-type", "application/json").header("idempotency-key", "k").body(body))
    };
    let (first, second, other) = (send("[1,2]"), send("[1,2]"), send("[1,3]"));
    assert_eq!(first.0, StatusCode::OK, "{}", first.1);
    assert_eq!(first, second);
    assert_eq!((other.0.as_u16(), kind(&other.1)), (422, "idempotency-key-reused"));
    assert_eq!(mill.read("t", "").len(), 2);
}

#[test]
fn a_follower_gets_what_comes_later_and_ends_with_the_runtime() {
    let mill = Mill::start();
    assert_eq!(mill.publish("t", "1").0, StatusCode::OK);
    let follower = mill.request(Method::GET, "/v1/topics/t/events?follow=true").send().unwrap();
    let mut lines = BufReader::new(follower).lines();
    let mut next =
        || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["value"].clone();
    assert_eq!(next(), 1);
    mill.publish("t", "2");
    assert_eq!(next(), 2);
    assert!(mill.stop().0);
    assert!(lines.next().is_none());
}

#[test]
fn topics_are_created_shown_and_deleted() {
    let mill = Mill::start();
    let put = |body: &'static str| mill.ask(mill.request(Method::PUT, "/v1/topics/t").body(body));
    assert_eq!(put("{\"partitions\":8}").0, StatusCode::CREATED);
    assert_eq!(put("").0, StatusCode::OK);
    let (status, problem) = put("{\"partitions\":3}");
    assert_eq!((status, kind(&problem)), (StatusCode::CONFLICT, "conflict"));
    assert_eq!(mill.get("/v1/topics/t").1["ranges"].as_array().unwrap().len(), 8);
    assert_eq!(put("{\"partitions\":9}").0, StatusCode::OK);
    assert_eq!(mill.get("/v1/topics/t").1["partitions"], 9);
    assert_eq!(mill.ask(mill.request(Method::DELETE, "/v1/topics/t")).0, StatusCode::NO_CONTENT);
    assert_eq!(mill.get("/v1/topics/t").0, StatusCode::NOT_FOUND);
}

#[test]
fn a_topic_tells_its_bytes_on_disk() {
    let mill = Mill::start();
    mill.publish("t", &format!("\"{}\"\n", "x".repeat(1000)).repeat(100));
    let (_, topics) = mill.get("/v1/topics");
    let bytes = topics[0]["bytes"].as_u64().unwrap();
    assert!((100_000..120_000).contains(&bytes), "{topics}");
    let (_, topic) = mill.get("/v1/topics/t");
    let ranges = topic["ranges"].as_array().unwrap().iter();
    assert_eq!(ranges.map(|range| range["bytes"].as_u64().unwrap()).sum::<u64>(), bytes);
    assert_eq!(topic["bytes"], bytes);
}

#[test]
fn metrics_are_told_in_open_metrics() {
    let mill = Mill::start();
    mill.publish("t", "1\n2\n3");
    let (status, text) = mill.get("/metrics");
    let text = text.as_str().unwrap();
    assert_eq!(status, StatusCode::OK);
    for line in ["tidemill_published_events_total 3", "tidemill_store_commit_seconds_count", "# EOF"] {
        assert!(text.contains(line), "{text} lacks {line}");
    }
    assert_eq!(mill.get("/healthz").0, StatusCode::OK);
}
