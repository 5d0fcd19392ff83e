//! The power is cut at every call of a random history, with random survivors and tables that come back at any
//! flush; what is found is what was acknowledged, or that and the whole group that was under way.

use std::time::Duration;

use tidemill_bus::store::{Control, Retention, Sync};
use tidemill_bus::testing::Random;

use crate::harness::World;
use crate::history::{Ended, run};
use crate::model::Model;

const STEPS: usize = 40;
/// Steps of a history in which segments are joined.
const MANY_STEPS: usize = 120;

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

/// A history: the same for the same seed.
#[derive(Clone, Copy)]
struct History {
    seed: u64,
    steps: usize,
    sync: Sync,
    control: Control,
}

impl History {
    fn world(self) -> World {
        let mut world = world(self.seed, self.control);
        world.options.sync = self.sync;
        world
    }

    /// The calls of the disk that it makes, and the segments that are joined in it.
    fn calls(self) -> (u64, u64) {
        let world = self.world();
        let store = world.open().unwrap();
        let ended = run(&world, &store, self.seed, self.steps, Model::default());
        ended.may_be_found.last().unwrap().compare(&store).unwrap();
        (world.disk.calls(), store.metrics().segments_joined)
    }

    /// Cuts the power at every `each`th call; how many times.
    fn cut(self, each: usize) -> u64 {
        let (seed, (calls, _)) = (self.seed, self.calls());
        let mut cuts = 0;
        for crash_at in (0..calls).rev().step_by(each) {
            self.crash(crash_at)
                .unwrap_or_else(|error| panic!("seed {seed}, cut at call {crash_at} of {calls}: {error}"));
            cuts += 1;
        }
        cuts
    }

    /// Runs it until call `crash_at`, and says what is wrong with what is found after it.
    fn crash(self, crash_at: u64) -> Result<(), String> {
        let (first, seed) = (self.world(), self.seed);
        first.disk.crash_at(crash_at);
        let ended = match first.open() {
            Ok(store) => run(&first, &store, seed, self.steps, Model::default()),
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
}

/// The world after the cut: the tables come back at any flush that is not older than what was released.
fn survivor(world: &World, ended: &Ended, random: &mut Random) -> World {
    let flushes = world.tables.flushes().len() as u64;
    let oldest = ended.oldest_flush.map_or(0, |index| index as u64 + 1);
    let count = oldest + random.below(flushes - oldest + 1);
    let flush = usize::try_from(count).unwrap().checked_sub(1);
    world.after_crash(random.draw(), flush)
}

fn cut_everywhere(sync: Sync) {
    let mut cuts = 0;
    for seed in seeds() {
        let history = History { seed, steps: STEPS, sync, control: Control::Sound };
        cuts += history.cut(1);
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

#[test]
fn so_it_is_in_a_long_history_in_which_segments_are_joined() {
    let history = |seed| History { seed, steps: MANY_STEPS, sync: Sync::Always, control: Control::Sound };
    let joining = (1..30).map(history).filter(|history| history.calls().1 > 0);
    let (histories, stride) = if std::env::var("TIDEMILL_LONG").is_ok() { (30, 1) } else { (1, 4) };
    let cuts: Vec<_> = joining.take(histories).map(|history| history.cut(stride)).collect();
    println!("cuts: {cuts:?}");
    assert!(!cuts.is_empty());
}

#[test]
fn long_histories_are_found_again_by_a_plain_opening() {
    for seed in 1..30 {
        let history = History { seed, steps: MANY_STEPS, sync: Sync::Always, control: Control::Sound };
        let world = history.world();
        let store = world.open().unwrap();
        let ended = run(&world, &store, seed, history.steps, Model::default());
        drop(store);
        let compared = ended.may_be_found.last().unwrap().compare(&world.open().unwrap());
        assert_eq!(compared, Ok(()), "seed {seed}");
    }
}

/// Whether the suite finds the fault.
fn finds(control: Control) -> bool {
    (1..12).any(|seed| {
        let history = History { seed, steps: STEPS, sync: Sync::Always, control };
        let found = (0..history.calls().0).find_map(|crash_at| history.crash(crash_at).err());
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
