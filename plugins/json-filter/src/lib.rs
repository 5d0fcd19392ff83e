//! Passes on the events whose JSON compares as asked, and of them the fields asked for. Reads of each event no
//! more than it is asked about. What is no JSON is rejected; what lacks the field is not passed on.

use std::cmp::Ordering;

use serde::Deserialize;
use tidemill_sdk::json::{LazyJson, Pointer};
use tidemill_sdk::{Context, Event, Failure};

/// What to pass on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Where the value to compare is, as a JSON pointer.
    pointer: Pointer,
    /// How to compare it.
    #[serde(default)]
    comparison: Comparison,
    /// What to compare it with: numbers with numbers as numbers, strings as text.
    value: Operand,
    /// What to keep of an event, as JSON pointers: the new event is an object of what each leads to, under its
    /// last name. Nothing: the event as it is.
    #[serde(default)]
    fields: Vec<Pointer>,
}

/// A comparison with the configured value.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Comparison {
    #[default]
    #[serde(alias = "==")]
    Equal,
    #[serde(alias = "!=")]
    NotEqual,
    #[serde(alias = "<")]
    Less,
    #[serde(alias = "<=")]
    AtMost,
    #[serde(alias = ">")]
    Greater,
    #[serde(alias = ">=")]
    AtLeast,
}

impl Comparison {
    /// Whether it holds for what compares so; what does not compare is unequal.
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order.is_some_and(Ordering::is_eq),
            Self::NotEqual => order.is_none_or(Ordering::is_ne),
            Self::Less => order.is_some_and(Ordering::is_lt),
            Self::AtMost => order.is_some_and(Ordering::is_le),
            Self::Greater => order.is_some_and(Ordering::is_gt),
            Self::AtLeast => order.is_some_and(Ordering::is_ge),
        }
    }
}

/// The configured value.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
struct Operand {
    text: String,
    /// The same as a number, if it is one.
    number: Option<f64>,
}

impl From<String> for Operand {
    fn from(text: String) -> Self {
        let number = text.parse().ok();
        Self { text, number }
    }
}

impl Operand {
    /// How `found` compares with it. `true`, `false` and `null` are equal to their word or do not compare, and
    /// neither do lists and objects.
    fn compare(&self, found: &LazyJson<'_>) -> Option<Ordering> {
        if let (Some(number), Some(found)) = (self.number, found.as_f64()) {
            return found.partial_cmp(&number);
        }
        match found.as_str() {
            Some(text) => Some(text.as_ref().cmp(self.text.as_str())),
            None => (found.raw() == self.text).then_some(Ordering::Equal),
        }
    }
}

/// Passes the event on if it compares.
#[tidemill_sdk::handler]
pub fn json_filter(event: &Event<'_>, ctx: &mut Context<'_>, config: &Config) -> Result<(), Failure> {
    let json = event.json()?;
    let Some(found) = json.get(&config.pointer)? else {
        return Ok(());
    };
    if !config.comparison.holds(config.value.compare(&found)) {
        return Ok(());
    }
    if config.fields.is_empty() {
        return ctx.forward();
    }
    ctx.emit(Projection { json, fields: &config.fields })
}

/// Some fields of an event, copied as they are written.
struct Projection<'a> {
    json: LazyJson<'a>,
    fields: &'a [Pointer],
}

impl tidemill_sdk::EventValue for Projection<'_> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        out.push(b'{');
        let mut separator: &[u8] = b"";
        for field in self.fields {
            let Some(value) = self.json.get(field)? else { continue };
            out.extend_from_slice(separator);
            separator = b",";
            tidemill_sdk::Json(field.last()).write(out)?;
            out.push(b':');
            out.extend_from_slice(value.raw().as_bytes());
        }
        out.push(b'}');
        Ok(())
    }
}
