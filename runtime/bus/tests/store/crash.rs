//! The power is cut at every call of a random history, with random survivors and tables that come back at any
//! flush; what is found is what was acknowledged, or that and the whole group that was under way.

use std::time::Duration;

use tidemill_bus::store::{Control, Retention, Sync};
use tidemill_bus::testing::Random;

use crate::harness::World;
use crate::history::{Ended, run};
use crate::model::Model;

const STEPS: usize = 40;

fn world(seed: u64, control: Control) -> World {
    let mut world = World::new(seed);
    // Retention takes whatever groups let go.
    world.options.retention = Retention { bytes: Some(0), ..Retention::default() };
    world.options.control = control;
    world
}

/// How many histories: a few each time, many when asked for.
fn seeds() -> std::ops::Range<u64> {
    let seeds = std::env::var("TIDEMILL_LONG").map_or(3, |_| 60);
    let first = std::env::var("TIDEMILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seeds {first} to {}", first + seeds - 1);
    first..first + seeds
}

/// Runs the history of `seed` until call `crash_at`, and says what is wrong with what is found after it.
fn crash(seed: u64, crash_at: u64, control: Control, sync: Sync) -> Result<(), String> {
    let mut first = world(seed, control);
    first.options.sync = sync;
    first.disk.crash_at(crash_at);
    let ended = match first.open() {
        Ok(store) => run(&first, &store, seed, STEPS, Model::default()),
        Err(_) => Ended { may_be_found: vec![Model::default()], oldest_flush: None },
    };
    let mut random = Random::new(seed ^ crash_at << 32);
    let second = survivor(&first, &ended, &mut random);

    // Sometimes the power goes again, while the store is opened. The tables stay as they were found.
    let second = if random.one_in(3) {
        second.disk.crash_at(random.below(20));
        drop(second.open());
        let found = second.tables.flushes().len().checked_sub(1);
        survivor(&second, &Ended { oldest_flush: found, ..Ended::default() }, &mut random)
    } else {
        second
    };
    let store = second.open().map_err(|error| format!("cannot be opened: {error}"))?;
    let mut differences = Vec::new();
    let found = ended.may_be_found.iter().find(|model| {
        model.compare(&store).inspect_err(|difference| differences.push(difference.clone())).is_ok()
    });
    let found = found.ok_or_else(|| format!("what is found was never acknowledged: {differences:?}"))?;

    // It goes on, is closed, and opens as it was.
    let ended = run(&second, &store, seed + 1_000, 8, found.clone());
    store.close().map_err(|error| error.to_string())?;
    drop(store);
    let store = second.open().map_err(|error| format!("cannot be opened after a close: {error}"))?;
    if !store.recovery().clean {
        return Err("a clean stop was not recognised".to_owned());
    }
    let last = ended.may_be_found.last().ok_or("a history ends somewhere")?;
    last.compare(&store).map_err(|difference| format!("after a close: {difference}"))
}

/// The world after the cut: the tables come back at any flush that is not older than what was released.
fn survivor(world: &World, ended: &Ended, random: &mut Random) -> World {
    let flushes = world.tables.flushes().len() as u64;
    let oldest = ended.oldest_flush.map_or(0, |index| index as u64 + 1);
    let count = oldest + random.below(flushes - oldest + 1);
    let flush = usize::try_from(count).unwrap().checked_sub(1);
    world.after_crash(random.draw(), flush)
}

/// The calls of the disk that the history of `seed` makes.
fn calls(seed: u64, sync: Sync) -> u64 {
    let mut world = world(seed, Control::Sound);
    world.options.sync = sync;
    let store = world.open().unwrap();
    let ended = run(&world, &store, seed, STEPS, Model::default());
    ended.may_be_found.last().unwrap().compare(&store).unwrap();
    world.disk.calls()
}

fn cut_everywhere(sync: Sync) {
    let mut cuts = 0;
    for seed in seeds() {
        let calls = calls(seed, sync);
        for crash_at in 0..calls {
            crash(seed, crash_at, Control::Sound, sync)
                .unwrap_or_else(|error| panic!("seed {seed}, cut at call {crash_at} of {calls}: {error}"));
            cuts += 1;
        }
    }
    println!("{cuts} cuts");
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_half_done_wherever_the_power_is_cut() {
    cut_everywhere(Sync::Always);
}

#[test]
fn a_cut_between_syncs_takes_whole_groups_from_the_end_and_nothing_that_was_synced() {
    cut_everywhere(Sync::Every(Duration::from_hours(1)));
}

/// Whether the suite finds the fault.
fn finds(control: Control) -> bool {
    (1..12).any(|seed| {
        let found = (0..calls(seed, Sync::Always))
            .find_map(|crash_at| crash(seed, crash_at, control, Sync::Always).err());
        found.inspect(|error| println!("{control:?}, seed {seed}: {error}")).is_some()
    })
}

#[test]
fn an_answer_before_the_sync_is_found() {
    assert!(finds(Control::AnswerBeforeSync));
}

#[test]
fn a_release_at_the_applied_frame_is_found() {
    assert!(finds(Control::ReleaseAtApplied));
}
