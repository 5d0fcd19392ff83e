//! Keeps count, sum, mean, minimum and maximum of a number per key, and emits them at each event. An event without
//! the number is rejected. State belongs to the partition, so events of one key must come in one: publish with
//! that key.

use serde::{Deserialize, Serialize};
use tidemill_sdk::json::Pointer;
use tidemill_sdk::{Cell, Context, Event, Failure, Json};

/// What to aggregate.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Where the number is, as a JSON pointer; empty if the whole value is the number.
    pointer: Pointer,
}

/// What is kept of each key, and emitted. Numbers are added in the order of the events, as doubles.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Aggregate {
    count: u64,
    sum: f64,
    mean: f64,
    min: f64,
    max: f64,
}

impl Aggregate {
    #[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is out of reach")]
    fn add(&mut self, number: f64) {
        let first = self.count == 0;
        self.count += 1;
        self.sum += number;
        self.mean = self.sum / self.count as f64;
        self.min = if first { number } else { self.min.min(number) };
        self.max = if first { number } else { self.max.max(number) };
    }
}

/// The aggregate of each key.
static AGGREGATE: Cell<Json<Aggregate>> = Cell::new("aggregate");

/// Adds the event's number to the aggregate of its key.
#[tidemill_sdk::handler]
pub fn aggregate(event: &Event<'_>, ctx: &mut Context<'_>, config: &Config) -> Result<(), Failure> {
    let found = event.json()?.get(&config.pointer)?;
    let number = found.and_then(|found| found.as_f64());
    let number = number.ok_or_else(|| Failure::reject(format!("no number at `{}`", config.pointer)))?;
    let aggregate = ctx.cell(&AGGREGATE)?.update(|aggregate| {
        aggregate.add(number);
        *aggregate
    });
    ctx.emit(aggregate)
}
