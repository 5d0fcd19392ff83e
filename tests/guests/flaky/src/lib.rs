//! A handler that fails as its events say, for the kill harness: the same event fails in the same way each time.

use std::time::Duration;

use serde::Deserialize;
use tidemill_sdk::prelude::*;

/// What an event says of itself.
#[derive(Deserialize)]
struct Told<'a> {
    fate: &'a str,
}

#[tidemill_sdk::handler]
fn flaky(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    match event.json_as::<Told<'_>>()?.fate {
        "reject" => Err(Failure::reject("told to reject")),
        "trap" => panic!("told to trap"),
        "retry" if event.attempt() == 1 => {
            Err(Failure::retry("told to try again").after(Duration::from_millis(5)))
        }
        _ => ctx.forward(),
    }
}

#[cfg(test)]
mod tests {
    use tidemill_sdk::testing::{Harness, Input};

    use super::*;

    #[test]
    fn each_event_meets_its_fate() {
        let told = |fate: &str| Input::new(format!(r#"{{"fate":"{fate}"}}"#));
        let report = Harness::new(flaky).run(&[told("pass"), told("reject"), told("retry")]);
        assert_eq!(report.values(), [r#"{"fate":"pass"}"#]);
    }
}
