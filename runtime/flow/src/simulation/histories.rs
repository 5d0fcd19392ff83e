//! Random histories: events of every vice, gaps, aborts, late answers, faults of the host, restarts, new versions,
//! pauses. Whatever the order, what comes out is what the model says.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::handler::{self, FakeHandler, VICES, Vice};
use super::log::Nature;
use super::world::{World, config};
use crate::config::Then;

/// How often things happen in a history.
#[derive(Clone, Copy)]
struct Weather {
    nature: Nature,
    /// One event in so many has a vice.
    vices: u64,
    /// One step in so many is a restart.
    restarts: u64,
    host_faults: u64,
    steps: u64,
}

fn history(seed: u64, weather: Weather) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::new(seed, weather.nature);
    world.handler.host_faults.store(weather.host_faults, Ordering::Relaxed);
    world.install(config());
    for step in 0..weather.steps {
        match rng.u8(..20) {
            0..6 => {
                let vice =
                    if rng.u64(..weather.vices) == 0 { *rng.choice(&VICES).unwrap() } else { Vice::Good };
                let topic = if rng.bool() { "in" } else { "more" };
                let key = [None, Some("a"), Some("b"), Some("c")][rng.usize(..4)];
                world.publish(topic, rng.u32(..3), key, &vice.value(step));
            }
            6..12 => drop(world.turn()),
            12..15 => drop(world.log.decide()),
            15..18 => drop(world.log.answer()),
            18 => world.advance(Duration::from_micros(rng.u64(..20_000))),
            _ => drop(world.settle()),
        }
        if rng.u64(..weather.restarts) == 0 {
            world.restart(config());
        }
        if rng.u64(..500) == 0 {
            world.handler = FakeHandler::new(step + 2, &world.log.now_us);
            world.handler.host_faults.store(weather.host_faults, Ordering::Relaxed);
            world.shared.replace(config(), Arc::new(handler::Shared(Arc::clone(&world.handler)))).unwrap();
        }
        if rng.u64(..300) == 0 {
            world.shared.pause("h").unwrap();
        }
        if rng.u64(..50) == 0 {
            world.shared.resume("h").unwrap();
        }
    }
    world.shared.resume("h").unwrap();
    world.run();
    world.assert_expected(3);
}

/// Runs histories with different seeds; says which one failed.
fn histories(weather: Weather) {
    let count = if std::env::var_os("TIDEMILL_LONG").is_some() { 2_000 } else { 60 };
    let base = std::env::var("TIDEMILL_SEED").ok().and_then(|seed| seed.parse().ok());
    for number in 0..base.map_or(count, |_| 1) {
        let seed = base.unwrap_or_else(|| fastrand::u64(..)).wrapping_add(number);
        println!("TIDEMILL_SEED={seed}");
        history(seed, weather);
    }
}

const CALM: Weather = Weather {
    nature: Nature { gaps: 0, aborts: 0 },
    vices: 1_000_000,
    restarts: 1_000_000,
    host_faults: 0,
    steps: 2_000,
};

#[test]
fn good_events_come_out_once_and_in_order() {
    histories(CALM);
}

#[test]
fn the_guilty_and_only_they_are_dead_letters() {
    histories(Weather { vices: 8, ..CALM });
}

#[test]
fn gaps_aborts_and_late_answers_change_nothing() {
    histories(Weather { nature: Nature { gaps: 5, aborts: 6 }, ..CALM });
}

#[test]
fn everything_at_once_changes_nothing() {
    let nature = Nature { gaps: 6, aborts: 12 };
    histories(Weather { nature, vices: 6, restarts: 150, host_faults: 20, ..CALM });
}

#[test]
fn nothing_but_vices_comes_to_an_end() {
    histories(Weather { vices: 1, steps: 400, ..CALM });
}

#[test]
fn dropped_events_are_counted_and_leave_no_letter() {
    let mut world = World::new(1, CALM.nature);
    let mut config = config();
    config.retry.then = Then::Drop;
    world.install(config);
    for number in 0..50 {
        world.publish("in", 0, None, &Vice::Good.value(number));
    }
    world.publish("in", 0, None, &Vice::Trap.value(50));
    world.publish("in", 0, None, &Vice::Stop.value(51));
    world.publish("in", 0, None, &Vice::Good.value(52));
    world.run();
    let status = world.status();
    assert_eq!((status.counters.dropped, status.counters.dead_letters), (2, 0));
    assert_eq!((status.counters.events_in, status.counters.events_out), (53, 51));
    assert_eq!(status.counters.retries, 4);
}

#[test]
fn a_partition_that_gives_up_stands_still_until_it_is_resumed() {
    let mut world = World::new(1, CALM.nature);
    let mut stop = config();
    stop.retry.then = Then::Stop;
    world.install(stop.clone());
    let guilty = world.publish("in", 1, None, &Vice::Trap.value(0));
    world.publish("in", 1, None, &Vice::Good.value(1));
    world.publish("in", 2, None, &Vice::Good.value(2));
    world.run();
    let check = |world: &World| {
        let status = world.status();
        let crate::status::HandlerState::Stopped(reason) = status.state else { panic!("it runs") };
        assert!(reason.contains(&format!("offset {guilty} after 3 attempts")), "{reason}");
        assert_eq!(world.found()[1].out.len(), 0);
        assert_eq!(world.found()[2].out.len(), 1);
    };
    check(&world);
    let calls = world.status().counters.batches;
    world.restart(stop.clone());
    world.run();
    check(&world);
    assert_eq!(world.status().counters.batches, 0, "a restart does not try again");
    world.shared.resume("h").unwrap();
    world.run();
    check(&world);
    assert!(world.status().counters.batches >= 3 && calls >= 3);
}
