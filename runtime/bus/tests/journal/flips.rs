//! Every byte of a small, cleanly closed journal is flipped: the flip is found, or it changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_bus::Offset;
use tidemill_bus::disk::Disk;
use tidemill_bus::journal::{Journal, JournalOptions, ReadHint, Seek};
use tidemill_bus::testing::{FakeDisk, Random};

use crate::history::options;
use crate::model::{Frame, Replayed, block, open, owner, partition};

/// What a flip led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Everything is as it was.
    Harmless,
    /// The opening said what is broken.
    Refused,
    /// A delta or a block is broken, and only that is not served.
    Localised,
}

pub(crate) fn small() -> JournalOptions {
    JournalOptions { segment_bytes: 16 << 10, first_segment_bytes: 16 << 10, ..options() }
}

/// A journal of three segments with blocks, causes, deltas, footers and a closing frame.
pub(crate) fn closed_journal() -> (FakeDisk, Vec<Frame>) {
    let fake = FakeDisk::new(1);
    let disk: Arc<dyn Disk> = Arc::new(fake.clone());
    let (mut journal, ..) = open(&disk, small(), 0).unwrap();
    let mut frames = Vec::new();
    for number in 0..6_u64 {
        let value = vec![1 + u8::try_from(number).unwrap(); 200];
        let time = 100 + number.cast_signed();
        let frame = Frame {
            blocks: vec![
                block(partition(0), number, time, &[&value], number % 2 == 0),
                block(partition(1), number * 2, time, &[b"one", b"two"], false),
            ],
            deltas: vec![(owner(number), format!("delta {number}").into_bytes())],
        };
        frame.append_to(&mut journal).unwrap();
        journal.sync().unwrap();
        frames.push(frame);
    }
    journal.close().unwrap();
    (fake, frames)
}

#[test]
fn a_flipped_byte_is_found_or_harmless_and_never_served() {
    let (disk, frames) = closed_journal();
    let mut random = Random::new(7);
    let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
    let names: Vec<String> = disk.list().unwrap().into_iter().map(|(name, _)| name).collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let bytes = disk.bytes(&name).unwrap();
        for at in (0..bytes.len()).filter(|&at| is_tried(&bytes, at)) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << random.below(8);
            let flipped_disk = disk.copy(1);
            flipped_disk.put(&name, &flipped);
            *outcomes.entry(outcome_of(flipped_disk, &frames, &format!("{name} byte {at}"))).or_default() +=
                1;
        }
    }
    println!("{outcomes:?}");
    assert_eq!(outcomes.len(), 3);
}

/// Every byte that says something, and some of the zeros far from any; all of them when asked for.
fn is_tried(bytes: &[u8], at: usize) -> bool {
    let near = &bytes[at.saturating_sub(8)..(at + 8).min(bytes.len())];
    at.is_multiple_of(97) || near.iter().any(|&byte| byte != 0) || std::env::var_os("TIDEMILL_LONG").is_some()
}

fn outcome_of(disk: FakeDisk, frames: &[Frame], flip: &str) -> Outcome {
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let Ok((journal, recovery, replayed)) = open(&disk, small(), 0) else { return Outcome::Refused };
    assert!(recovery.last.0 >= frames.len() as u64, "{flip}: a synced frame was cut");
    let deltas = deltas_are_right(&replayed, frames, flip);
    let blocks = blocks_are_right(&journal, frames, flip);
    if deltas && blocks { Outcome::Harmless } else { Outcome::Localised }
}

/// Whether all deltas are there; a broken one may be missing, a false one not be there.
fn deltas_are_right(replayed: &Replayed, frames: &[Frame], flip: &str) -> bool {
    let mut right = true;
    for (number, frame) in (1..).zip(frames) {
        let sections = replayed.get(&number).unwrap_or_else(|| panic!("{flip}: frame {number} is missing"));
        for (owner, bytes) in &frame.deltas {
            let whole = sections.contains(&format!("{owner}: {bytes:?}"));
            assert!(
                whole || sections.contains(&format!("{owner}: broken")),
                "{flip}: frame {number} is false"
            );
            right &= whole;
        }
    }
    right
}

/// Whether all blocks are there; a broken one may be refused, a false one not be served.
fn blocks_are_right(journal: &Journal, frames: &[Frame], flip: &str) -> bool {
    let (reader, mut right) = (journal.reader(), true);
    for placed in frames.iter().flat_map(|frame| &frame.blocks) {
        let source = placed.block.target;
        let found = reader.find(source, Seek::Offset(placed.first), &mut ReadHint::default());
        let Ok(place) = found else {
            right = false;
            continue;
        };
        let place = place.unwrap_or_else(|| panic!("{flip}: {source} offset {} is missing", placed.first));
        assert_eq!(place.first, placed.first, "{flip}");
        match reader.read(&place) {
            Ok(block) => assert_eq!(block.columns, placed.block.columns, "{flip}"),
            Err(_) => right = false,
        }
    }
    let beyond = Seek::Offset(Offset(1_000));
    assert!(!matches!(reader.find(partition(0), beyond, &mut ReadHint::default()), Ok(Some(_))), "{flip}");
    right
}
