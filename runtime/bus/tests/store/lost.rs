//! Headers of frames that are broken beyond mending, of frames that the tables do not have: what cannot be known to be
//! as it was stands still, or says so, and everything else goes on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tidemill_bus::disk::Disk;
use tidemill_bus::log::{Log, Row};
use tidemill_bus::notice::Notice;
use tidemill_bus::store::{Control, Store};
use tidemill_bus::tables::ModelTables;
use tidemill_bus::testing::Random;
use tidemill_bus::transaction::{IdempotencyKey, StateWrites};
use tidemill_bus::{Batch, DriverKey, Offset, Partition, TopicPartition, Transaction};

use crate::flips::{files, options, scratch};
use crate::harness::{World, commit_group, committed, driver, next_of, publish, step, topic, values};

const ONE: tidemill_bus::log::ReadLimit = tidemill_bus::log::ReadLimit { events: 1, bytes: 1 };

/// Frames of what [`fill`] writes: those of four names, of nine rounds, of two publishes.
const FRAMES: u64 = 15;

/// State and progress of a driver at one time.
type Moment = (Vec<Row>, Option<u64>);

/// What a store was filled with.
struct History {
    events: BTreeMap<TopicPartition, Vec<Vec<u8>>>,
    /// Every driver after each of its commits.
    moments: BTreeMap<DriverKey, Vec<Moment>>,
    input: tidemill_bus::TopicId,
    once: Transaction,
}

/// Fills a store with rounds of which the last are in no checkpoint, and goes without closing it.
fn fill(store: &Store) -> History {
    let (input, output) = (topic(store, "in"), topic(store, "out"));
    let handlers = [store.handler_id("one").unwrap(), store.handler_id("two").unwrap()];
    let drivers = handlers.map(|handler| [0, 1].map(|partition| driver(handler, partition)));
    let drivers: Vec<DriverKey> = drivers.into_iter().flatten().collect();
    let mut moments: BTreeMap<DriverKey, Vec<Moment>> = BTreeMap::new();
    store.checkpoint().unwrap();
    for round in 1..=9_u8 {
        let mut group = Vec::new();
        // The second partition of a topic and one handler rest now and then.
        for partition in 0..if round % 3 == 0 { 1 } else { 2 } {
            let source = input.partition(Partition(partition));
            group.push(publish(source, &[&[round; 900], b"short"]));
            group.push(publish(output.partition(Partition(partition)), &[&[round]]));
        }
        for driver in drivers.iter().skip(usize::from(round % 4 == 1)) {
            let source = input.partition(driver.partition);
            let mut state = StateWrites::default();
            state.push(b"round", Some(&[round; 40]));
            state.push(&[round], Some(b"x"));
            group.push(Transaction { state, ..step(store, *driver, source, u64::from(round)) });
        }
        for outcome in commit_group(store, group) {
            committed(outcome);
        }
        for driver in &drivers {
            let moment = moment(store, *driver, input.partition(driver.partition)).unwrap();
            moments.entry(*driver).or_default().push(moment);
        }
        if round == 3 {
            store.checkpoint().unwrap();
        }
    }
    let key = IdempotencyKey { key: "the publish".to_owned(), body: [9; 32] };
    let once = Transaction { once: Some(key.clone()), ..Transaction::default() };
    let target = output.partition(Partition(1));
    committed(store.commit(Transaction { once: Some(key), ..publish(target, &[b"once"]) }));
    // A last frame: only what comes after a frame tells that it was synced.
    committed(store.commit(publish(input.partition(Partition(0)), &[b"last"])));
    let sources =
        [&input, &output].map(|topic| [0, 1].map(|partition| topic.partition(Partition(partition))));
    let all = |source| (source, values(store, source, Offset(0), crate::harness::ALL));
    History { events: sources.into_iter().flatten().map(all).collect(), moments, input: input.id, once }
}

fn moment(store: &Store, driver: DriverKey, source: TopicPartition) -> Result<Moment, String> {
    let rows = store.state_scan(driver, b"", None, 99).map_err(|error| error.to_string())?;
    Ok((rows, next_of(store, driver, source)))
}

/// Holds a store to what it was filled with; what it cannot know it must not tell.
fn check(store: &Store, history: &History) -> Result<(), String> {
    let is_lost = store.notices().iter().any(|notice| matches!(notice, Notice::ChangesLost(_)));
    for (source, expected) in &history.events {
        check_events(store, *source, expected)?;
    }
    let source = |driver: DriverKey| TopicPartition { topic: history.input, partition: driver.partition };
    for (driver, moments) in &history.moments {
        match moment(store, *driver, source(*driver)) {
            Ok(found) if moments.last() != Some(&found) => return Err(format!("{driver} has {found:?}")),
            Err(error) if !is_lost => return Err(error),
            _ => {}
        }
        if is_lost && store.group("one").is_some_and(|group| group.broken.is_empty()) {
            return Err("the group does not stand still".to_owned());
        }
    }
    for name in ["one", "two"] {
        store.restore_group(name).map_err(|error| error.to_string())?;
    }
    for (driver, moments) in &history.moments {
        let found = moment(store, *driver, source(*driver))?;
        if found != (vec![], None) && !moments.contains(&found) {
            return Err(format!("{driver} never had {found:?}"));
        }
    }
    let again = committed(store.commit(history.once.clone()));
    if !again.repeated && !is_lost {
        return Err("a publish is forgotten".to_owned());
    }
    for (source, expected) in &history.events {
        let receipt = committed(store.commit(publish(*source, &[b"new"])));
        let offset = receipt.runs[0].offset;
        if offset < Offset(expected.len() as u64) {
            return Err(format!("{source} gives offset {offset} again"));
        }
        if values(store, *source, offset, crate::harness::ALL) != [b"new"] {
            return Err(format!("{source} does not go on at {offset}"));
        }
    }
    Ok(())
}

/// Every event is what it was, or an error; there are no others.
fn check_events(store: &Store, source: TopicPartition, expected: &[Vec<u8>]) -> Result<(), String> {
    let range = store.range(source).map_err(|error| error.to_string())?;
    if range.end < Offset(expected.len() as u64) {
        return Err(format!("{source} ends at {}", range.end));
    }
    for (offset, value) in (0..range.end.0).zip(expected.iter().map(Some).chain(std::iter::repeat(None))) {
        let mut batch = Batch::new(source);
        let Ok(end) = store.read(source, Offset(offset), ONE, &mut batch) else { continue };
        let found = batch.columns.iter().next().map(|event| event.value.unwrap_or_default().to_vec());
        if found.as_ref() != value || end.next != Offset(offset + 1) {
            return Err(format!("{source} offset {offset}: {found:?}"));
        }
    }
    Ok(())
}

/// Breaks the header at `at` in one of several ways that one byte is not enough to mend.
fn damage(bytes: &mut [u8], at: usize, way: usize, random: &mut Random) {
    let len = u32::from_le_bytes(*bytes[at + 16..].first_chunk().unwrap()) as usize;
    let mut any = |until: usize| usize::try_from(random.below(until as u64)).unwrap();
    match way {
        0 => bytes[at..at + 4096].fill(0),
        1 => bytes[at..at + 512].iter_mut().for_each(|byte| *byte = !*byte),
        _ => {
            let one = any(len);
            let other = (one + 1 + any(len - 1)) % len;
            bytes[at + one] ^= 1 << any(8);
            bytes[at + other] ^= 1 << any(8);
            (3..way).for_each(|_| bytes[at + any(len)] ^= 0x5a);
        }
    }
}

/// The headers of frames, but for the last: nothing tells that that was synced, and it is cut. Where they begin, and the
/// numbers of the frames.
fn headers(bytes: &[u8]) -> impl Iterator<Item = (usize, u64)> {
    let frames = (0..bytes.len()).step_by(4096).filter(|&at| bytes[at..].starts_with(b"TMFRAME\0"));
    let number = |at: usize| u64::from_le_bytes(*bytes[at + 48..].first_chunk().unwrap());
    frames.map(move |at| (at, number(at))).filter(|(_, number)| *number < FRAMES)
}

struct Filled {
    world: World,
    history: History,
}

fn filled() -> Filled {
    let mut world = World::new(1);
    (world.options.journal.segment_bytes, world.options.journal.first_segment_bytes) = (16 << 10, 16 << 10);
    let store = world.open().unwrap();
    let history = fill(&store);
    Filled { world, history }
}

impl Filled {
    /// The world as it was left, with other bytes in a file.
    fn with(&self, name: &str, bytes: &[u8], control: Control) -> World {
        let mut world = self.world.after_crash(1, self.world.tables.flushes().len().checked_sub(1));
        world.disk = self.world.disk.copy(1);
        world.disk.put(name, bytes);
        world.options.control = control;
        world
    }

    /// The file with the header of a frame, and the place of it.
    fn header(&self, frame: u64) -> (String, Vec<u8>, usize) {
        let names = self.world.disk.list().unwrap().into_iter().map(|(name, _)| name);
        let mut files = names.map(|name| (self.world.disk.bytes(&name).unwrap(), name));
        let found = files.find_map(|(bytes, name)| {
            let at = headers(&bytes).find(|(_, number)| *number == frame)?.0;
            Some((name, bytes, at))
        });
        found.unwrap()
    }

    /// Damages every header in several ways and opens; how often the opening lost frames, and what was wrong.
    fn damage_all(&self, control: Control) -> (usize, Vec<String>) {
        let (mut lost, mut wrong, mut random) = (0, Vec::new(), Random::new(7));
        for (name, _) in self.world.disk.list().unwrap() {
            let sound = self.world.disk.bytes(&name).unwrap();
            for (at, way) in headers(&sound).flat_map(|(at, _)| (0..8).map(move |way| (at, way))) {
                let mut bytes = sound.clone();
                damage(&mut bytes, at, way, &mut random);
                let world = self.with(&name, &bytes, control);
                let store = match world.open() {
                    Ok(store) => store,
                    Err(error) => {
                        wrong.push(format!("{name} byte {at} way {way}: {error}"));
                        continue;
                    }
                };
                assert_eq!((store.recovery().last.0, store.recovery().cut), (FRAMES, None));
                lost += store.recovery().lost.len();
                if let Err(error) = check(&store, &self.history) {
                    wrong.push(format!("{name} byte {at} way {way}: {error}"));
                }
            }
        }
        (lost, wrong)
    }
}

#[test]
fn a_header_that_is_broken_is_gone_past_and_nothing_is_served_that_was_not_so() {
    let (lost, wrong) = filled().damage_all(Control::Sound);
    assert_eq!(wrong, [] as [&str; 0]);
    assert!(lost > 40, "{lost}");
}

#[test]
fn so_it_is_when_everything_is_replayed_and_flushed_on_the_way() {
    let mut filled = filled();
    filled.world.tables = ModelTables::default();
    filled.world.options.checkpoints.bytes_max = 1_000;
    let (lost, wrong) = filled.damage_all(Control::Sound);
    // Topics and handlers were made in the first four frames.
    let (refused, wrong): (Vec<String>, Vec<String>) =
        wrong.into_iter().partition(|wrong| wrong.contains("put a sound copy of that segment"));
    assert_eq!(wrong, [] as [&str; 0]);
    assert!(lost > 40 && (16..=32).contains(&refused.len()), "{lost} {}", refused.len());
}

#[test]
fn what_is_missed_is_found_when_lost_frames_are_taken_for_nothing() {
    let (_, wrong) = filled().damage_all(Control::ServePastLost);
    for what in ["has ([", "ends at"] {
        assert!(wrong.iter().any(|wrong| wrong.contains(what)), "{what}: {wrong:?}");
    }
}

#[test]
fn a_handler_stands_still_from_opening_to_opening_and_goes_on_when_it_is_restored() {
    let filled = filled();
    let (name, mut bytes, at) = filled.header(10);
    bytes[at + 20..at + 90].fill(0xaa);
    let world = filled.with(&name, &bytes, Control::Sound);
    let store = world.open().unwrap();
    let [lost] = store.recovery().lost[..] else { panic!("{:?}", store.recovery()) };
    let stopped = |store: &Store| store.group("one").unwrap().broken;
    let handler = store.group("one").unwrap().handler;
    assert_eq!(stopped(&store), [(DriverKey::all_of(handler), lost.after.next())]);
    let named = stopped(&store)[0].0.to_string();
    assert_eq!(named, format!("all partitions of handler {handler}"));
    drop(store);
    let store = world.open().unwrap();
    assert_eq!(store.recovery().lost, [lost]);
    store.checkpoint().unwrap();
    drop(store);
    let store = world.open().unwrap();
    let notices = store.notices();
    assert!(!notices.iter().any(|notice| matches!(notice, Notice::ChangesLost(_))), "{notices:?}");
    assert_eq!(stopped(&store).len(), 1);
    let one = driver(handler, 0);
    let source = TopicPartition { topic: filled.history.input, partition: Partition(0) };
    assert!(store.seek("one", source, Offset(1)).is_err());
    assert!(store.state_scan(one, b"", None, 9).is_err());
    store.restore_group("one").unwrap();
    let restored = moment(&store, one, source).unwrap();
    assert!(filled.history.moments[&one].contains(&restored), "{restored:?}");
    let moved = step(&store, one, source, 9);
    committed(store.commit(moved));
    drop(store);
    let store = world.open().unwrap();
    assert_eq!((next_of(&store, one, source), stopped(&store).len()), (Some(9), 0));
}

#[test]
fn an_opening_is_refused_when_what_follows_needs_a_name_that_was_lost() {
    for needed in ["events of topic 1", "changes of handler 1"] {
        let world = World::new(1);
        let store = world.open().unwrap();
        if needed.starts_with("events") {
            let source = topic(&store, "t").partition(Partition(0));
            committed(store.commit(publish(source, &[b"x"])));
        } else {
            let owner = driver(store.handler_id("h").unwrap(), 0);
            let mut state = StateWrites::default();
            state.push(b"key", Some(b"value"));
            let written =
                Transaction { driver: Some(owner), epoch: store.epoch(owner), state, ..Default::default() };
            committed(store.commit(written));
        }
        store.set_note(store.handler_id("another").unwrap(), b"a note").unwrap();
        drop(store);
        let name = "00000000000000000001.segment";
        let mut bytes = world.disk.bytes(name).unwrap();
        bytes[4096 + 30..4096 + 50].fill(0x77);
        world.disk.put(name, &bytes);
        let error = world.open().err().unwrap().to_string();
        assert!(error.contains(needed) && error.contains("a sound copy of that segment"), "{error}");
        assert!(error.contains("segment 1 byte 4096"), "{error}");
    }
}

#[test]
fn ids_that_lost_frames_may_have_given_are_not_given_again() {
    let world = World::new(1);
    let store = world.open().unwrap();
    topic(&store, "kept");
    let lost = topic(&store, "lost").id;
    let source = topic(&store, "kept").partition(Partition(0));
    committed(store.commit(publish(source, &[b"x"])));
    committed(store.commit(publish(source, &[b"y"])));
    drop(store);
    let name = "00000000000000000001.segment";
    let mut bytes = world.disk.bytes(name).unwrap();
    bytes[8192 + 30..8192 + 50].fill(0x77);
    world.disk.put(name, &bytes);
    let store = world.open().unwrap();
    assert_eq!(store.topics().len(), 1);
    store.checkpoint().unwrap();
    drop(store);
    let store = world.open().unwrap();
    assert!(topic(&store, "lost").id > lost);
    assert_eq!(values(&store, source, Offset(0), crate::harness::ALL), [b"x", b"y"]);
}

#[test]
fn so_it_is_in_the_files_of_a_directory() {
    let directory = scratch();
    let store = Store::open(options(directory.path(), None)).unwrap();
    let history = fill(&store);
    drop(store);
    let files = files(directory.path(), directory.path());
    let (mut random, mut lost) = (Random::new(3), 0);
    for (broken, (path, sound)) in
        files.iter().enumerate().filter(|(_, (path, _))| path.starts_with("journal"))
    {
        for ((at, _), way) in headers(sound).zip([0, 1, 2, 5].into_iter().cycle()) {
            let directory = scratch();
            for (index, (path, bytes)) in files.iter().enumerate() {
                let mut bytes = bytes.clone();
                if index == broken {
                    damage(&mut bytes, at, way, &mut random);
                }
                write(&directory.path().join(path), &bytes);
            }
            let report = tidemill_bus::check(directory.path()).unwrap();
            let store = Store::open(options(directory.path(), None)).unwrap();
            lost += store.recovery().lost.len();
            assert!(!report.is_sound(), "{} byte {at} way {way}", path.display());
            check(&store, &history).unwrap_or_else(|error| panic!("{} byte {at}: {error}", path.display()));
        }
    }
    assert!(lost > 5, "{lost}");
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
