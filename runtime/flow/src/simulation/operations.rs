//! What operators and the world do to a running flow, one thing at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemill_bus::log::Abort;
use tidemill_bus::{Log, Offset, Partition};

use super::handler::{self, FakeHandler, Vice};
use super::log::Nature;
use super::world::{World, config};
use crate::config::{HandlerConfig, Start};
use crate::flow::{InstallError, Seek, SeekError, SeekTo};
use crate::handler::Fault;
use crate::status::HandlerState;
use crate::{limits, retry};

const CALM: Nature = Nature { gaps: 0, aborts: 0 };

fn world() -> World {
    let world = World::new(7, CALM);
    world.install(config());
    world
}

fn install(world: &World, config: HandlerConfig) -> Result<(), InstallError> {
    world.shared.install(config, Arc::new(handler::Shared(Arc::clone(&world.handler))))
}

fn seek(world: &mut World, to: SeekTo) {
    let all = Seek { topic: None, partition: None, to };
    let latch = world.shared.send("h", &all).unwrap();
    world.run();
    latch.wait();
}

#[test]
fn what_cannot_run_is_refused_by_name() {
    let world = world();
    let named = |name: &str, inputs: &[&str], outputs: &[&str]| HandlerConfig {
        inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
        outputs: outputs.iter().map(|&name| name.to_owned()).collect(),
        ..HandlerConfig::bare(name)
    };
    world.log.create_topic("wide", Some(9)).unwrap();
    for (config, expected) in [
        (named("h", &["x"], &[]), "handler \"h\" is installed already"),
        (named("b", &[], &[]), "handler \"b\" has no input"),
        (named("b", &["out"], &["in"]), "would close the cycle out -> b -> in -> h -> out"),
        (named("b", &["in", "wide"], &[]), "\"in\" and \"wide\" have 3 and 9 partitions"),
        (named("b", &["no name"], &[]), "handler \"b\" needs \"no name\": "),
    ] {
        let error = install(&world, config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    world.handler.has_state.store(false, Ordering::Relaxed);
    assert_eq!(install(&world, named("b", &["in", "wide"], &[])), Ok(()));
    let allowed = HandlerConfig { allow_cycle: true, ..named("c", &["out"], &["in"]) };
    assert_eq!(install(&world, allowed), Ok(()));
}

#[test]
fn a_handler_moves_where_an_operator_wants_it_paused_or_not() {
    let mut world = world();
    world.good(0..30);
    world.run();
    assert_eq!(world.outputs(), 30);
    seek(&mut world, SeekTo::Earliest);
    assert_eq!(world.outputs(), 60);
    world.shared.pause("h").unwrap();
    world.good(30..40);
    world.run();
    let since = world.log.now_ms();
    assert_eq!((world.outputs(), world.status().state), (60, HandlerState::Paused { since }));
    seek(&mut world, SeekTo::Offset(Offset(35)));
    assert_eq!((world.outputs(), world.status().partitions[0].position), (60, Offset(35)));
    world.shared.resume("h").unwrap();
    world.run();
    assert_eq!(world.outputs(), 65);
    let nowhere = Seek { topic: Some("out".to_owned()), partition: None, to: SeekTo::Latest };
    let error = world.shared.send("h", &nowhere).err().unwrap();
    assert!(matches!(error, SeekError::NotRead { .. }), "{error}");
}

#[test]
fn a_seek_survives_an_abort() {
    let mut world = world();
    world.good(0..30);
    world.run();
    *world.log.nature.lock() = Nature { gaps: 0, aborts: 2 };
    seek(&mut world, SeekTo::Earliest);
    assert_eq!(world.outputs(), 60);
}

#[test]
fn a_new_group_starts_where_it_is_told_and_remembers_it() {
    for start in [Start::Latest, Start::Time(i64::MAX)] {
        let mut world = World::new(7, CALM);
        world.good(0..10);
        let config = HandlerConfig { start, ..config() };
        world.install(config.clone());
        world.run();
        world.log.crash();
        world.good(10..15);
        world.restart(config);
        world.run();
        assert_eq!(world.outputs(), 5, "{start:?}");
    }
}

#[test]
fn the_next_batch_runs_on_the_new_version() {
    let mut world = world();
    world.good(0..100);
    world.turn();
    let new = FakeHandler::new(2, &world.log.now_us);
    world.shared.replace(config(), Arc::new(handler::Shared(Arc::clone(&new)))).unwrap();
    let before = world.handler.instances.load(Ordering::Relaxed);
    world.run();
    assert_eq!(world.outputs(), 100);
    assert_eq!(world.handler.instances.load(Ordering::Relaxed), before);
    assert!(new.instances.load(Ordering::Relaxed) > 0 && world.status().generation == 2);
}

#[test]
fn an_input_that_is_deleted_is_dropped_and_one_that_comes_back_is_read() {
    let mut world = world();
    world.good(0..10);
    world.run();
    world.good(10..40);
    world.turn();
    world.log.delete(world.topic("in").id);
    world.publish("more", 0, None, &Vice::Good.value(0));
    world.run();
    let before = world.outputs();
    assert!(before < 41, "what was in flight with the topic is aborted");
    assert_eq!(world.status().state, HandlerState::Running);
    world.log.create_topic("in", Some(3)).unwrap();
    world.good(0..5);
    world.run();
    assert_eq!(world.outputs(), before + 5);
}

#[test]
fn an_input_that_comes_back_with_other_partitions_is_not_read_by_a_handler_with_state() {
    let mut world = world();
    world.log.delete(world.topic("in").id);
    world.log.create_topic("in", Some(5)).unwrap();
    world.good(0..5);
    world.run();
    assert_eq!(world.outputs(), 0);
    let HandlerState::Stopped(reason) = world.status().state else { panic!("it runs") };
    assert!(reason.contains("\"in\" came back with 5 partitions, \"more\" has 3"), "{reason}");
}

#[test]
fn an_output_that_is_deleted_is_created_again() {
    let mut world = world();
    world.good(0..10);
    world.run();
    world.log.delete(world.topic("out").id);
    world.good(10..20);
    world.run();
    assert_eq!(world.outputs(), 10);
    assert_eq!(world.found()[0].state[&b"k"[..]], 20);
}

#[test]
fn what_retention_removed_is_counted_and_the_rest_is_read() {
    let mut world = World::new(7, CALM);
    world.install(config());
    world.good(0..10);
    world.run();
    world.shared.pause("h").unwrap();
    world.good(10..30);
    world.log.expire(world.topic("in").partition(Partition(0)), 25);
    world.shared.resume("h").unwrap();
    world.run();
    let status = world.status();
    assert_eq!((world.outputs(), status.counters.lost, status.partitions[0].lost), (15, 15, 15));
}

#[test]
fn a_broken_partition_stops_at_its_offset_and_no_other() {
    let mut world = World::new(7, CALM);
    world.good(0..30);
    let source = world.topic("in").partition(Partition(0));
    world.log.break_at(source, Some(17));
    world.install(config());
    world.publish("in", 1, None, &Vice::Good.value(0));
    world.run();
    let HandlerState::Stopped(reason) = world.status().state else { panic!("it runs") };
    assert!(reason.contains("broken at offset 17"), "{reason}");
    assert_eq!(world.outputs(), 18);
    world.log.break_at(source, None);
    world.shared.resume("h").unwrap();
    world.run();
    assert_eq!((world.outputs(), world.status().state), (31, HandlerState::Running));
}

#[test]
fn what_was_read_before_a_reset_is_not_committed_after_it() {
    let mut world = world();
    world.good(0..30);
    world.run();
    world.good(30..40);
    world.turn();
    world.log.reset(world.driver(0), world.topic("in").id, 38);
    world.run();
    assert_eq!(world.outputs(), 32);
    assert!(world.status().counters.aborts > 0);
}

#[test]
fn a_poisoned_log_fails_the_handler_and_says_so() {
    let mut world = world();
    world.log.refuse(Some(Abort::Poisoned("no disk".into())));
    world.good(0..10);
    world.run();
    let HandlerState::Failed(reason) = world.status().state else { panic!("it runs") };
    assert!(reason.contains("no disk"), "{reason}");
    assert_eq!(world.shared.core.budget.used(), 0);
}

#[test]
fn a_full_disk_is_waited_for() {
    let mut world = world();
    world.log.refuse(Some(Abort::Full("no room".into())));
    world.good(0..10);
    for _ in 0..20 {
        world.settle();
    }
    let HandlerState::Retrying(reason) = world.status().state else { panic!("it does not wait") };
    assert!(reason.contains("no room") && world.outputs() == 0, "{reason}");
    assert!(world.status().counters.aborts < 30, "it waits longer each time");
    world.log.refuse(None);
    world.run();
    assert_eq!(world.outputs(), 10);
}

#[test]
fn a_restart_waits_for_what_is_left_of_a_pause() {
    let mut world = World::new(7, CALM);
    let mut config = config();
    (config.retry.backoff, config.retry.max_backoff) = (Duration::from_hours(1), Duration::from_hours(1));
    world.install(config.clone());
    let offset = world.publish("in", 0, None, &Vice::Trap.value(0));
    while world.turn() || world.log.decide() || world.log.answer() {}
    let first = world.status().partitions[0].clone();
    let failed =
        retry::Failed { driver: world.driver(0), offset: Offset(offset), attempts: 1, after_ms: None };
    let pause = retry::pause_ms(&config.retry, failed);
    assert!(first.attempts == 1 && (first.not_before - world.log.now_ms() - pause).abs() < 10);
    world.advance(Duration::from_millis(u64::try_from(pause / 2).unwrap()));
    world.restart(config);
    while world.turn() || world.log.decide() || world.log.answer() {}
    let second = world.status();
    assert_eq!(second.counters.batches, 0);
    assert_eq!(second.partitions[0].not_before, first.not_before);
    world.settle();
    assert!(world.log.now_ms() >= first.not_before);
    world.run();
    world.assert_expected(3);
}

#[test]
fn a_fault_of_the_host_is_never_the_events() {
    let mut world = world();
    world.handler.host_faults.store(1, Ordering::Relaxed);
    world.good(0..10);
    for _ in 0..50 {
        world.settle();
    }
    let status = world.status();
    assert_eq!((world.outputs(), status.counters.dead_letters, status.partitions[0].attempts), (0, 0, 0));
    assert!(matches!(status.state, HandlerState::Retrying(_)), "{:?}", status.state);
    world.handler.host_faults.store(0, Ordering::Relaxed);
    world.run();
    world.assert_expected(3);
    assert_eq!(world.status().state, HandlerState::Running);
}

#[test]
fn a_guest_that_cannot_be_instantiated_is_at_fault_itself_and_no_event_is() {
    let mut world = world();
    let trap = Fault::Trap { message: "unreachable".to_owned(), backtrace: String::new() };
    *world.handler.start.lock() = Some(trap);
    world.good(0..10);
    for _ in 0..50 {
        world.settle();
    }
    let status = world.status();
    let HandlerState::Retrying(reason) = status.state else { panic!("it runs") };
    assert_eq!(reason, "cannot be instantiated: trapped: unreachable");
    let faults: Vec<_> = status.counters.faults.into_iter().filter(|(_, count)| *count > 0).collect();
    assert!(matches!(faults[..], [("trap", 1..=50)]), "{faults:?}");
    assert_eq!((status.counters.batches, status.counters.dead_letters), (0, 0));
    assert_eq!(status.partitions[0].attempts, 0);
    // Another version does not wait for what is left of the pause.
    world.handler = FakeHandler::new(2, &world.log.now_us);
    let handler = Arc::new(handler::Shared(Arc::clone(&world.handler)));
    world.shared.replace(config(), handler).unwrap();
    while world.turn() || world.log.decide() || world.log.answer() {}
    assert_eq!((world.outputs(), world.status().state), (10, HandlerState::Running));
}

#[test]
fn only_a_lone_event_of_those_that_are_suspected_has_the_whole_deadline() {
    let mut world = world();
    world.good(0..200);
    world.run();
    for number in 0..40 {
        let vice = if number == 17 { Vice::Spin } else { Vice::Good };
        world.publish("in", 0, None, &vice.value(number));
    }
    world.run();
    let whole = config().limits.deadline;
    let deadlines = world.handler.deadlines.lock().clone();
    let parts: Vec<_> = deadlines[1..].iter().filter(|(events, _)| *events > 1).collect();
    assert!(deadlines[0].1 == whole && !parts.is_empty());
    for (events, deadline) in parts {
        assert!((limits::PART_DEADLINE_MIN..whole).contains(deadline), "{events}: {deadline:?}");
    }
    assert!(deadlines.iter().filter(|(events, _)| *events == 1).all(|(_, deadline)| *deadline == whole));
}

#[test]
fn a_driver_has_two_transactions_in_flight_and_no_more() {
    let mut world = world();
    world.good(0..500);
    while world.turn() {}
    assert_eq!(world.log.in_flight(), limits::TRANSACTIONS_IN_FLIGHT);
    world.run();
    assert_eq!(world.outputs(), 500);
}

#[test]
fn without_bytes_nothing_is_read_and_answers_bring_them_back() {
    let mut world = World::with_budget(7, CALM, 1);
    world.install(config());
    for number in 0..30 {
        for partition in 0..3 {
            world.publish("in", partition, None, &Vice::Good.value(number));
        }
    }
    while world.turn() {}
    assert_eq!(world.log.in_flight(), 1, "the budget is for one");
    world.run();
    world.assert_expected(3);
}

#[test]
fn inputs_are_served_in_turn() {
    let mut world = World::new(7, CALM);
    for number in 0..400 {
        world.publish("in", 0, None, &Vice::Good.value(number));
        world.publish("more", 0, None, &Vice::Good.value(number));
    }
    world.install(config());
    let mut most = 0;
    while world.outputs() < 800 {
        world.turn();
        world.log.decide();
        world.log.answer();
        let positions: Vec<_> = world
            .status()
            .partitions
            .iter()
            .filter(|at| at.partition.0 == 0)
            .map(|at| at.position.0)
            .collect();
        if let [one, two] = positions[..] {
            most = most.max(one.abs_diff(two));
        }
    }
    assert!(most <= 3 * 40, "one input is {most} ahead of the other");
}
