//! A handler that rolls a die for each event and keeps the score of its partition: chance, clock and state in one, and
//! all of it the same whenever the same events are processed again, in whatever batches.

use tidemill_sdk::Cell;
use tidemill_sdk::prelude::*;

/// The sum of all rolls of the partition.
static SCORE: Cell<u64> = Cell::new("score");

/// Rolls for the event. The player that the score names is the key of what comes out.
#[tidemill_sdk::handler]
pub fn dice(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    if event.text()?.contains("\"foul\"") {
        return Err(Failure::reject("a foul"));
    }
    let roll = ctx.random().below(6) + 1;
    let score = ctx.cell_at(&SCORE, "all")?.update(|score| {
        *score += roll;
        *score
    });
    let player = format!("player-{}", score % 20);
    ctx.compose(format!("{{\"roll\":{roll},\"score\":{score}}}"))
        .key(&player)
        .time(event.append_time() + 1)
        .header("from", event.partition().to_string())
        .emit()
}

#[cfg(test)]
mod tests {
    use tidemill_sdk::testing::{Harness, Input};

    use super::*;

    #[test]
    fn a_foul_costs_nothing_and_rolls_add_up() {
        let inputs = ["1", "\"foul\"", "2"].map(Input::new);
        let report = Harness::new(dice).run(&inputs);
        let numbers = |value: &str| -> Vec<u64> {
            value.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
        };
        let rolled: Vec<_> = report.values().iter().map(|value| numbers(value)).collect();
        let [first, second] = rolled.as_slice() else { panic!("{rolled:?}") };
        assert_eq!((first[0], first[1] + second[0]), (first[1], second[1]));
    }
}
