//! Emitted events on their way to partitions: the partition of each by its key, the columns of each partition
//! built once, checksummed. The hot path: nothing is allocated per event. Knows no topic by name.

use std::sync::Arc;

use tidemill_bus::block::body_crc;
use tidemill_bus::transaction::{Cause, NewBlock};
use tidemill_bus::{Batch, Columns, HandlerId, Partition, TopicId, TopicPartition, partition};

use super::Checked;
use super::check::width;
use crate::limits;
use crate::output::{Failure, Output};

/// Where a topic that an output names leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To a topic.
    Topic {
        /// Its id.
        id: TopicId,
        /// Its number of partitions, at least one.
        partitions: u32,
    },
    /// Nowhere, for this reason.
    Refused(String),
}

/// The emitted events of a call, and what they need to be placed.
#[derive(Clone, Copy)]
pub(crate) struct Emission<'a> {
    /// What the handler returned.
    pub(crate) output: Checked<'a>,
    /// What it was called with.
    pub(crate) batch: &'a Batch,
    /// Where each of the output's topics leads; if it names none, where the first declared one does.
    pub(crate) targets: &'a [Target],
}

/// Scatters emitted events. Keeps its tables between calls; one for each worker.
#[derive(Default)]
pub(crate) struct Scatter {
    /// Each event's slot, or [`NONE`].
    slot_of: Vec<u32>,
    /// The blocks to be made.
    slots: Vec<Slot>,
    /// For each partition of each target its slot, or [`NONE`]. All [`NONE`] between calls.
    table: Vec<u32>,
    /// Where each target's partitions begin in `table`.
    bases: Vec<usize>,
}

const NONE: u32 = u32::MAX;

/// A block to be made.
struct Slot {
    target: TopicPartition,
    /// Its place in the table.
    place: usize,
    events: usize,
    bytes: usize,
}

/// An emitted event with its defaults filled in.
struct Emitted<'a> {
    at: usize,
    cause: usize,
    time: i64,
    key: Option<&'a [u8]>,
    header_len: u32,
    value_len: i32,
    /// Headers and value.
    rest: &'a [u8],
}

impl Emitted<'_> {
    fn data_len(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.rest.len()
    }
}

impl Scatter {
    /// Events of the batch whose emitted events cannot be placed, in ascending order, with the reason: they
    /// emit to a topic that is refused, or more than an event may have.
    pub(crate) fn refused(emission: Emission<'_>) -> Vec<Failure> {
        let output = emission.output.output();
        let most = output.events.data.len() + emission.batch.columns.data.len();
        let all_placed = emission.targets.iter().all(|target| matches!(target, Target::Topic { .. }));
        if all_placed && most <= limits::EVENT_BYTES {
            return Vec::new();
        }
        let mut refused: Vec<Failure> = Vec::new();
        for event in walk(emission) {
            let index = output.cause_of[event.at];
            if refused.last().is_some_and(|last| last.index == index) {
                continue;
            }
            let target = &emission.targets[topic_of(output, event.at)];
            if let Target::Refused(reason) = target {
                refused.push(Failure { index, reason: reason.clone() });
            } else if event.data_len() > limits::EVENT_BYTES {
                let (bytes, limit) = (event.data_len(), limits::EVENT_BYTES);
                let reason = format!("emitted an event of {bytes} bytes, the limit is {limit}");
                refused.push(Failure { index, reason });
            }
        }
        refused
    }

    /// The blocks of all emitted events but those of `refused`, each event in the partition of its key, or
    /// without a key in that of the source.
    pub(crate) fn blocks(
        &mut self,
        emission: Emission<'_>,
        refused: &[Failure],
        handler: HandlerId,
    ) -> Vec<NewBlock> {
        if emission.output.output().cause_of.is_empty() {
            return Vec::new();
        }
        self.place(emission, refused);
        let mut columns: Vec<_> = self.slots.iter().map(Slot::columns).collect();
        match columns.as_mut_slice() {
            [all] if refused.is_empty() => fill_whole(emission, all),
            columns => self.fill(emission, columns),
        }
        for slot in &self.slots {
            self.table[slot.place] = NONE;
        }
        let (source, first) = (emission.batch.source, emission.batch.base_offset);
        let block = |(slot, (columns, events)): (Slot, (Columns, Vec<u32>))| NewBlock {
            target: slot.target,
            body_crc: body_crc(&columns, Some(&events)),
            columns: Arc::new(columns),
            cause: Some(Arc::new(Cause { handler, source, first, events })),
        };
        self.slots.drain(..).zip(columns).map(block).collect()
    }

    /// Finds each event's slot, and how much comes into each.
    fn place(&mut self, emission: Emission<'_>, refused: &[Failure]) {
        let output = emission.output.output();
        self.lay_out(emission.targets);
        self.slot_of.clear();
        let mut refused = refused.iter().map(|failure| failure.index as usize).peekable();
        let source = emission.batch.source.partition;
        for event in walk(emission) {
            while refused.next_if(|&refused| refused < event.cause).is_some() {}
            if refused.peek() == Some(&event.cause) {
                self.slot_of.push(NONE);
                continue;
            }
            let topic = topic_of(output, event.at);
            let Target::Topic { id, partitions } = emission.targets[topic] else {
                unreachable!("the causes of what goes to a refused topic are refused");
            };
            let partition = match event.key {
                Some(key) => partition::of_key(key, partitions),
                None => Partition(source.0 % partitions),
            };
            let place = self.bases[topic] + partition.0 as usize;
            let slot = self.slot(place, TopicPartition { topic: id, partition }, event.data_len());
            self.slot_of.push(slot);
        }
    }

    fn lay_out(&mut self, targets: &[Target]) {
        self.bases.clear();
        let mut places = 0;
        for target in targets {
            self.bases.push(places);
            if let Target::Topic { partitions, .. } = target {
                places += *partitions as usize;
            }
        }
        if self.table.len() < places {
            self.table.resize(places, NONE);
        }
    }

    /// The slot of an event at `place`, with the event counted in: a new one if the last is full.
    fn slot(&mut self, place: usize, target: TopicPartition, data_len: usize) -> u32 {
        let bytes = Columns::BYTES_PER_EVENT + size_of::<u32>() + data_len;
        let at = self.table[place];
        if let Some(slot) = self.slots.get_mut(at as usize)
            && slot.bytes + bytes <= limits::BLOCK_BYTES
        {
            slot.events += 1;
            slot.bytes += bytes;
            return at;
        }
        let at = u32::try_from(self.slots.len()).expect("an output has fewer events than 2^32");
        self.slots.push(Slot { target, place, events: 1, bytes });
        self.table[place] = at;
        at
    }

    /// Copies each event into the columns of its slot, and the offset of its cause beside it.
    fn fill(&self, emission: Emission<'_>, columns: &mut [(Columns, Vec<u32>)]) {
        let deltas = &emission.batch.offset_deltas;
        for (event, &slot) in walk(emission).zip(&self.slot_of) {
            if slot == NONE {
                continue;
            }
            let (columns, causes) = &mut columns[slot as usize];
            let index = emission.output.output().cause_of[event.at];
            causes.push(deltas.get(event.cause).copied().unwrap_or(index));
            columns.times.push(event.time);
            let key_len = |key: &[u8]| i32::try_from(key.len()).expect("an event is bounded far below 2 GiB");
            columns.key_lens.push(event.key.map_or(-1, key_len));
            columns.header_lens.push(event.header_len);
            columns.value_lens.push(event.value_len);
            columns.data.extend_from_slice(event.key.unwrap_or_default());
            columns.data.extend_from_slice(event.rest);
        }
    }
}

impl Slot {
    /// Empty columns with room for all that comes.
    fn columns(&self) -> (Columns, Vec<u32>) {
        let data = self.bytes - self.events * (Columns::BYTES_PER_EVENT + size_of::<u32>());
        let columns = Columns {
            times: Vec::with_capacity(self.events),
            key_lens: Vec::with_capacity(self.events),
            header_lens: Vec::with_capacity(self.events),
            value_lens: Vec::with_capacity(self.events),
            data: Vec::with_capacity(data),
        };
        (columns, Vec::with_capacity(self.events))
    }
}

/// Copies all events into one slot, column by column: where topics have the same number of partitions, what comes
/// of a partition goes to one.
fn fill_whole(emission: Emission<'_>, (columns, causes): &mut (Columns, Vec<u32>)) {
    let (output, batch) = (emission.output.output(), emission.batch);
    let (events, cause_of) = (&output.events, &output.cause_of);
    match batch.offset_deltas.as_slice() {
        [] => causes.extend_from_slice(cause_of),
        deltas => causes.extend(cause_of.iter().map(|&cause| deltas[cause as usize])),
    }
    copy_or_inherit(&mut columns.times, &events.times, (cause_of, &batch.columns.times));
    copy_or_inherit(&mut columns.key_lens, &events.key_lens, (cause_of, &batch.columns.key_lens));
    columns.header_lens.extend_from_slice(&events.header_lens);
    columns.header_lens.resize(cause_of.len(), 0);
    columns.value_lens.extend_from_slice(&events.value_lens);
    if events.key_lens.is_empty() {
        for event in walk(emission) {
            columns.data.extend_from_slice(event.key.unwrap_or_default());
            columns.data.extend_from_slice(event.rest);
        }
    } else {
        columns.data.extend_from_slice(&events.data);
    }
}

/// A column of the output, or if it is left away the causes' own values.
fn copy_or_inherit<T: Copy>(into: &mut Vec<T>, own: &[T], (cause_of, of_causes): (&[u32], &[T])) {
    if own.is_empty() {
        into.extend(cause_of.iter().map(|&cause| of_causes[cause as usize]));
    } else {
        into.extend_from_slice(own);
    }
}

fn topic_of(output: &Output, at: usize) -> usize {
    output.topic_of.get(at).map_or(0, |&topic| topic.into())
}

/// The emitted events in order. The output is checked: its causes ascend, and its lengths add up.
fn walk(emission: Emission<'_>) -> impl Iterator<Item = Emitted<'_>> {
    let (output, batch) = (emission.output.output(), emission.batch);
    let events = &output.events;
    let mut data = events.data.as_slice();
    let mut keys = Keys { batch, index: 0, start: 0 };
    output.cause_of.iter().zip(&events.value_lens).enumerate().map(move |(at, (&cause, &value_len))| {
        let cause = cause as usize;
        let key = match events.key_lens.get(at) {
            Some(&len) => {
                let (key, rest) = data.split_at(width(len));
                data = rest;
                (len >= 0).then_some(key)
            }
            None => keys.of(cause),
        };
        let header_len = events.header_lens.get(at).copied().unwrap_or(0);
        let (rest, after) = data.split_at(header_len as usize + width(value_len));
        data = after;
        let time = events.times.get(at).copied().unwrap_or_else(|| batch.columns.times[cause]);
        Emitted { at, cause, time, key, header_len, value_len, rest }
    })
}

/// The keys of a batch, asked for by ascending index.
struct Keys<'a> {
    batch: &'a Batch,
    index: usize,
    /// Where the data of event `index` begins.
    start: usize,
}

impl<'a> Keys<'a> {
    fn of(&mut self, index: usize) -> Option<&'a [u8]> {
        let columns = &self.batch.columns;
        while self.index < index {
            self.start += columns.data_len(self.index);
            self.index += 1;
        }
        let len = columns.key_lens[index];
        (len >= 0).then(|| &columns.data[self.start..][..width(len)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemill_bus::{Event, Offset, block::header};

    use super::*;
    use crate::outcome::check;

    const SOURCE: TopicPartition = TopicPartition { topic: TopicId(1), partition: Partition(5) };
    const HANDLER: HandlerId = HandlerId(9);

    fn targets() -> Vec<Target> {
        vec![
            Target::Topic { id: TopicId(20), partitions: 3 },
            Target::Topic { id: TopicId(21), partitions: 16 },
            Target::Refused("not declared".to_owned()),
        ]
    }

    type Emit = (u32, u16, Option<Vec<u8>>, Option<Vec<u8>>, bool);

    fn batch(keys: &[Option<Vec<u8>>]) -> Batch {
        let mut columns = Columns::default();
        for (time, key) in (100..).zip(keys) {
            columns.push(Event { time, key: key.as_deref(), headers: &[], value: Some(b"input") });
        }
        let mut batch = Batch::new(SOURCE);
        let cut = columns.data_len(0);
        assert!(batch.extend_from(&columns, 0..1, 0..cut, (Offset(70), 0)));
        assert!(batch.extend_from(&columns, 1..keys.len(), cut..columns.data.len(), (Offset(90), 0)));
        batch
    }

    fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9))
    }

    /// What the model says of an emitted event: target, time, key, headers, value, offset of the cause.
    type Placed = (TopicPartition, i64, Option<Vec<u8>>, Vec<u8>, Option<Vec<u8>>, u64);

    fn model(batch: &Batch, emits: &[Emit], own: (bool, bool)) -> Vec<Placed> {
        let refused: Vec<u32> = emits.iter().filter(|emit| emit.1 == 2).map(|emit| emit.0).collect();
        let place = |(cause, topic, key, value, with_header): &Emit| {
            let input = batch.columns.iter().nth(*cause as usize).unwrap();
            let key = if own.0 { key.clone() } else { input.key.map(<[u8]>::to_vec) };
            let Target::Topic { id, partitions } = targets()[usize::from(*topic)] else { unreachable!() };
            let partition = match &key {
                Some(key) => partition::of_key(key, partitions),
                None => Partition(5 % partitions),
            };
            let time = if own.1 { 7 } else { input.time };
            let offset = batch.offset(*cause as usize).0;
            let target = TopicPartition { topic: id, partition };
            (target, time, key, raw_headers(*with_header), value.clone(), offset)
        };
        emits.iter().filter(|emit| !refused.contains(&emit.0)).map(place).collect()
    }

    fn raw_headers(with_header: bool) -> Vec<u8> {
        let mut raw = Vec::new();
        if with_header {
            header::push(&mut raw, "n", None).unwrap();
        }
        raw
    }

    fn output(emits: &[Emit], settled: u32, own: (bool, bool)) -> Output {
        let mut events = Columns::default();
        for (_, _, key, value, with_header) in emits {
            let headers = raw_headers(*with_header);
            let key = if own.0 { key.as_deref() } else { None };
            events.push(Event { time: 7, key, headers: &headers, value: value.as_deref() });
        }
        if !own.0 {
            events.key_lens.clear();
        }
        if !own.1 {
            events.times.clear();
        }
        if !emits.iter().any(|emit| emit.4) {
            events.header_lens.clear();
        }
        Output {
            settled,
            topics: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            topic_of: emits.iter().map(|emit| emit.1).collect(),
            cause_of: emits.iter().map(|emit| emit.0).collect(),
            events,
            ..Output::default()
        }
    }

    proptest! {
        #[test]
        fn every_event_arrives_once_in_its_partition_in_order(
            keys in proptest::collection::vec(bytes(), 2..8),
            emits in proptest::collection::vec((any::<prop::sample::Index>(), 0..3_u16, bytes(), bytes(), any::<bool>()), 0..30),
            own: (bool, bool),
            to_one_partition: bool,
        ) {
            let keys = if to_one_partition { vec![keys[0].clone(); keys.len()] } else { keys };
            let batch = batch(&keys);
            let mut emits: Vec<Emit> = emits.into_iter().map(|(cause, topic, key, value, headers)| {
                let (topic, key) = if to_one_partition { (1, keys[0].clone()) } else { (topic, key) };
                (u32::try_from(cause.index(keys.len())).unwrap(), topic, key, value, headers)
            }).collect();
            emits.sort_by_key(|emit| emit.0);
            let output = output(&emits, u32::try_from(keys.len()).unwrap(), own);
            let targets = targets();
            let emission = Emission { output: check(&output, &batch).unwrap(), batch: &batch, targets: &targets };
            let refused = Scatter::refused(emission);
            let mut scatter = Scatter::default();
            let expected = model(&batch, &emits, own);
            for _ in 0..2 {
                let blocks = scatter.blocks(emission, &refused, HANDLER);
                let mut left: Vec<Placed> = expected.clone();
                for block in blocks {
                    prop_assert_eq!(block.columns.check(), Ok(()));
                    let cause = block.cause.unwrap();
                    prop_assert_eq!(block.body_crc, body_crc(&block.columns, Some(&cause.events)));
                    prop_assert_eq!(cause.events.len(), block.columns.len());
                    for (event, delta) in block.columns.iter().zip(&cause.events) {
                        let at = left.iter().position(|placed| placed.0 == block.target).unwrap();
                        let offset = cause.first.0 + u64::from(*delta);
                        let found = (block.target, event.time, event.key.map(<[u8]>::to_vec),
                            event.headers.to_vec(), event.value.map(<[u8]>::to_vec), offset);
                        prop_assert_eq!(found, left.remove(at));
                    }
                }
                prop_assert!(left.is_empty());
                prop_assert!(scatter.table.iter().all(|&slot| slot == NONE));
            }
        }
    }

    #[test]
    fn an_event_above_the_limit_refuses_its_cause() {
        let batch = batch(&[None, None]);
        let value = vec![0; limits::EVENT_BYTES + 1];
        let emits = [(0, 0, None, Some(vec![1]), false), (1, 0, None, Some(value), false)];
        let output = output(&emits, 2, (false, false));
        let emission =
            Emission { output: check(&output, &batch).unwrap(), batch: &batch, targets: &targets() };
        let refused = Scatter::refused(emission);
        assert_eq!(refused.len(), 1);
        assert!(refused[0].index == 1 && refused[0].reason.contains("4194305 bytes"));
        let blocks = Scatter::default().blocks(emission, &refused, HANDLER);
        assert_eq!(blocks.iter().map(|block| block.columns.len()).sum::<usize>(), 1);
    }

    #[test]
    fn a_full_block_goes_on_in_another_of_the_same_partition() {
        let batch = batch(&[None, None]);
        let value = Some(vec![0; 3 << 20]);
        let emits: Vec<Emit> = (0..4).map(|_| (0, 0, None, value.clone(), false)).collect();
        let output = output(&emits, 2, (false, false));
        let emission =
            Emission { output: check(&output, &batch).unwrap(), batch: &batch, targets: &targets() };
        let blocks = Scatter::default().blocks(emission, &[], HANDLER);
        assert_eq!(blocks.iter().map(|block| block.columns.len()).collect::<Vec<_>>(), [2, 2]);
        assert!(blocks.iter().all(|block| block.byte_len() <= limits::BLOCK_BYTES));
    }
}
