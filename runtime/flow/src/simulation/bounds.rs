//! Every bound of `limits.rs` driven to full by a test: which, stands here; those that need a whole flow are here too.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemill_bus::{Columns, DriverKey, Log};

use super::handler::{self, FakeHandler, Vice};
use super::log::Nature;
use super::world::{World, config};
use crate::config::HandlerConfig;
use crate::flow::InstallError;
use crate::handler::{Call, Fault, Handler, Instance};
use crate::limits;
use crate::output::Output;
use crate::pool::Rest;
use crate::scheduler::Ripeness;

/// Each bound, and the test that drives it, `FILE:FUNCTION` from `src`.
const BOUNDS: [(&str, &str); 29] = [
    ("SLOW_AFTER", "../../wasm/src/clock.rs:a_slow_call_is_told_once_and_goes_on"),
    (
        "WAITING_AFTER",
        "../../wasm/src/clock.rs:a_call_is_slow_by_the_processor_time_it_used_or_by_a_long_wait",
    ),
    ("WORKERS_PER_CORE", "simulation/threads.rs:as_many_calls_are_under_way_as_there_are_workers"),
    (
        "SLOW_PERMITS_PER_TWO_CORES",
        "simulation/threads.rs:looping_guests_do_not_freeze_the_rest_and_share_the_slow_permits",
    ),
    ("SLOW_NICENESS", "simulation/threads.rs:a_slow_call_gives_way_and_the_next_one_on_its_worker_does_not"),
    ("WASTE_WEIGHT", "pool/core.rs:what_came_to_nothing_is_charged_many_times_over"),
    ("SLOW_CALLS_PER_CORE", "pool/permits.rs:with_so_many_slow_calls_a_handler_that_was_slow_waits"),
    (
        "TRANSACTIONS_IN_FLIGHT",
        "simulation/operations.rs:a_driver_has_two_transactions_in_flight_and_no_more",
    ),
    ("IN_FLIGHT_BYTES", "simulation/bounds.rs:unanswered_bytes_are_bounded_for_all_drivers_together"),
    ("BATCH_TIME", "driver/size.rs:a_batch_grows_until_it_takes_the_time_that_it_should"),
    ("FIRST_BATCH_EVENTS", "driver/size.rs:a_batch_grows_until_it_takes_the_time_that_it_should"),
    ("BATCH_GROWTH", "driver/size.rs:a_batch_grows_until_it_takes_the_time_that_it_should"),
    ("RIPE_BYTES", "simulation/bounds.rs:a_driver_is_ripe_with_so_many_bytes_waiting"),
    ("LINGER", "scheduler/mod.rs:what_lingers_waits_behind_what_is_ripe_until_it_is_two_ms_old"),
    ("QUANTUM", "scheduler/mod.rs:every_handler_with_work_gets_the_same_time"),
    ("PART_DEADLINE_FACTOR", "isolation.rs:a_part_has_a_short_deadline_and_a_lone_event_the_whole"),
    ("PART_DEADLINE_MIN", "isolation.rs:a_part_has_a_short_deadline_and_a_lone_event_the_whole"),
    ("RETRY_AFTER_MAX", "retry.rs:a_pause_lies_below_the_doubled_backoff_and_above_what_the_guest_asks"),
    ("HOST_BACKOFF", "simulation/bounds.rs:pauses_after_faults_of_the_host_double_up_to_the_longest"),
    ("HOST_BACKOFF_MAX", "simulation/bounds.rs:pauses_after_faults_of_the_host_double_up_to_the_longest"),
    ("STATE_KEY_BYTES", "outcome/check.rs:every_lie_is_found_and_named"),
    ("STATE_VALUE_BYTES", "outcome/check.rs:every_lie_is_found_and_named"),
    ("EVENT_BYTES", "outcome/scatter.rs:an_event_above_the_limit_refuses_its_cause"),
    ("BLOCK_BYTES", "outcome/scatter.rs:a_full_block_goes_on_in_another_of_the_same_partition"),
    ("TRANSACTION_BYTES", "simulation/bounds.rs:a_transaction_that_would_be_too_large_is_made_in_parts"),
    ("VERSION_BYTES", "simulation/bounds.rs:a_version_is_named_by_so_many_bytes"),
    ("REASON_BYTES", "dead_letter.rs:a_dead_letter_keeps_the_event_and_says_what_happened"),
    ("OUTPUT_TOPICS", "simulation/bounds.rs:a_glob_makes_topics_until_there_are_too_many"),
    ("HANDLERS", "simulation/bounds.rs:there_are_as_many_handlers_as_there_may_be"),
];

#[test]
fn every_bound_has_a_test_that_drives_it_to_full() {
    let bounds: Vec<&str> = include_str!("../limits.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
        .collect();
    for bound in &bounds {
        assert!(BOUNDS.iter().any(|(listed, _)| listed == bound), "{bound} is driven by no test");
    }
    let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (bound, test) in BOUNDS {
        assert!(bounds.contains(&bound), "{bound} is no bound");
        let (file, function) = test.split_once(':').unwrap();
        let text = std::fs::read_to_string(src.join(file)).unwrap();
        let begun = text.split(&format!("fn {function}(")).next().unwrap();
        let is_test = begun.len() < text.len() && begun.trim_end().ends_with("#[test]");
        assert!(is_test, "{bound}: there is no test {test}");
    }
}

const CALM: Nature = Nature { gaps: 0, aborts: 0 };

/// A handler that is one function.
#[derive(Clone, Copy)]
struct Plain(fn(&Call<'_>) -> Output);

impl Handler for Plain {
    fn version(&self) -> &'static str {
        "plain"
    }

    fn instantiate(&self, _driver: DriverKey) -> Result<Box<dyn Instance>, Fault> {
        Ok(Box::new(*self))
    }

    fn has_state(&self) -> bool {
        false
    }
}

impl Instance for Plain {
    fn process(&mut self, call: Call<'_>) -> Result<Output, Fault> {
        Ok(self.0(&call))
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// An output of one event for each of the batch, each of so many bytes.
fn one_for_each(call: &Call<'_>, bytes: usize) -> Output {
    let count = u32::try_from(call.batch.len()).unwrap();
    let events = Columns {
        value_lens: vec![i32::try_from(bytes).unwrap(); call.batch.len()],
        data: vec![0; call.batch.len() * bytes],
        ..Columns::default()
    };
    Output { settled: count, cause_of: (0..count).collect(), events, ..Output::default() }
}

fn wide(call: &Call<'_>) -> Output {
    one_for_each(call, 1 << 20)
}

#[test]
fn a_transaction_that_would_be_too_large_is_made_in_parts() {
    let mut world = World::new(7, CALM);
    for number in 0..40 {
        world.publish("in", 0, Some("k"), &Vice::Good.value(number));
    }
    world.shared.install(config(), Arc::new(Plain(wide))).unwrap();
    world.run();
    let faults = world.status().counters.faults;
    assert!(faults.iter().any(|(kind, count)| *kind == "output" && *count > 0), "{faults:?}");
    assert_eq!((world.outputs(), world.status().counters.dead_letters), (40, 0));
}

#[test]
fn unanswered_bytes_are_bounded_for_all_drivers_together() {
    let mut world = World::with_budget(7, CALM, limits::IN_FLIGHT_BYTES);
    for partition in 0..3 {
        for number in 0..31 {
            world.publish("in", partition, None, &Vice::Good.value(number));
        }
        world.publish("more", partition, None, &Vice::Good.value(0));
    }
    world.shared.install(config(), Arc::new(Plain(wide))).unwrap();
    while world.turn() {}
    let used = world.shared.core.budget.used();
    // What a call returns is known only afterwards: the budget may be passed by one output for each worker.
    let most = limits::IN_FLIGHT_BYTES + limits::TRANSACTION_BYTES;
    assert!((limits::IN_FLIGHT_BYTES..most).contains(&used), "{used} bytes");
    let left: u64 = world.status().partitions.iter().map(|partition| partition.lag).sum();
    assert!(left > 0 && world.log.in_flight() < 6, "nothing had to wait");
    world.run();
    assert_eq!((world.outputs(), world.shared.core.budget.used()), (3 * 32, 0));
}

#[test]
fn a_driver_is_ripe_with_so_many_bytes_waiting() {
    let one = {
        let mut event = Columns::default();
        let value = Vice::Good.value(100);
        event.push(tidemill_bus::Event { time: 0, key: None, headers: &[], value: Some(&value) });
        event.byte_len() as u64
    };
    let enough = limits::RIPE_BYTES.div_ceil(one);
    for (waiting, ripeness) in [(enough, Ripeness::Ripe), (enough - 1, Ripeness::Fresh)] {
        let mut world = World::new(7, CALM);
        let mut config = config();
        config.batch.max_events = 1;
        world.install(config);
        world.run();
        for number in 0..=waiting {
            world.publish("in", 0, None, &Vice::Good.value(100 + number));
        }
        assert_eq!(world.rest_of_turn(), Some(Rest::Ready(ripeness)), "{waiting} events wait");
    }
}

#[test]
fn pauses_after_faults_of_the_host_double_up_to_the_longest() {
    let mut world = World::new(7, CALM);
    world.install(config());
    world.run();
    *world.handler.start.lock() = Some(Fault::Host("no address space".to_owned()));
    world.publish("in", 0, None, &Vice::Good.value(0));
    let mut pauses = Vec::new();
    for _ in 0..12 {
        while world.turn() {}
        let timer = world.shared.core.next_timer().unwrap();
        let now = Duration::from_micros(world.log.now_us.load(Ordering::SeqCst));
        pauses.push(timer.saturating_sub(now));
        world.settle();
    }
    let doubled = |count: u32| (limits::HOST_BACKOFF * 2_u32.pow(count)).min(limits::HOST_BACKOFF_MAX);
    assert_eq!(pauses, (0..12).map(doubled).collect::<Vec<_>>());
    assert_eq!(pauses[11], limits::HOST_BACKOFF_MAX);
}

#[test]
fn a_version_is_named_by_so_many_bytes() {
    let world = World::new(7, CALM);
    let named = |bytes: usize| {
        let mut handler = FakeHandler::new(1, &world.log.now_us);
        Arc::get_mut(&mut handler).unwrap().version = "v".repeat(bytes);
        let config = HandlerConfig { name: format!("h{bytes}"), ..config() };
        world.shared.install(config, Arc::new(handler::Shared(handler)))
    };
    let limit = limits::VERSION_BYTES;
    assert_eq!(named(limit), Ok(()));
    let handler = format!("h{}", limit + 1);
    assert_eq!(named(limit + 1), Err(InstallError::Version { handler, bytes: limit + 1, limit }));
}

/// Emits each event to a topic of its own.
fn spread(call: &Call<'_>) -> Output {
    let mut output = one_for_each(call, 1);
    let name =
        |value: Option<&[u8]>| format!("al-{}", String::from_utf8_lossy(value.unwrap()).replace(' ', "-"));
    output.topics = call.batch.columns.iter().map(|event| name(event.value)).collect();
    output.topic_of = (0..u16::try_from(call.batch.len()).unwrap()).collect();
    output
}

#[test]
fn a_glob_makes_topics_until_there_are_too_many() {
    let mut world = World::new(7, CALM);
    let mut config = config();
    config.outputs = vec!["out".to_owned(), "al*".to_owned()];
    world.shared.install(config, Arc::new(Plain(spread))).unwrap();
    for number in 0..=limits::OUTPUT_TOPICS as u64 {
        world.publish("in", 0, None, &Vice::Good.value(number));
    }
    world.run();
    let made = world.log.topics().into_iter().filter(|topic| topic.name.starts_with("al-")).count();
    assert_eq!((made, world.status().counters.dead_letters), (limits::OUTPUT_TOPICS, 1));
    let reason = format!("has created {} topics", limits::OUTPUT_TOPICS);
    let letters = world.log.all("_dead.h").concat();
    assert!(String::from_utf8_lossy(&letters[0].headers).contains(&reason));
}

#[test]
fn there_are_as_many_handlers_as_there_may_be() {
    let world = World::new(7, CALM);
    let named = |number: usize| HandlerConfig { name: format!("h{number}"), ..config() };
    for number in 0..limits::HANDLERS {
        world.shared.install(named(number), Arc::new(Plain(wide))).unwrap();
    }
    let error = world.shared.install(named(limits::HANDLERS), Arc::new(Plain(wide))).unwrap_err();
    assert_eq!(error, InstallError::TooMany(limits::HANDLERS));
    assert_eq!(world.shared.replace(named(0), Arc::new(Plain(wide))), Ok(()));
}
