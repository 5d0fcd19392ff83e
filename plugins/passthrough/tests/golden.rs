//! What goes in comes out.

use tidemill_sdk::testing::{Harness, Input};

#[test]
fn every_event_comes_out_as_it_went_in() {
    let events = [
        Input::new("a").key("k").time(7).header("unit", "km").header("unit", ""),
        Input::new("").time(8),
        Input::tombstone().key("").time(9),
        Input::new("b").key("k").time(-1),
    ];
    let report = Harness::new(passthrough::passthrough).run_in_every_batching(&events);
    assert_eq!(report.values(), ["a", "", "null", "b"]);
    let keys: Vec<_> = report.emitted.iter().map(|event| event.key.as_deref()).collect();
    assert_eq!(keys, [Some(b"k".as_slice()), None, Some(b""), Some(b"k")]);
    let times: Vec<_> = report.emitted.iter().map(|event| event.time).collect();
    assert_eq!(times, [7, 8, 9, -1]);
    let headers = vec![("unit".to_owned(), Some(b"km".to_vec())), ("unit".to_owned(), Some(Vec::new()))];
    assert_eq!(report.emitted[0].headers, headers);
    assert!(report.rejected.is_empty() && report.emitted[1].headers.is_empty());
}
