//! Bodies of every format through the whole reader.

use std::sync::Arc;

use proptest::prelude::*;
use tidemill_bus::block::header;
use tidemill_bus::{Columns, TopicId};

use super::*;
use crate::limits::{EVENT_BYTES_MAX, PUBLISH_COLUMN_BYTES_MAX};

const NOW: i64 = 1_700_000_000_000;

fn plan(format: Format, partitions: u32) -> Plan {
    let topic = Topic { id: TopicId(7), name: Arc::from("t"), partitions };
    Plan { topic, format, pointers: Pointers::default(), now_ms: NOW, turn: 0 }
}

fn with_pointers(format: Format, [key, time, headers]: [&str; 3]) -> Plan {
    let pointer = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
    let pointers = Pointers { key: pointer(key), time: pointer(time), headers: pointer(headers) };
    Plan { pointers, ..plan(format, 1) }
}

/// The events of a topic with one partition.
fn events(body: &str, plan: &Plan) -> Columns {
    let placed = read(body.as_bytes(), plan).unwrap();
    assert!(placed.blocks.len() <= 1);
    placed.blocks.first().map(|block| Columns::clone(&block.columns)).unwrap_or_default()
}

fn values(columns: &Columns) -> Vec<&str> {
    columns.iter().map(|event| std::str::from_utf8(event.value.unwrap()).unwrap()).collect()
}

fn error(body: impl AsRef<[u8]>, plan: &Plan) -> String {
    read(body.as_ref(), plan).unwrap_err().to_string()
}

#[test]
fn lines_become_events_and_empty_lines_none() {
    let columns = events("{\"a\":1}\n\n  [2] \r\n\"three\"", &plan(Format::Ndjson, 1));
    assert_eq!(values(&columns), ["{\"a\":1}", "[2]", "\"three\""]);
    assert!(columns.iter().all(|event| event.time == NOW && event.key.is_none()));
    assert!(events("\n \n", &plan(Format::Ndjson, 1)).is_empty());
}

#[test]
fn a_value_is_one_event_and_an_array_many() {
    let plan = plan(Format::Json, 1);
    assert_eq!(values(&events(" {\"a\": [1]}\n", &plan)), ["{\"a\": [1]}"]);
    assert_eq!(values(&events("[1, {\"b\":2} ,\n[3]]", &plan)), ["1", "{\"b\":2}", "[3]"]);
    assert!(events("[]", &plan).is_empty());
}

#[test]
fn fields_come_from_where_the_pointers_say() {
    let plan = with_pointers(Format::Ndjson, ["/id", "/at", "/meta"]);
    let body = r#"{"id":"a\"b","at":5,"meta":{"x":"1","y":null,"z":[2]}}
{"id":42,"at":"2018-02-07T00:00:00Z","meta":null}
{"at":-1}"#;
    let columns = events(body, &plan);
    let events: Vec<_> = columns.iter().collect();
    assert_eq!(events[0].key, Some(&b"a\"b"[..]));
    let headers: Vec<_> = header::iter(events[0].headers).collect();
    assert_eq!(headers, [("x", Some(&b"1"[..])), ("y", None), ("z", Some(&b"[2]"[..]))]);
    assert_eq!((events[1].key, events[1].time), (Some(&b"42"[..]), 1_517_961_600_000));
    assert_eq!((events[2].key, events[2].time), (None, -1));
    assert_eq!(columns.check(), Ok(()));
}

#[test]
fn an_error_names_line_and_column() {
    let lines = plan(Format::Ndjson, 1);
    assert_eq!(error("{\"a\":1}\n{\"é\":}\n", &lines), "line 2, column 6: expected a value");
    assert_eq!(error("1\n{\"a\":1", &lines), "line 2, column 7: the text ends within a value");
    assert_eq!(error(b"1\n\"\xff\"", &lines), "line 2, column 2: the text is not UTF-8");
    assert_eq!(error("[1,\n2,\n]", &plan(Format::Json, 1)), "line 3, column 1: expected a value");
    assert_eq!(error("1 2", &plan(Format::Json, 1)), "line 1, column 3: expected the end of the text");
    assert_eq!(error("", &plan(Format::Json, 1)), "line 1, column 1: the text ends within a value");
    let fields = with_pointers(Format::Ndjson, ["", "/at", "/meta"]);
    assert!(error("{\"at\":1}\n {\"to\":1}", &fields).starts_with("line 2, column 2: the event has no time"));
    assert!(error("{\"at\":1.5}", &fields).starts_with("line 1, column 7: a time is an integer"));
    assert!(error("{\"at\":1,\"meta\":[]}", &fields).starts_with("line 1, column 16: headers must be"));
}

#[test]
fn a_time_in_the_year_2100_is_the_producers_own() {
    let plan = with_pointers(Format::Json, ["", "/at", ""]);
    let columns = events(r#"{"at":"2100-01-01T00:00:00Z"}"#, &plan);
    assert_eq!(columns.times, [4_102_444_800_000]);
}

#[test]
fn events_and_publishes_are_bounded() {
    let long = format!("\"{}\"", "x".repeat(EVENT_BYTES_MAX));
    let bytes = EVENT_BYTES_MAX + 2;
    let refused = Refused::EventTooLarge { index: 1, bytes, limit: EVENT_BYTES_MAX };
    assert_eq!(read(format!("1\n{long}").as_bytes(), &plan(Format::Ndjson, 1)).unwrap_err(), refused);
    let many = "1\n".repeat(PUBLISH_COLUMN_BYTES_MAX / 20);
    let refused = Refused::TooLarge { limit: PUBLISH_COLUMN_BYTES_MAX };
    assert_eq!(read(many.as_bytes(), &plan(Format::Ndjson, 1)).unwrap_err(), refused);
}

#[test]
fn blocks_are_cut_at_their_limit_and_keep_the_order() {
    let lines: Vec<_> = (0..500_000).map(|number| number.to_string()).collect();
    let body = lines.join("\n");
    let placed = read(body.as_bytes(), &plan(Format::Ndjson, 1)).unwrap();
    assert!(placed.blocks.len() > 1);
    assert!(placed.blocks.iter().all(|block| block.byte_len() <= crate::limits::BLOCK_BYTES_MAX));
    let numbers = placed.blocks.iter().flat_map(|block| values(&block.columns)).map(str::to_owned);
    assert!(numbers.eq((0..500_000).map(|number| number.to_string())));
}

#[test]
fn a_broken_batch_is_refused() {
    let mut columns = events("1\n2", &plan(Format::Ndjson, 1));
    columns.value_lens[1] = 9;
    let body = encode_batch(&columns);
    assert!(matches!(read(&body, &plan(Format::Batch, 1)), Err(Refused::Columns(_))));
}

#[test]
fn content_types_are_told_apart() {
    assert_eq!(Format::of_content_type("application/json; charset=utf-8"), Some(Format::Json));
    assert_eq!(Format::of_content_type("Application/X-NDJSON"), Some(Format::Ndjson));
    assert_eq!(Format::of_content_type("text/plain"), None);
}

proptest! {
    #[test]
    fn events_with_fields_come_back_as_they_were_sent(
        sent in proptest::collection::vec((".{0,8}", any::<i64>(), ".{0,8}", ".{1,4}"), 1..20),
        partitions in 1..5_u32,
        as_array in any::<bool>(),
    ) {
        let texts: Vec<String> = sent.iter().map(|(key, time, value, name)| serde_json::json!({
            "key": key, "nested": [{ "time": time }], "headers": { name: value },
        }).to_string()).collect();
        let (format, body) = if as_array {
            (Format::Json, format!("[{}]", texts.join(",")))
        } else {
            (Format::Ndjson, texts.join("\n"))
        };
        let mut plan = with_pointers(format, ["/key", "/nested/0/time", "/headers"]);
        plan.topic.partitions = partitions;
        let placed = read(body.as_bytes(), &plan).unwrap();
        let mut runs: Vec<_> = (0..partitions).map(|partition| {
            placed.blocks.iter().find(|block| block.target.partition.0 == partition)
                .map(|block| block.columns.iter().map(|event| (event.time, event.key, event.headers, event.value)).collect::<Vec<_>>())
                .unwrap_or_default().into_iter()
        }).collect();
        prop_assert_eq!(placed.order.len(), sent.len());
        for (index, (key, time, value, name)) in sent.iter().enumerate() {
            let event = runs[placed.order[index] as usize].next().unwrap();
            let mut headers = Vec::new();
            header::push(&mut headers, name, Some(value.as_bytes())).unwrap();
            prop_assert_eq!(event, (*time, Some(key.as_bytes()), &headers[..], Some(texts[index].as_bytes())));
        }
    }
}
