//! What must be true of the topics after any number of kills. Pure: it is shown what was published and what
//! is read, and objects to what cannot be.
//!
//! The input topic is the model's own source: what is read from it decides what the outputs must be, and
//! what was acknowledged decides what must be in it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use serde_json::{Value, json};
use thiserror::Error;

use crate::harness::{Place, Record};

/// Attempts of the failing handler before an event is given up, as its plugin file says.
pub(super) const FLAKY_ATTEMPTS: u64 = 2;

/// Something that must not happen.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Violation(String);

macro_rules! must {
    ($holds:expr, $($message:tt)*) => {
        if !$holds {
            return Err(Violation(format!($($message)*)));
        }
    };
}

/// What happens to an event in the failing handler. Part of the event, so that it is the same at any attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is passed on.
    Pass,
    /// It is rejected by the handler.
    Reject,
    /// The handler traps on it, at every attempt.
    Trap,
    /// It is retried once, then passed on.
    Retry,
}

impl Fate {
    /// The fate as it stands in the event.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Reject => "reject",
            Self::Trap => "trap",
            Self::Retry => "retry",
        }
    }

    fn of(value: &Value) -> Self {
        match value["fate"].as_str() {
            Some("reject") => Self::Reject,
            Some("trap") => Self::Trap,
            Some("retry") => Self::Retry,
            _ => Self::Pass,
        }
    }

    fn is_dead(self) -> bool {
        matches!(self, Self::Reject | Self::Trap)
    }
}

/// The number of an event, unique in a run.
type Id = u64;

/// What the model knows. Topics are read in order, partition by partition.
#[derive(Debug, Default)]
pub struct Model {
    /// Ids of each request that was sent, by the first of them: all of them are there, or none.
    requests: BTreeMap<Id, u64>,
    /// Acknowledged events that were not yet read back: where each must be.
    owed: HashSet<(u32, u64)>,
    /// Acknowledged ids not yet read back.
    owed_ids: BTreeSet<Id>,
    /// Ids that were read from the input.
    seen: BTreeSet<Id>,
    /// Ids that were refused: they must never appear.
    refused: BTreeSet<Id>,
    /// Running count of each key, as the input has it.
    counts: HashMap<String, u64>,
    /// The next offset of each (topic, partition) that was read.
    next: HashMap<(String, u32), u64>,
    /// Outputs that must come next, by partition.
    passed: HashMap<u32, VecDeque<Id>>,
    counted: HashMap<u32, VecDeque<(String, u64)>>,
    flaky: HashMap<u32, VecDeque<Id>>,
    dead: BTreeSet<Id>,
    /// Events that a handler holds, by partition and offset.
    held: BTreeMap<(u32, u64), Id>,
}

impl Model {
    /// A request with the ids `first..first + count` is about to be sent.
    pub fn sent(&mut self, first: Id, count: u64) {
        self.requests.insert(first, count);
    }

    /// It was acknowledged with these places.
    pub fn acknowledged(&mut self, first: Id, count: u64, places: &[Place]) -> Result<(), Violation> {
        let acknowledged: u64 = places.iter().map(|place| place.count).sum();
        must!(
            acknowledged == count,
            "{count} events were published, {acknowledged} were acknowledged: {places:?}"
        );
        for place in places {
            for offset in place.offset..place.offset + place.count {
                must!(
                    self.owed.insert((place.partition, offset)),
                    "partition {} offset {offset} was acknowledged twice",
                    place.partition
                );
            }
        }
        self.owed_ids.extend(first..first + count);
        Ok(())
    }

    /// It was refused: none of its events may ever be seen.
    pub fn refused(&mut self, first: Id, count: u64) {
        self.requests.remove(&first);
        self.refused.extend(first..first + count);
    }

    /// The next offset to read of a partition.
    pub fn next(&self, topic: &str, partition: u32) -> u64 {
        self.next.get(&(topic.to_owned(), partition)).copied().unwrap_or(0)
    }

    fn advance(&mut self, topic: &str, partition: u32, offset: u64) -> Result<(), Violation> {
        let next = self.next.entry((topic.to_owned(), partition)).or_default();
        must!(offset == *next, "{topic} partition {partition}: offset {offset} was read, {next} was due");
        *next += 1;
        Ok(())
    }

    /// An event of the input was read.
    pub fn input(&mut self, partition: u32, record: &Record) -> Result<(), Violation> {
        self.advance("events", partition, record.offset)?;
        let id = id_of(record)?;
        must!(self.seen.insert(id), "event {id} is in the input twice");
        must!(!self.refused.contains(&id), "event {id} was refused, and is in the input");
        self.owed.remove(&(partition, record.offset));
        self.owed_ids.remove(&id);
        let key = record.key.clone().unwrap_or_default();
        let count = self.counts.entry(key.clone()).or_default();
        *count += 1;
        self.counted.entry(partition).or_default().push_back((key, *count));
        self.passed.entry(partition).or_default().push_back(id);
        if Fate::of(&record.value).is_dead() {
            self.dead.insert(id);
        } else {
            self.flaky.entry(partition).or_default().push_back(id);
        }
        Ok(())
    }

    /// All partitions of the input were read to their end after a restart: what was acknowledged is there,
    /// and each request in whole or not at all.
    pub fn input_ends(&mut self) -> Result<(), Violation> {
        must!(
            self.owed_ids.is_empty(),
            "{} acknowledged events are gone, the first is {:?}",
            self.owed_ids.len(),
            self.owed_ids.first()
        );
        must!(self.owed.is_empty(), "acknowledged places are empty: {:?}", self.owed.iter().next());
        for (first, count) in std::mem::take(&mut self.requests) {
            let seen = self.seen.range(first..first + count).count() as u64;
            must!(
                seen == 0 || seen == count,
                "{seen} of the {count} events published with {first} are there"
            );
        }
        Ok(())
    }

    /// An output of `passthrough` was read.
    pub fn passed(&mut self, partition: u32, record: &Record) -> Result<(), Violation> {
        self.advance("passed", partition, record.offset)?;
        let id = id_of(record)?;
        let due = self.passed.entry(partition).or_default().pop_front();
        must!(due == Some(id), "passed partition {partition} has {id} where {due:?} is due");
        Ok(())
    }

    /// An output of the keyed count was read.
    pub fn counted(&mut self, partition: u32, record: &Record) -> Result<(), Violation> {
        self.advance("counted", partition, record.offset)?;
        let count = record.value["count"].as_u64();
        let due = self.counted.entry(partition).or_default().pop_front();
        let is_due =
            due.as_ref().is_some_and(|(key, due)| Some(key) == record.key.as_ref() && Some(*due) == count);
        must!(is_due, "counted partition {partition} has {record:?} where {due:?} is due");
        Ok(())
    }

    /// An output of the failing handler was read.
    pub fn flaky(&mut self, partition: u32, record: &Record) -> Result<(), Violation> {
        self.advance("flaky", partition, record.offset)?;
        let id = id_of(record)?;
        let due = self.flaky.entry(partition).or_default().pop_front();
        must!(due == Some(id), "flaky partition {partition} has {id} where {due:?} is due");
        Ok(())
    }

    /// A dead letter of the failing handler was read.
    pub fn dead(&mut self, partition: u32, record: &Record) -> Result<(), Violation> {
        self.advance("_dead.flaky", partition, record.offset)?;
        let id = id_of(record)?;
        must!(self.dead.remove(&id), "dead letter {id} is not due, or came twice: {record:?}");
        Ok(())
    }

    /// An event was acknowledged that a handler holds from now on. All of them have one key.
    pub fn hold(&mut self, place: (u32, u64), id: Id) {
        self.held.insert(place, id);
    }

    /// The handler is about to go past all that it holds.
    pub fn let_go(&mut self) {
        self.held.clear();
    }

    /// Where the events begin that are held.
    pub fn held(&self) -> Option<(u32, u64)> {
        self.held.keys().next().copied()
    }

    /// The topic of held events was read from where they begin: whatever retention let go, these are there.
    pub fn holds(&self, records: &[Record]) -> Result<(), Violation> {
        for (&(partition, offset), id) in &self.held {
            let found = records.iter().find(|record| record.offset == offset);
            must!(
                found.is_some_and(|record| record.value["id"].as_u64() == Some(*id)),
                "event {id} is held at offset {offset} of partition {partition}, and {found:?} is there"
            );
        }
        Ok(())
    }

    /// Outputs and dead letters that are still to come.
    pub fn outstanding(&self) -> usize {
        let queued = |queues: &HashMap<u32, VecDeque<Id>>| queues.values().map(VecDeque::len).sum::<usize>();
        let counted = self.counted.values().map(VecDeque::len).sum::<usize>();
        queued(&self.passed) + counted + queued(&self.flaky) + self.dead.len()
    }

    /// Events read from the input so far.
    pub fn events(&self) -> usize {
        self.seen.len()
    }
}

fn id_of(record: &Record) -> Result<Id, Violation> {
    record.value["id"]
        .as_u64()
        .ok_or_else(|| Violation(format!("an event that was never published: {record:?}")))
}

/// The event with this id as a line of JSON.
pub(super) fn line(id: Id, key: u64, fate: Fate) -> String {
    json!({ "id": id, "key": format!("k{key}"), "fate": fate.name(), "pad": "x".repeat(40) }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: u64, id: Id) -> Record {
        Record {
            offset,
            key: Some("k1".to_owned()),
            headers: Value::Null,
            value: serde_json::from_str(&line(id, 1, Fate::Pass)).unwrap(),
        }
    }

    const PLACE: Place = Place { partition: 0, offset: 0, count: 2 };

    #[test]
    fn an_acknowledged_event_that_is_gone_is_found() {
        let mut model = Model::default();
        model.sent(1, 2);
        model.acknowledged(1, 2, &[PLACE]).unwrap();
        model.input(0, &record(0, 1)).unwrap();
        assert!(model.input_ends().is_err());
    }

    #[test]
    fn a_held_event_that_is_gone_is_found() {
        let mut model = Model::default();
        model.hold((0, 3), 7);
        model.holds(&[record(3, 7), record(4, 9)]).unwrap();
        assert!(model.holds(&[record(4, 9)]).is_err() && model.holds(&[record(3, 9)]).is_err());
        model.let_go();
        model.holds(&[]).unwrap();
    }

    #[test]
    fn half_a_request_is_found() {
        let mut model = Model::default();
        model.sent(1, 2);
        model.input(0, &record(0, 1)).unwrap();
        assert!(model.input_ends().is_err());
    }

    #[test]
    fn an_unanswered_request_may_be_there_or_not() {
        for there in [false, true] {
            let mut model = Model::default();
            model.sent(1, 1);
            if there {
                model.input(0, &record(0, 1)).unwrap();
            }
            model.input_ends().unwrap();
        }
    }

    #[test]
    fn an_output_twice_out_of_order_or_without_cause_is_found() {
        let mut model = Model::default();
        for (offset, id) in [(0, 7), (1, 8)] {
            model.input(0, &record(offset, id)).unwrap();
        }
        assert!(model.passed(0, &record(0, 8)).is_err());
        let mut model = Model::default();
        model.input(0, &record(0, 7)).unwrap();
        model.passed(0, &record(0, 7)).unwrap();
        assert!(model.passed(0, &record(1, 7)).is_err());
    }

    #[test]
    fn a_gap_in_the_offsets_is_found() {
        let mut model = Model::default();
        assert!(model.input(0, &record(1, 7)).is_err());
    }
}
