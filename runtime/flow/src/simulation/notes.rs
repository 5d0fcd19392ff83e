//! What outlives the process: a pause, the version in charge.

use std::sync::Arc;
use std::time::Duration;

use tidemill_bus::Log;
use tidemill_bus::log::Abort;

use super::handler::{self, FakeHandler};
use super::log::Nature;
use super::world::{World, config};
use crate::flow::{InstallError, OperateError};
use crate::status::HandlerState;

fn world() -> World {
    let world = World::new(7, Nature { gaps: 0, aborts: 0 });
    world.install(config());
    world
}

#[test]
fn a_pause_survives_a_restart_and_a_resume_ends_it() {
    let mut world = world();
    world.shared.pause("h").unwrap();
    let since = world.log.now_ms();
    world.good(0..10);
    world.advance(Duration::from_secs(5));
    world.shared.pause("h").unwrap();
    for _ in 0..2 {
        world.restart(config());
        world.run();
        assert_eq!((world.outputs(), world.status().state), (0, HandlerState::Paused { since }));
    }
    world.shared.resume("h").unwrap();
    world.restart(config());
    world.run();
    assert_eq!((world.outputs(), world.status().state), (10, HandlerState::Running));
}

#[test]
fn what_cannot_be_noted_is_not_done() {
    let mut world = world();
    world.log.refuse(Some(Abort::Closing));
    assert!(matches!(world.shared.pause("h"), Err(OperateError::Note { .. })));
    assert_eq!(world.status().state, HandlerState::Running);
    world.log.refuse(None);
    world.log.set_note(world.driver(0).handler, b"from the future").unwrap();
    world.reopen();
    let handler = Arc::new(handler::Shared(Arc::clone(&world.handler)));
    assert_eq!(world.shared.install(config(), handler), Err(InstallError::Note("h".to_owned())));
}

#[test]
fn the_status_has_the_version_from_the_first_moment() {
    let world = world();
    assert_eq!((&*world.status().version, world.status().generation), ("v1", 1));
    let new = FakeHandler::new(2, &world.log.now_us);
    world.shared.replace(config(), Arc::new(handler::Shared(new))).unwrap();
    assert_eq!((&*world.status().version, world.status().generation), ("v2", 2));
}

#[test]
fn the_status_has_every_partition_and_what_waits_there_from_the_first_moment() {
    let mut world = world();
    world.good(0..30);
    let waiting = |world: &World| {
        let status = world.status();
        let lags: Vec<_> = status.partitions.iter().map(|partition| partition.lag).collect();
        (lags.len(), lags.iter().sum::<u64>())
    };
    let (partitions, lag) = waiting(&world);
    assert!(partitions == 6 && lag >= 30, "{partitions} {lag}");
    world.run();
    assert_eq!(waiting(&world), (6, 0));
    // A restart begins where the log has it, though no driver had a turn.
    world.restart(config());
    assert_eq!(waiting(&world), (6, 0));
}
