//! New versions at any moment, good ones, flawed ones, ones that want another state: whatever the order, nothing is
//! lost, nothing comes twice, and no event is given up because of a bad version.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemill_bus::log::Abort;

use super::handler::{self, FLAWS, FakeHandler, Flaw, VICES, Vice};
use super::log::Nature;
use super::world::{World, config};
use crate::config::HandlerConfig;
use crate::flow::{Seek, SeekTo};
use crate::status::HandlerState;

const CALM: Nature = Nature { gaps: 0, aborts: 0 };

fn good(world: &World, numbers: std::ops::Range<u64>) {
    for number in numbers {
        world.publish("in", u32::try_from(number % 3).unwrap(), Some("k"), &Vice::Good.value(number));
    }
}

fn replace(world: &World, handler: &Arc<FakeHandler>) {
    replace_as(world, config(), handler);
}

fn replace_as(world: &World, config: HandlerConfig, handler: &Arc<FakeHandler>) {
    world.shared.replace(config, Arc::new(handler::Shared(Arc::clone(handler)))).unwrap();
}

fn world() -> World {
    let mut world = World::new(7, CALM);
    world.install(config());
    good(&world, 0..30);
    world.run();
    world
}

#[test]
fn a_version_that_fails_before_its_first_commit_goes_and_the_former_does_the_work() {
    for flaw in FLAWS {
        let mut world = world();
        replace(&world, &FakeHandler::flawed(2, &world.log.now_us, flaw));
        assert_eq!(world.status().on_trial, Some(3));
        good(&world, 30..60);
        world.run();
        let status = world.status();
        assert_eq!((world.outputs(), status.counters.dead_letters), (60, 0), "{flaw:?}");
        assert_eq!((&*status.version, status.in_charge.as_deref()), ("v1", Some("v1")));
        assert_eq!((status.on_trial, status.state), (None, HandlerState::Running));
        let refused = status.refused.unwrap();
        assert_eq!(&*refused.version, format!("{flaw:?}-2"));
        assert!(!refused.reason.is_empty(), "{flaw:?}");
        world.assert_expected(3);
    }
}

#[test]
fn a_version_is_in_charge_when_it_has_a_commit_in_every_partition() {
    let mut world = world();
    replace(&world, &FakeHandler::new(2, &world.log.now_us));
    good(&world, 30..32);
    world.run();
    let status = world.status();
    assert_eq!((&*status.version, status.in_charge.as_deref(), status.on_trial), ("v2", Some("v1"), Some(1)));
    good(&world, 32..33);
    world.run();
    let status = world.status();
    assert_eq!((&*status.version, status.in_charge.as_deref(), status.on_trial), ("v2", Some("v2"), None));
    assert_eq!((status.refused, world.outputs()), (None, 33));
    world.reopen();
    assert_eq!(world.shared.in_charge("h"), Ok(Some("v2".to_owned())));
}

#[test]
fn a_fault_in_a_partition_where_it_proved_itself_is_the_events() {
    let mut world = world();
    replace(&world, &FakeHandler::new(2, &world.log.now_us));
    world.publish("in", 1, None, &Vice::Good.value(0));
    world.run();
    world.publish("in", 1, None, &Vice::Trap.value(1));
    world.run();
    let status = world.status();
    assert_eq!((&*status.version, status.counters.dead_letters), ("v2", 1));
    // Where it did not, it is the version's.
    world.publish("in", 0, None, &Vice::Trap.value(2));
    world.run();
    let status = world.status();
    assert_eq!((&*status.version, &*status.refused.unwrap().version), ("v1", "v2"));
    world.assert_expected(3);
}

#[test]
fn a_commit_that_settles_no_event_proves_no_version() {
    let mut world = world();
    replace(&world, &FakeHandler::flawed(2, &world.log.now_us, Flaw::Trap));
    let everywhere = Seek { topic: None, partition: None, to: SeekTo::Earliest };
    let latch = world.shared.send("h", &everywhere).unwrap();
    world.run();
    latch.wait();
    let status = world.status();
    assert_eq!((&*status.version, &*status.refused.unwrap().version), ("v1", "Trap-2"));
    assert_eq!((world.outputs(), status.counters.dead_letters), (60, 0));
}

#[test]
fn a_version_that_never_worked_does_not_come_back() {
    let mut world = World::new(7, CALM);
    // As when a component is dropped in before its settings: it reads a topic where nothing comes.
    world.install(config());
    world.run();
    assert_eq!(world.status().in_charge, None);
    replace(&world, &FakeHandler::new(2, &world.log.now_us));
    assert_eq!(world.status().on_trial, None);
    world.publish("in", 0, None, &Vice::Reject.value(0));
    world.run();
    let status = world.status();
    assert_eq!((&*status.version, status.in_charge.as_deref()), ("v2", Some("v2")));
    assert_eq!((status.counters.dead_letters, status.refused), (1, None));
    world.assert_expected(3);
}

#[test]
fn a_proof_that_cannot_be_noted_stops_nobody() {
    let mut world = world();
    replace(&world, &FakeHandler::new(2, &world.log.now_us));
    good(&world, 30..33);
    while world.turn() {}
    while world.log.decide() || world.log.answer() {}
    world.log.refuse(Some(Abort::Full("no room".into())));
    while world.turn() {}
    world.log.refuse(None);
    good(&world, 33..36);
    world.run();
    let status = world.status();
    assert_eq!((world.outputs(), status.state, status.on_trial), (36, HandlerState::Running, Some(0)));
    assert_eq!((&*status.version, status.in_charge.as_deref()), ("v2", Some("v1")));
}

#[test]
fn one_bad_version_after_the_other_leaves_the_good_one_in_charge() {
    let mut world = world();
    for (seed, flaw) in (2..).zip(FLAWS) {
        replace(&world, &FakeHandler::flawed(seed, &world.log.now_us, flaw));
    }
    good(&world, 30..60);
    world.run();
    assert_eq!((&*world.status().version, world.outputs()), ("v1", 60));
    world.assert_expected(3);
}

#[test]
fn a_version_of_another_state_gets_no_call_until_the_state_is_adopted() {
    let mut world = world();
    let other = HandlerConfig { state_version: 2, ..config() };
    let new = FakeHandler::new(2, &world.log.now_us);
    replace_as(&world, other.clone(), &new);
    good(&world, 30..60);
    world.run();
    let HandlerState::Stopped(reason) = world.status().state else { panic!("it runs") };
    assert!(reason.contains("state-version 1, and it wants 2"), "{reason}");
    assert_eq!((world.outputs(), new.instances.load(Ordering::Relaxed)), (30, 0));
    world.handler = Arc::clone(&new);
    world.restart(other);
    world.run();
    assert!(world.outputs() == 30 && matches!(world.status().state, HandlerState::Stopped(_)));
    assert_eq!(world.shared.in_charge("h"), Ok(Some("v1".to_owned())));
    world.shared.adopt_state("h").unwrap();
    world.run();
    let status = world.status();
    assert_eq!((world.outputs(), status.state), (60, HandlerState::Running));
    assert_eq!(status.in_charge.as_deref(), Some("v2"));
    assert_eq!(world.found()[0].state[&b"k"[..]], 20);
}

#[test]
fn the_version_of_the_right_state_brings_a_stopped_handler_back() {
    let mut world = world();
    let other = HandlerConfig { state_version: 2, ..config() };
    replace_as(&world, other, &FakeHandler::new(2, &world.log.now_us));
    good(&world, 30..60);
    world.run();
    replace(&world, &FakeHandler::flawed(3, &world.log.now_us, Flaw::Trap));
    world.run();
    let status = world.status();
    assert_eq!((world.outputs(), &*status.version, status.state), (60, "v1", HandlerState::Running));
    world.assert_expected(3);
}

/// What a history knows of the versions.
struct Versions {
    good: BTreeMap<String, Arc<FakeHandler>>,
    newest: (HandlerConfig, Arc<FakeHandler>),
    next: u64,
}

impl Versions {
    /// Another version, of one kind or the other.
    fn another(&mut self, world: &World, rng: &mut fastrand::Rng) {
        self.next += 1;
        let (seed, now_us) = (self.next, &world.log.now_us);
        let mut settings = config();
        let handler = match rng.u8(..10) {
            0..5 => FakeHandler::flawed(seed, now_us, *rng.choice(&FLAWS).unwrap()),
            5 => {
                settings.state_version = 2;
                FakeHandler::new(seed, now_us)
            }
            _ => {
                let handler = FakeHandler::new(seed, now_us);
                self.good.insert(handler.version.clone(), Arc::clone(&handler));
                handler
            }
        };
        handler.host_faults.store(rng.u64(..3) * 15, Ordering::Relaxed);
        self.newest = (settings, handler);
        replace_as(world, self.newest.0.clone(), &self.newest.1);
    }

    /// The process dies and comes up again: the version in charge, and the newest on trial, as a host does it.
    fn restart(&self, world: &mut World) {
        world.reopen();
        let in_charge = world.shared.in_charge("h").unwrap().unwrap();
        world.handler = Arc::clone(&self.good[&in_charge]);
        world.install(config());
        if self.newest.1.version != in_charge {
            replace_as(world, self.newest.0.clone(), &self.newest.1);
        }
    }
}

fn history(seed: u64, nature: Nature) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::new(seed, nature);
    world.install(config());
    // The first version has proved itself: there is one that can come back.
    world.publish("in", 0, None, &Vice::Good.value(0));
    world.run();
    let first = Arc::clone(&world.handler);
    let good = BTreeMap::from([(first.version.clone(), Arc::clone(&first))]);
    let mut versions = Versions { good, newest: (config(), first), next: 1 };
    for step in 0..2_000 {
        match rng.u8(..20) {
            0..6 => {
                let vice = if rng.u8(..12) == 0 { *rng.choice(&VICES).unwrap() } else { Vice::Good };
                let topic = if rng.bool() { "in" } else { "more" };
                let key = [None, Some("a"), Some("b")][rng.usize(..3)];
                world.publish(topic, rng.u32(..3), key, &vice.value(step));
            }
            6..12 => drop(world.turn()),
            12..15 => drop(world.log.decide()),
            15..18 => drop(world.log.answer()),
            18 => world.advance(Duration::from_micros(rng.u64(..20_000))),
            _ => drop(world.settle()),
        }
        match rng.u16(..600) {
            0..12 => versions.another(&world, &mut rng),
            12..15 => versions.restart(&mut world),
            15 => world.shared.pause("h").unwrap(),
            16..20 => world.shared.resume("h").unwrap(),
            _ => {}
        }
    }
    let last = FakeHandler::new(versions.next + 1, &world.log.now_us);
    versions.good.insert(last.version.clone(), Arc::clone(&last));
    replace(&world, &last);
    world.shared.resume("h").unwrap();
    world.run();
    world.assert_expected(3);
    assert!(versions.good.contains_key(&*world.status().in_charge.unwrap()), "{:?}", world.status());
}

#[test]
fn versions_come_at_any_moment_and_nothing_is_lost_doubled_or_given_up() {
    let count = if std::env::var_os("TIDEMILL_LONG").is_some() { 2_000 } else { 60 };
    let base = std::env::var("TIDEMILL_SEED").ok().and_then(|seed| seed.parse().ok());
    for number in 0..base.map_or(count, |_| 1) {
        let seed = base.unwrap_or_else(|| fastrand::u64(..)).wrapping_add(number);
        println!("TIDEMILL_SEED={seed}");
        let nature = if number % 2 == 0 { CALM } else { Nature { gaps: 6, aborts: 12 } };
        history(seed, nature);
    }
}
