//! A handler that keeps state for a while only, for the soak harness: each session of a key has a count of its own,
//! which goes with the session's last event. Keys of state come and go for ever, and few are there at a time.

use serde::Deserialize;
use tidemill_sdk::Cell;
use tidemill_sdk::prelude::*;

/// Events of a session.
const EVENTS: u64 = 16;

/// What an event says of itself.
#[derive(Deserialize)]
struct Told<'a> {
    key: &'a str,
    /// Its number among the events of its key, from 0 on.
    seq: u64,
}

/// How many events of a session were seen.
static SEEN: Cell<u64> = Cell::new("seen");

/// Counts the event; at the last of a session emits the count, and forgets it.
#[tidemill_sdk::handler]
pub fn sessions(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    let told = event.json_as::<Told<'_>>()?;
    let session = told.seq / EVENTS;
    let mut seen = ctx.cell_at(&SEEN, format!("{}/{session}", told.key))?;
    let count = seen.get().copied().unwrap_or_default() + 1;
    if told.seq % EVENTS + 1 < EVENTS {
        seen.set(count);
        return Ok(());
    }
    seen.remove();
    ctx.emit(format!(r#"{{"session":{session},"count":{count}}}"#))
}

#[cfg(test)]
mod tests {
    use tidemill_sdk::testing::{Harness, Input};

    use super::*;

    #[test]
    fn a_session_ends_with_its_count_and_leaves_nothing() {
        let event = |seq: u64| Input::new(format!(r#"{{"key":"k","seq":{seq}}}"#)).key("k");
        let events: Vec<_> = (0..2 * EVENTS + 3).map(event).collect();
        let report = Harness::new(sessions).run_in_every_batching(&events);
        assert_eq!(report.values(), [r#"{"session":0,"count":16}"#, r#"{"session":1,"count":16}"#]);
        let left: Vec<_> = report.state.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        assert_eq!(left, ["seen\0k/2"]);
    }
}
