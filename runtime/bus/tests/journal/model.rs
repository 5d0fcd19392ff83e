//! What a journal should hold, and the comparison of what it does hold with that.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_bus::block::body_crc;
use tidemill_bus::disk::Disk;
use tidemill_bus::journal::{
    Delta, FrameParts, Journal, JournalOptions, OpenError, PlacedBlock, ReadHint, Recovery, Section, Seek,
};
use tidemill_bus::testing::Random;
use tidemill_bus::transaction::{Cause, NewBlock};
use tidemill_bus::{
    Columns, DriverKey, Event, FrameNumber, HandlerId, Lane, Offset, Partition, TopicId, TopicPartition,
};

/// A partition of the one topic that the tests write.
pub(crate) fn partition(number: u32) -> TopicPartition {
    TopicPartition { topic: TopicId(9), partition: Partition(number) }
}

/// The owner of a delta.
pub(crate) fn owner(handler: u64) -> DriverKey {
    DriverKey { handler: HandlerId(handler), partition: Partition(1), lane: Lane(2) }
}

/// Makes a block for its place.
pub(crate) fn block(
    source: TopicPartition,
    first: u64,
    append_time: i64,
    values: &[&[u8]],
    caused: bool,
) -> PlacedBlock {
    let mut columns = Columns::default();
    for value in values {
        columns.push(Event { time: append_time - 1, key: Some(b"k"), headers: &[], value: Some(value) });
    }
    let cause = caused.then(|| {
        let events = (0..).take(values.len()).collect();
        Arc::new(Cause { handler: HandlerId(2), source: partition(77), first: Offset(first / 2), events })
    });
    let body_crc = body_crc(&columns, cause.as_ref().map(|cause| cause.events.as_slice()));
    let block = NewBlock { target: source, columns: Arc::new(columns), cause, body_crc };
    PlacedBlock { block, first: Offset(first), append_time, compressed: None }
}

/// A frame as it was appended. A closing frame has neither blocks nor deltas.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    pub(crate) blocks: Vec<PlacedBlock>,
    pub(crate) deltas: Vec<(DriverKey, Vec<u8>)>,
}

impl Frame {
    /// A frame that nobody else makes: `tag` goes into every value.
    pub(crate) fn random(random: &mut Random, tag: u64, ends: &mut BTreeMap<u32, (u64, i64)>) -> Self {
        let mut frame = Self::default();
        for _ in 0..random.below(4) {
            let number = u32::try_from(random.below(3)).unwrap();
            let (next, time) = ends.entry(number).or_insert((0, 1_000));
            *time += random.below(3).cast_signed();
            let count = 1 + random.below(4);
            let long = if random.one_in(6) { 3_000 } else { 20 };
            let values: Vec<Vec<u8>> = (0..count)
                .map(|index| {
                    let mut value = [tag, *next + index].map(u64::to_le_bytes).concat();
                    value.resize(16 + usize::try_from(random.below(long)).unwrap(), 0xab);
                    value
                })
                .collect();
            let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            frame.blocks.push(block(partition(number), *next, *time, &values, random.one_in(3)));
            *next += count;
        }
        for _ in 0..random.below(3) {
            let long = if random.one_in(6) { 9_000 } else { 20 };
            let mut bytes = tag.to_le_bytes().to_vec();
            bytes.resize(8 + usize::try_from(random.below(long)).unwrap(), 0xcd);
            frame.deltas.push((owner(random.below(5)), bytes));
        }
        if frame.blocks.is_empty() && frame.deltas.is_empty() {
            frame.deltas.push((owner(1), tag.to_le_bytes().to_vec()));
        }
        frame
    }

    /// Appends it.
    pub(crate) fn append_to(
        &self,
        journal: &mut Journal,
    ) -> Result<FrameNumber, tidemill_bus::journal::AppendError> {
        let deltas: Vec<Delta<'_>> =
            self.deltas.iter().map(|(owner, bytes)| Delta { owner: *owner, bytes }).collect();
        journal.append(FrameParts { blocks: &self.blocks, deltas: &deltas })
    }

    fn is_closing(&self) -> bool {
        self.blocks.is_empty() && self.deltas.is_empty()
    }
}

/// The sections that a replay brought, by frame, in a form that compares.
pub(crate) type Replayed = BTreeMap<u64, Vec<String>>;

/// Opens the journal and collects what it replays.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    options: JournalOptions,
    persisted: u64,
) -> Result<(Journal, Recovery, Replayed), OpenError> {
    let mut replayed = Replayed::new();
    let (journal, recovery) =
        Journal::open(Arc::clone(disk), options, FrameNumber(persisted), &mut |frame, section| {
            let sections = replayed.entry(frame.0).or_default();
            match section {
                Section::Blocks(headers) => {
                    sections.extend(headers.iter().map(|header| format!("{header:?}")));
                }
                Section::Delta(delta) => sections.push(format!("{}: {:?}", delta.owner, delta.bytes)),
                Section::BrokenDelta { owner } => sections.push(format!("{owner}: broken")),
                Section::Lost(lost) => sections.push(format!("{} to {} are lost", lost.after, lost.before)),
            }
            Ok(())
        })?;
    Ok((journal, recovery, replayed))
}

/// Checks that the journal holds exactly the frames `1..=last` of `frames`, of which those up to `persisted` are
/// not replayed and those before `oldest` are gone.
pub(crate) fn check(
    journal: &Journal,
    recovery: &Recovery,
    replayed: &Replayed,
    frames: &[Frame],
    persisted: u64,
) {
    let last = usize::try_from(recovery.last.0).unwrap();
    assert!(last <= frames.len(), "frame {last} was never appended");
    let expected: Replayed = (1..)
        .zip(&frames[..last])
        .filter(|(number, frame)| *number > persisted && !frame.is_closing())
        .map(|(number, frame)| (number, expected_sections(frame)))
        .collect();
    assert_eq!(replayed, &expected, "the replay after frame {persisted} is not what was appended");
    assert!(recovery.oldest.0 <= persisted + 1);
    check_blocks(journal, &frames[..last], recovery.oldest.0);
}

fn expected_sections(frame: &Frame) -> Vec<String> {
    let header = |placed: &PlacedBlock| {
        let header = tidemill_bus::block::BlockHeader::of(&placed.block, placed.first, placed.append_time);
        format!("{header:?}")
    };
    let deltas = frame.deltas.iter().map(|(owner, bytes)| format!("{owner}: {bytes:?}"));
    frame.blocks.iter().map(header).chain(deltas).collect()
}

/// Reads every partition from its first kept offset to its end, and compares.
pub(crate) fn check_blocks(journal: &Journal, frames: &[Frame], oldest: u64) {
    let mut kept: BTreeMap<TopicPartition, Vec<&PlacedBlock>> = BTreeMap::new();
    for (number, frame) in (1..).zip(frames) {
        for placed in &frame.blocks {
            let blocks = kept.entry(placed.block.target).or_default();
            if number >= oldest {
                blocks.push(placed);
            }
        }
    }
    let reader = journal.reader();
    for (source, blocks) in kept {
        let mut hint = ReadHint::default();
        let mut from = Offset(0);
        for expected in &blocks {
            let place = reader.find(source, Seek::Offset(from), &mut hint).unwrap().expect("a block is gone");
            assert_eq!((place.first, place.append_time), (expected.first, expected.append_time));
            let block = reader.read(&place).unwrap();
            assert_eq!(block.columns, expected.block.columns);
            assert_eq!(block.cause, expected.block.cause);
            from = block.header.end();
        }
        let beyond = reader.find(source, Seek::Offset(from), &mut hint).unwrap();
        assert!(beyond.is_none(), "{source} has a block at {} that is false", beyond.unwrap().first);
        if let Some(middle) = blocks.get(blocks.len() / 2) {
            let seek = Seek::Time(middle.append_time);
            let place = reader.find(source, seek, &mut ReadHint::default()).unwrap().unwrap();
            let first = blocks.iter().find(|placed| placed.append_time >= middle.append_time).unwrap();
            assert_eq!(place.first, first.first);
        }
    }
}
