//! Whether an output agrees with itself and with the batch: the border where guest bytes become ours. Counts
//! in 64 bits; knows no topic by name.

use thiserror::Error;
use tidemill_bus::{Batch, block::header, transaction::StateWrites};

use crate::limits;
use crate::output::Output;

/// An output that passed: its columns may be walked without further checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked<'a>(&'a Output);

impl<'a> Checked<'a> {
    /// The output.
    pub(crate) fn output(self) -> &'a Output {
        self.0
    }
}

/// What is wrong with an output.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Lie {
    #[error("{settled} events are settled of a batch of {count}")]
    SettledTooMany { settled: u32, count: usize },
    #[error("{settled} of {count} events are settled, and no stop says why the next was not")]
    StopMissing { settled: u32, count: usize },
    #[error("all {0} events are settled, and still a stop is given")]
    StopNeedless(usize),
    #[error("rejection {at} names event {index}, which is {fault}")]
    Rejected { at: usize, index: u32, fault: &'static str },
    #[error("column {column} has {found} entries, {expected} were expected")]
    Ragged { column: &'static str, found: usize, expected: usize },
    #[error("emitted event {at} names topic {index} of {count}")]
    Topic { at: usize, index: u16, count: usize },
    #[error("emitted event {at} names event {index} as its cause, which is {fault}")]
    Cause { at: usize, index: u32, fault: &'static str },
    #[error("column {column} has the length {length} at {at}")]
    Negative { column: &'static str, at: usize, length: i32 },
    #[error("the lengths of {columns} add up to {sum} bytes, the data has {data}")]
    Sum { columns: &'static str, sum: u64, data: usize },
    #[error("the headers of emitted event {at} are broken: {what}")]
    Headers { at: usize, what: &'static str },
    #[error("{what} {at} of the state has {bytes} bytes, the limit is {limit}")]
    State { what: &'static str, at: usize, bytes: u64, limit: usize },
}

/// Checks everything that `output` says about itself and about `batch`.
pub(crate) fn check<'a>(output: &'a Output, batch: &Batch) -> Result<Checked<'a>, Lie> {
    check_settled(output, batch.len())?;
    check_rejected(output)?;
    check_causes(output)?;
    check_topics(output)?;
    check_events(output)?;
    check_state(&output.state)?;
    Ok(Checked(output))
}

fn check_settled(output: &Output, count: usize) -> Result<(), Lie> {
    let settled = output.settled;
    match (settled as usize).cmp(&count) {
        std::cmp::Ordering::Greater => Err(Lie::SettledTooMany { settled, count }),
        std::cmp::Ordering::Less if output.stopped.is_none() => Err(Lie::StopMissing { settled, count }),
        std::cmp::Ordering::Equal if output.stopped.is_some() => Err(Lie::StopNeedless(count)),
        _ => Ok(()),
    }
}

fn check_rejected(output: &Output) -> Result<(), Lie> {
    let mut least = 0;
    for (at, failure) in output.rejected.iter().enumerate() {
        let index = failure.index;
        if index >= output.settled {
            return Err(Lie::Rejected { at, index, fault: "not settled" });
        }
        if index < least {
            return Err(Lie::Rejected { at, index, fault: "not after the one before" });
        }
        least = index + 1;
    }
    Ok(())
}

fn check_causes(output: &Output) -> Result<(), Lie> {
    let mut rejected = output.rejected.iter().map(|failure| failure.index).peekable();
    let mut last = 0;
    for (at, &index) in output.cause_of.iter().enumerate() {
        if index >= output.settled {
            return Err(Lie::Cause { at, index, fault: "not settled" });
        }
        if index < last {
            return Err(Lie::Cause { at, index, fault: "before the cause of the one before" });
        }
        last = index;
        while rejected.next_if(|&rejected| rejected < index).is_some() {}
        if rejected.peek() == Some(&index) {
            return Err(Lie::Cause { at, index, fault: "rejected" });
        }
    }
    Ok(())
}

fn check_topics(output: &Output) -> Result<(), Lie> {
    check_column("topic-of", output.topic_of.len(), output.cause_of.len())?;
    let count = output.topics.len();
    let beyond = |&(_, &index): &(usize, &u16)| usize::from(index) >= count;
    match output.topic_of.iter().enumerate().find(beyond) {
        Some((at, &index)) => Err(Lie::Topic { at, index, count }),
        None => Ok(()),
    }
}

/// A column that is left away or has one entry for each event.
fn check_column(column: &'static str, found: usize, expected: usize) -> Result<(), Lie> {
    if found == 0 || found == expected {
        return Ok(());
    }
    Err(Lie::Ragged { column, found, expected })
}

fn check_events(output: &Output) -> Result<(), Lie> {
    let (events, expected) = (&output.events, output.cause_of.len());
    check_column("times", events.times.len(), expected)?;
    check_column("key-lens", events.key_lens.len(), expected)?;
    check_column("header-lens", events.header_lens.len(), expected)?;
    if events.value_lens.len() != expected {
        return Err(Lie::Ragged { column: "value-lens", found: events.value_lens.len(), expected });
    }
    let headers: u64 = events.header_lens.iter().map(|&len| u64::from(len)).sum();
    let sum = sum_nullable("key-lens", &events.key_lens)?
        + sum_nullable("value-lens", &events.value_lens)?
        + headers;
    if sum != events.data.len() as u64 {
        return Err(Lie::Sum { columns: "the emitted events", sum, data: events.data.len() });
    }
    if headers == 0 { Ok(()) } else { check_headers(output) }
}

/// Parses the headers of all events; the lengths are known to add up.
fn check_headers(output: &Output) -> Result<(), Lie> {
    let events = &output.events;
    let mut data = events.data.as_slice();
    for (at, (&headers, &value)) in events.header_lens.iter().zip(&events.value_lens).enumerate() {
        let key = events.key_lens.get(at).map_or(0, |&len| width(len));
        let (_, rest) = data.split_at(key);
        let (headers, rest) = rest.split_at(headers as usize);
        header::check(headers).map_err(|what| Lie::Headers { at, what })?;
        data = &rest[width(value)..];
    }
    Ok(())
}

fn check_state(state: &StateWrites) -> Result<(), Lie> {
    let expected = state.key_lens.len();
    if state.value_lens.len() != expected {
        let found = state.value_lens.len();
        return Err(Lie::Ragged { column: "state-value-lens", found, expected });
    }
    let (key_limit, value_limit) = (limits::STATE_KEY_BYTES, limits::STATE_VALUE_BYTES);
    let mut sum = sum_nullable("state-value-lens", &state.value_lens)?;
    for (at, (&key, &value)) in state.key_lens.iter().zip(&state.value_lens).enumerate() {
        sum += u64::from(key);
        if key as usize > key_limit {
            return Err(Lie::State { what: "key", at, bytes: key.into(), limit: key_limit });
        }
        if width(value) > value_limit {
            let bytes = width(value) as u64;
            return Err(Lie::State { what: "value", at, bytes, limit: value_limit });
        }
    }
    if sum == state.data.len() as u64 {
        return Ok(());
    }
    Err(Lie::Sum { columns: "the state writes", sum, data: state.data.len() })
}

/// Bytes that a length stands for; null has none.
pub(super) fn width(len: i32) -> usize {
    usize::try_from(len).unwrap_or(0)
}

/// Sum of a column in which −1 is null.
fn sum_nullable(column: &'static str, lens: &[i32]) -> Result<u64, Lie> {
    let mut sum = 0;
    let mut lowest = 0;
    for &len in lens {
        lowest = lowest.min(len);
        sum += u64::from(len.max(0).unsigned_abs());
    }
    match lens.iter().position(|&len| len < -1) {
        Some(at) if lowest < -1 => Err(Lie::Negative { column, at, length: lens[at] }),
        _ => Ok(sum),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemill_bus::{Columns, Event, Offset, Partition, TopicId, TopicPartition};

    use super::*;
    use crate::output::{Failure, Stop};

    const SOURCE: TopicPartition = TopicPartition { topic: TopicId(1), partition: Partition(0) };

    fn batch(count: usize) -> Batch {
        let mut columns = Columns::default();
        for _ in 0..count {
            columns.push(Event { time: 1, key: Some(b"key"), headers: &[], value: Some(b"value") });
        }
        let mut batch = Batch::new(SOURCE);
        batch.extend_from(&columns, 0..count, 0..columns.data.len(), (Offset(5), 0));
        batch
    }

    /// What an honest encoder makes of three events: one passed on, one rejected, one that makes two.
    fn honest() -> Output {
        let mut raw = Vec::new();
        header::push(&mut raw, "name", Some(b"value")).unwrap();
        let mut events = Columns::default();
        for headers in [&[][..], &raw, &[]] {
            events.push(Event { time: 9, key: Some(b"k"), headers, value: Some(b"v") });
        }
        let mut state = StateWrites::default();
        state.push(b"cell", Some(b"1"));
        state.push(b"gone", None);
        Output {
            settled: 3,
            rejected: vec![Failure { index: 1, reason: "no number".to_owned() }],
            stopped: None,
            topics: vec!["a".to_owned(), "b".to_owned()],
            topic_of: vec![0, 1, 0],
            cause_of: vec![0, 2, 2],
            events,
            state,
        }
    }

    #[test]
    fn an_honest_output_passes() {
        assert!(check(&honest(), &batch(3)).is_ok());
        let stop = Some(Stop { reason: "later".to_owned(), after_ms: None });
        assert!(check(&Output { stopped: stop, ..honest() }, &batch(4)).is_ok());
        assert!(check(&Output { settled: 3, ..Output::default() }, &batch(3)).is_ok());
    }

    #[test]
    fn columns_may_be_left_away() {
        let events = Columns { value_lens: vec![1, -1], data: b"v".to_vec(), ..Columns::default() };
        let output = Output { settled: 2, cause_of: vec![0, 1], events, ..Output::default() };
        assert!(check(&output, &batch(2)).is_ok());
    }

    type Lies = fn(&mut Output);

    /// One lie each, told in an output that is honest otherwise.
    #[test]
    fn every_lie_is_found_and_named() {
        let lies: Vec<(&str, Lies)> = vec![
            ("4 events are settled of a batch of 3", |o| o.settled = 4),
            ("no stop says why", |o| o.settled = 2),
            ("still a stop is given", |o| o.stopped = Some(Stop { reason: String::new(), after_ms: None })),
            ("rejection 0 names event 3, which is not settled", |o| o.rejected[0].index = 3),
            ("not after the one before", |o| o.rejected.push(o.rejected[0].clone())),
            ("names event 1 as its cause, which is rejected", |o| o.cause_of = vec![0, 1, 2]),
            ("before the cause of the one before", |o| o.cause_of = vec![2, 0, 2]),
            ("names event 7 as its cause, which is not settled", |o| o.cause_of[2] = 7),
            ("column topic-of has 2 entries, 3 were expected", |o| o.topic_of.truncate(2)),
            ("names topic 2 of 2", |o| o.topic_of[1] = 2),
            ("column times has 1 entries", |o| o.events.times.truncate(1)),
            ("column key-lens has 2 entries", |o| o.events.key_lens.truncate(2)),
            ("column header-lens has 4 entries", |o| o.events.header_lens.push(0)),
            ("column value-lens has 0 entries", |o| o.events.value_lens.clear()),
            ("column key-lens has the length -2 at 1", |o| o.events.key_lens[1] = -2),
            ("add up to", |o| o.events.value_lens = vec![i32::MAX; 3]),
            ("the lengths of the emitted events add up to", |o| o.events.data.push(0)),
            ("the headers of emitted event 1 are broken", |o| o.events.data[3] = 200),
            ("column state-value-lens has 1 entries", |o| o.state.value_lens.truncate(1)),
            ("column state-value-lens has the length -5", |o| o.state.value_lens[0] = -5),
            ("the lengths of the state writes add up to", |o| o.state.data.clear()),
            ("key 1 of the state has 4097 bytes", |o| o.state.key_lens[1] = 4097),
            ("value 0 of the state has 1048577 bytes", |o| o.state.value_lens[0] = (1 << 20) + 1),
        ];
        for (expected, lie) in lies {
            let mut output = honest();
            lie(&mut output);
            let found = check(&output, &batch(3)).expect_err(expected).to_string();
            assert!(found.contains(expected), "{found} is not {expected}");
        }
    }

    #[test]
    fn state_at_its_limits_passes() {
        let mut output = honest();
        output.state.push(&[1; limits::STATE_KEY_BYTES], Some(&vec![2; limits::STATE_VALUE_BYTES]));
        assert!(check(&output, &batch(3)).is_ok());
    }

    fn lens() -> impl Strategy<Value = Vec<i32>> {
        proptest::collection::vec(prop_oneof![-2..6_i32, Just(i32::MAX)], 0..5)
    }

    prop_compose! {
        fn any_output()(
            settled in 0..5_u32,
            rejected in proptest::collection::vec(0..5_u32, 0..3),
            stopped: bool,
            topics in 0..3_usize,
            topic_of in proptest::collection::vec(0..4_u16, 0..5),
            cause_of in proptest::collection::vec(0..5_u32, 0..5),
            times in proptest::collection::vec(any::<i64>(), 0..5),
            lens in (lens(), lens(), lens()),
            header_lens in proptest::collection::vec(prop_oneof![0..6_u32, Just(u32::MAX)], 0..5),
            state_key_lens in proptest::collection::vec(0..6_u32, 0..5),
            data in (proptest::collection::vec(any::<u8>(), 0..30), proptest::collection::vec(any::<u8>(), 0..30)),
        ) -> Output {
            let (key_lens, value_lens, state_value_lens) = lens;
            Output {
                settled,
                rejected: rejected.into_iter().map(|index| Failure { index, reason: String::new() }).collect(),
                stopped: stopped.then(|| Stop { reason: String::new(), after_ms: None }),
                topics: vec!["t".to_owned(); topics],
                topic_of,
                cause_of,
                events: Columns { times, key_lens, header_lens, value_lens, data: data.0 },
                state: StateWrites { key_lens: state_key_lens, value_lens: state_value_lens, data: data.1 },
            }
        }
    }

    proptest! {
        #[test]
        fn the_check_never_panics_and_what_passes_can_be_walked(output in any_output(), count in 0..5_usize) {
            if let Ok(checked) = check(&output, &batch(count)) {
                let output = checked.output();
                prop_assert_eq!(output.state.iter().count(), output.state.len());
                let widths: usize = (0..output.cause_of.len()).map(|at| {
                    output.events.key_lens.get(at).map_or(0, |&len| width(len))
                        + output.events.header_lens.get(at).map_or(0, |&len| len as usize)
                        + width(output.events.value_lens[at])
                }).sum();
                prop_assert_eq!(widths, output.events.data.len());
            }
        }
    }
}
