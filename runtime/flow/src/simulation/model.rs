//! What must come out, whatever happens on the way: computed from the inputs alone.

use std::collections::BTreeMap;

use tidemill_bus::TopicPartition;

use super::handler::Vice;
use super::log::Kept;

/// An emitted or dead event: the partition and offset that it comes from, and its value.
pub(super) type Made = (TopicPartition, u64, Vec<u8>);

/// What the inputs of one driver come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// Events on the first output.
    pub(super) out: Vec<Made>,
    /// Events on the second.
    pub(super) also: Vec<Made>,
    /// Dead letters with their kind and the attempts made.
    pub(super) dead: Vec<(Made, &'static str, u32)>,
    /// The counts by key.
    pub(super) state: BTreeMap<Vec<u8>, u64>,
}

/// What becomes of an event that fails, by its vice: the kind of failure and the attempts, if it is given up.
fn failure(vice: Vice, attempts: u32) -> Option<(&'static str, u32)> {
    match vice {
        Vice::Good | Vice::Twice | Vice::Silent => None,
        Vice::Later | Vice::Flaky if attempts >= 3 => None,
        Vice::Reject | Vice::Stray => Some(("rejected", 1)),
        Vice::Trap | Vice::Flaky => Some(("trap", attempts)),
        Vice::Spin => Some(("deadline", attempts)),
        Vice::Hoard => Some(("memory", attempts)),
        Vice::Lie => Some(("lie", attempts)),
        Vice::Refuse => Some(("error", attempts)),
        Vice::Stop | Vice::Later => Some(("stopped", attempts)),
    }
}

/// Adds what the events of one partition come to, `attempts` being made at each.
pub(super) fn expect(expected: &mut Expected, source: TopicPartition, events: &[Kept], attempts: u32) {
    for event in events {
        let value = event.value.clone().unwrap();
        let vice = Vice::of(&value);
        let made = (source, event.offset, value);
        if let Some((kind, attempts)) = failure(vice, attempts) {
            expected.dead.push((made, kind, attempts));
            continue;
        }
        let key = event.key.clone().unwrap_or_else(|| b"none".to_vec());
        *expected.state.entry(key).or_default() += 1;
        match vice {
            Vice::Silent => {}
            Vice::Twice => {
                expected.out.push(made.clone());
                expected.also.push(made);
            }
            _ => expected.out.push(made),
        }
    }
}
