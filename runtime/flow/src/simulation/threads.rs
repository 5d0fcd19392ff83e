//! The flow with its real threads: the test is the committer, and waits for what it counts, never for time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::{Condvar, Mutex};
use tidemill_bus::{DriverKey, HandlerId, Log, Partition};

use super::handler::{self, FLAWS, FakeHandler, Vice};
use super::log::{FakeLog, Nature};
use super::world::config;
use crate::config::HandlerConfig;
use crate::driver::Standing;
use crate::flow::{Flow, Options, Seek, SeekError, SeekTo};
use crate::handler::{Call, Fault, Handler, Instance, Pace};
use crate::installed::{Installed, Settings};
use crate::limits;
use crate::note::Note;
use crate::output::Output;
use crate::scheduler::Slot;
use crate::status::HandlerState;
use crate::trial::Trial;

const PARTITIONS: u32 = 3;

fn log() -> Arc<FakeLog> {
    let log = FakeLog::new(3, Nature { gaps: 9, aborts: 0 });
    for name in ["in", "more"] {
        log.create_topic(name, Some(PARTITIONS)).unwrap();
    }
    log
}

fn options(permits: usize) -> Options {
    Options { permits, ..Options::default() }
}

fn publish(log: &FakeLog, topic: &str, count: u64) {
    let topic = log.topic(topic).unwrap();
    for number in 0..count {
        let source = topic.partition(Partition(u32::try_from(number).unwrap() % PARTITIONS));
        log.publish(source, Some(b"k"), &Vice::Good.value(number));
    }
}

fn outputs(log: &FakeLog) -> usize {
    log.all("out").iter().map(Vec::len).sum()
}

/// Commits on this thread until `done`, while `work` runs on another.
fn committing<T: Send>(log: &Arc<FakeLog>, work: impl FnOnce() -> T + Send) -> T {
    let running = AtomicUsize::new(1);
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let result = work();
            running.store(0, Ordering::SeqCst);
            log.nudge();
            result
        });
        while log.serve(&|| running.load(Ordering::SeqCst) == 0) {}
        worker.join().unwrap()
    })
}

fn fake(log: &FakeLog) -> Arc<dyn Handler> {
    Arc::new(handler::Shared(FakeHandler::new(1, &log.now_us)))
}

#[test]
fn events_pass_while_handlers_come_and_go() {
    let log = log();
    let flow = Flow::start(Arc::clone(&log) as _, options(2));
    flow.install(config(), fake(&log)).unwrap();
    publish(&log, "in", 3_000);
    committing(&log, || {
        publish(&log, "more", 1_000);
        flow.replace(config(), fake(&log)).unwrap();
        publish(&log, "more", 1_000);
        flow.remove("h").unwrap();
        assert!(flow.status().is_empty() && flow.remove("h").is_err());
        publish(&log, "more", 1_000);
        let other = HandlerConfig { inputs: vec!["more".to_owned()], ..config() };
        flow.install(other, fake(&log)).unwrap();
        flow.pause("h").unwrap();
        flow.replace(config(), fake(&log)).unwrap();
        let state = flow.status().remove(0).state;
        assert!(matches!(state, HandlerState::Paused { .. }), "other inputs end no pause: {state:?}");
        flow.resume("h").unwrap();
    });
    while outputs(&log) < 6_000 {
        log.serve(&|| false);
    }
    let everywhere = Seek { topic: Some("in".to_owned()), partition: None, to: SeekTo::Earliest };
    committing(&log, || flow.seek("h", &everywhere)).unwrap();
    while outputs(&log) < 9_000 {
        log.serve(&|| false);
    }
    committing(&log, || flow.stop());
    assert_eq!((outputs(&log), log.in_flight()), (9_000, 0));
    assert!(
        flow.status().iter().all(|status| status.partitions.iter().all(|partition| partition.lag < 3_000))
    );
}

#[test]
fn a_stop_answers_everything_and_loses_nothing() {
    let log = log();
    for _ in 0..20 {
        let flow = Flow::start(Arc::clone(&log) as _, options(2));
        flow.install(config(), fake(&log)).unwrap();
        publish(&log, "in", 200);
        committing(&log, || flow.stop());
        assert_eq!(log.in_flight(), 0);
        flow.stop();
    }
    let flow = Flow::start(Arc::clone(&log) as _, options(2));
    flow.install(config(), fake(&log)).unwrap();
    while outputs(&log) < 4_000 {
        log.serve(&|| false);
    }
    committing(&log, || flow.stop());
    assert_eq!(outputs(&log), 4_000);
}

#[test]
fn a_call_that_panics_costs_no_worker_and_no_event() {
    let log = log();
    let handler = FakeHandler::new(1, &log.now_us);
    handler.host_faults.store(4, Ordering::SeqCst);
    let flow = Flow::start(Arc::clone(&log) as _, options(1));
    flow.install(config(), Arc::new(handler::Shared(handler))).unwrap();
    publish(&log, "in", 600);
    while outputs(&log) < 600 {
        log.serve(&|| false);
    }
    let counters = flow.status().remove(0).counters;
    assert!(counters.faults.iter().any(|(kind, count)| *kind == "host" && *count > 0), "{counters:?}");
    committing(&log, || flow.stop());
    assert_eq!(outputs(&log), 600);
}

#[test]
fn versions_come_and_go_under_load_and_leave_no_mark() {
    let log = log();
    let flow = Flow::start(Arc::clone(&log) as _, options(2));
    flow.install(config(), fake(&log)).unwrap();
    publish(&log, "more", 30);
    // Only a version that is known to work comes back.
    while outputs(&log) < 30 {
        log.serve(&|| false);
    }
    while flow.status().remove(0).in_charge.is_none() {
        thread::yield_now();
    }
    committing(&log, || {
        for round in 0..100_u64 {
            publish(&log, "in", 30);
            let which = usize::try_from(round).unwrap() % FLAWS.len();
            let bad = FakeHandler::flawed(round, &log.now_us, FLAWS[which]);
            // One in five reads other topics too: it is installed anew, and so is what comes back.
            let inputs = if round % 5 == 0 { vec!["in".to_owned()] } else { config().inputs };
            let next = if round % 3 == 0 { FakeHandler::new(1_000 + round, &log.now_us) } else { bad };
            let config = HandlerConfig { inputs, ..config() };
            flow.replace(config, Arc::new(handler::Shared(next))).unwrap();
        }
        flow.replace(config(), fake(&log)).unwrap();
    });
    while outputs(&log) < 3_030 {
        log.serve(&|| false);
    }
    committing(&log, || flow.stop());
    assert_eq!((outputs(&log), log.all("_dead.h").concat().len()), (3_030, 0));
}

#[test]
fn a_version_on_trial_is_never_seen_without_its_trial() {
    let handler = FakeHandler::new(1, &Arc::default());
    let settings = |generation| Settings {
        generation,
        config: config(),
        handler: Arc::new(handler::Shared(Arc::clone(&handler))),
        first_inputs: Vec::new(),
    };
    let new = (settings(1), Note::default(), Trial::of(1, None, None));
    let installed = Installed::new(HandlerId(1), Slot(0), new);
    thread::scope(|scope| {
        // Every other version is on trial.
        scope.spawn(|| {
            for generation in 2..=50_000 {
                let former = (generation % 2 == 0).then(|| installed.settings());
                installed.replace(settings(generation), former);
            }
        });
        while installed.generation() < 50_000 {
            let (seen, standing) = installed.standing(None);
            let expected = if seen.generation % 2 == 0 { Standing::OnTrial } else { Standing::Alone };
            assert_eq!(standing, expected, "version {}", seen.generation);
        }
    });
}

#[test]
fn a_handler_whose_group_was_reset_begins_anew_when_it_is_resumed() {
    let log = log();
    let flow = Flow::start(Arc::clone(&log) as _, options(2));
    flow.install(config(), fake(&log)).unwrap();
    publish(&log, "in", 300);
    while outputs(&log) < 300 {
        log.serve(&|| false);
    }
    let other = HandlerConfig { state_version: 2, ..config() };
    flow.replace(other, fake(&log)).unwrap();
    assert!(matches!(flow.status().remove(0).state, HandlerState::Stopped(_)));
    log.renew("h");
    committing(&log, || flow.resume("h")).unwrap();
    while outputs(&log) < 600 {
        log.serve(&|| false);
    }
    assert_eq!(flow.status().remove(0).state, HandlerState::Running);
    committing(&log, || flow.stop());
    assert_eq!(outputs(&log), 600);
}

#[test]
fn a_turn_that_panics_costs_its_partition_and_nothing_else() {
    let log = log();
    let broken = log.topic("in").unwrap().partition(Partition(1));
    *log.panics_at.lock() = Some(broken);
    let flow = Flow::start(Arc::clone(&log) as _, options(1));
    flow.install(config(), fake(&log)).unwrap();
    publish(&log, "in", 300);
    while outputs(&log) < 200 {
        log.serve(&|| false);
    }
    let HandlerState::Failed(reason) = flow.status().remove(0).state else { panic!("it runs") };
    assert!(reason.contains("installed anew") && reason.contains("an assertion of the log"), "{reason}");
    // Nobody waits for it in vain, and it can be installed anew.
    let everywhere = Seek { topic: None, partition: None, to: SeekTo::Latest };
    assert!(matches!(committing(&log, || flow.seek("h", &everywhere)), Err(SeekError::Failed { .. })));
    *log.panics_at.lock() = None;
    committing(&log, || flow.remove("h")).unwrap();
    flow.install(config(), fake(&log)).unwrap();
    while outputs(&log) < 300 {
        log.serve(&|| false);
    }
    committing(&log, || flow.stop());
    assert_eq!((outputs(&log), flow.status().remove(0).state), (300, HandlerState::Running));
}

/// A handler whose calls run long until the gate opens.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
    inside: AtomicUsize,
    most_inside: AtomicUsize,
    /// Calls that passed their `slow`, and the most of them at a time.
    past: AtomicUsize,
    most_past: AtomicUsize,
}

/// Where a guest loops.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    InItsInitializers,
    InTheCall,
}

struct Looping(Arc<Gate>, Where);

impl Handler for Looping {
    fn version(&self) -> &'static str {
        "looping"
    }

    fn instantiate(&self, _driver: DriverKey) -> Result<Box<dyn Instance>, Fault> {
        Ok(Box::new(Looping(Arc::clone(&self.0), self.1)))
    }

    fn instantiate_at(&self, driver: DriverKey, pace: Arc<dyn Pace>) -> Result<Box<dyn Instance>, Fault> {
        if self.1 == Where::InItsInitializers {
            self.0.run_long(&*pace);
        }
        self.instantiate(driver)
    }

    fn has_state(&self) -> bool {
        false
    }
}

impl Instance for Looping {
    fn process(&mut self, call: Call<'_>) -> Result<Output, Fault> {
        if self.1 == Where::InTheCall {
            self.0.run_long(&*call.pace);
        }
        Ok(Output { settled: u32::try_from(call.batch.len()).unwrap(), ..Output::default() })
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

impl Gate {
    /// Waits until so many calls are under way.
    fn wait_for_inside(&self, calls: usize) {
        let mut open = self.open.lock();
        while self.inside.load(Ordering::SeqCst) < calls {
            self.changed.wait_for(&mut open, std::time::Duration::from_millis(1));
        }
    }

    /// Runs long until the gate opens.
    fn run_long(&self, pace: &dyn Pace) {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_inside.fetch_max(inside, Ordering::SeqCst);
        self.changed.notify_all();
        pace.slow();
        let past = self.past.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_past.fetch_max(past, Ordering::SeqCst);
        let mut open = self.open.lock();
        while !*open {
            self.changed.wait(&mut open);
        }
        drop(open);
        pace.slow();
        self.past.fetch_sub(1, Ordering::SeqCst);
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn looping_guests_do_not_freeze_the_rest_and_share_the_slow_permits() {
    two_loop_on_two_cores(Where::InTheCall);
}

#[test]
fn guests_that_loop_in_their_initializers_do_not_freeze_the_rest() {
    two_loop_on_two_cores(Where::InItsInitializers);
}

#[test]
fn as_many_calls_are_under_way_as_there_are_workers() {
    let log = log();
    let gate = Arc::new(Gate::default());
    let flow = Flow::start(Arc::clone(&log) as _, options(1));
    publish(&log, "more", 300);
    // Nobody knows yet that they loop: each gets its first call as long as there is a worker.
    for number in 0..=limits::WORKERS_PER_CORE {
        let inputs = vec!["more".to_owned()];
        let config = HandlerConfig { inputs, ..HandlerConfig::bare(&format!("loops-{number}")) };
        flow.install(config, Arc::new(Looping(Arc::clone(&gate), Where::InTheCall))).unwrap();
    }
    gate.wait_for_inside(limits::WORKERS_PER_CORE);
    *gate.open.lock() = true;
    gate.changed.notify_all();
    committing(&log, || flow.stop());
    assert_eq!(gate.most_inside.load(Ordering::SeqCst), limits::WORKERS_PER_CORE);
    assert_eq!(gate.most_past.load(Ordering::SeqCst), 1);
}

/// Notes at each call how far its thread gives way, after its first one was slow.
struct Yielding(Arc<Mutex<Vec<i32>>>);

impl Handler for Yielding {
    fn version(&self) -> &'static str {
        "yielding"
    }

    fn instantiate(&self, _driver: DriverKey) -> Result<Box<dyn Instance>, Fault> {
        Ok(Box::new(Yielding(Arc::clone(&self.0))))
    }

    fn has_state(&self) -> bool {
        false
    }
}

impl Instance for Yielding {
    fn process(&mut self, call: Call<'_>) -> Result<Output, Fault> {
        let mut calls = self.0.lock();
        if calls.is_empty() {
            call.pace.slow();
        }
        calls.push(rustix::process::getpriority_process(None).expect("every thread has a priority"));
        Ok(Output { settled: u32::try_from(call.batch.len()).unwrap(), ..Output::default() })
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

#[test]
fn a_slow_call_gives_way_and_the_next_one_on_its_worker_does_not() {
    let log = log();
    let calls = Arc::default();
    let flow = Flow::start(Arc::clone(&log) as _, options(1));
    let inputs = vec!["more".to_owned()];
    let config = HandlerConfig { inputs, ..HandlerConfig::bare("yields") };
    flow.install(config, Arc::new(Yielding(Arc::clone(&calls)))).unwrap();
    // More calls than there are workers: one is made by whoever took the place of the first.
    for made in 1..=4 * limits::WORKERS_PER_CORE {
        publish(&log, "more", 1);
        while calls.lock().len() < made {
            log.serve(&|| false);
        }
    }
    committing(&log, || flow.stop());
    let own = rustix::process::getpriority_process(None).unwrap();
    let calls = calls.lock();
    assert_eq!(calls[0], (own + limits::SLOW_NICENESS).min(19));
    assert!(calls[1..].iter().all(|&niceness| niceness == own), "{calls:?}");
}

fn two_loop_on_two_cores(place: Where) {
    let log = log();
    let gate = Arc::new(Gate::default());
    let flow = Flow::start(Arc::clone(&log) as _, options(2));
    publish(&log, "more", 300);
    for name in ["loops", "loops-too"] {
        let config = HandlerConfig { inputs: vec!["more".to_owned()], ..HandlerConfig::bare(name) };
        flow.install(config, Arc::new(Looping(Arc::clone(&gate), place))).unwrap();
    }
    gate.wait_for_inside(2);
    let inputs = vec!["in".to_owned()];
    flow.install(HandlerConfig { inputs, ..config() }, fake(&log)).unwrap();
    publish(&log, "in", 300);
    while outputs(&log) < 300 {
        log.serve(&|| false);
    }
    assert!(gate.most_inside.load(Ordering::SeqCst) <= 2 * 2, "held handlers get no new permit");
    *gate.open.lock() = true;
    gate.changed.notify_all();
    committing(&log, || flow.stop());
    assert_eq!(gate.most_past.load(Ordering::SeqCst), 1, "there is one slow permit for two cores");
}
