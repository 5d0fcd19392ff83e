//! A flow without threads over the fake log: the test takes the turns, and the clock moves when it says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidemill_bus::block::header;
use tidemill_bus::log::Topic;
use tidemill_bus::{DriverKey, Lane, Log, Partition};

use super::handler::{self, FakeHandler, Vice};
use super::log::{FakeLog, Kept, Nature};
use super::model::{Expected, Made, expect};
use crate::config::{BatchLimits, HandlerConfig, Retry};
use crate::dead_letter;
use crate::flow::Shared;
use crate::pool::{Clock, Core, Rest, Worker, turn};
use crate::scheduler::Policy;
use crate::status::HandlerStatus;

/// The clock of the log, as the core's.
struct Manual(Arc<AtomicU64>);

impl Clock for Manual {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A log, a flow on it, and the test's hand on both.
pub(super) struct World {
    pub(super) log: Arc<FakeLog>,
    pub(super) handler: Arc<FakeHandler>,
    pub(super) shared: Arc<Shared>,
    worker: Worker,
}

/// The settings under test: a handler `h` of two inputs.
pub(super) fn config() -> HandlerConfig {
    HandlerConfig {
        inputs: vec!["in".to_owned(), "more".to_owned()],
        outputs: vec!["out".to_owned(), "also".to_owned()],
        retry: Retry {
            attempts: 3,
            backoff: Duration::from_millis(20),
            max_backoff: Duration::from_millis(200),
            ..Retry::default()
        },
        batch: BatchLimits { max_events: 40, max_bytes: 2_000 },
        ..HandlerConfig::bare("h")
    }
}

impl World {
    pub(super) fn new(seed: u64, nature: Nature) -> Self {
        Self::with_budget(seed, nature, 8_000)
    }

    pub(super) fn with_budget(seed: u64, nature: Nature, budget: usize) -> Self {
        let log = FakeLog::new(seed, nature);
        log.create_topic("in", Some(3)).unwrap();
        log.create_topic("more", Some(3)).unwrap();
        let handler = FakeHandler::new(1, &log.now_us);
        let (shared, worker) = start(&log, budget);
        Self { log, handler, shared, worker }
    }

    pub(super) fn install(&self, config: HandlerConfig) {
        self.shared.install(config, Arc::new(handler::Shared(Arc::clone(&self.handler)))).unwrap();
    }

    /// The process dies and comes up again.
    pub(super) fn restart(&mut self, config: HandlerConfig) {
        self.reopen();
        self.install(config);
    }

    /// The process dies and comes up again, without any handler.
    pub(super) fn reopen(&mut self) {
        self.log.crash();
        (self.shared, self.worker) = start(&self.log, 8_000);
    }

    /// Gives one driver a turn, if one is ready.
    pub(super) fn turn(&mut self) -> bool {
        self.rest_of_turn().is_some()
    }

    /// As [`World::turn`]: what the driver waits for then.
    pub(super) fn rest_of_turn(&mut self) -> Option<Rest> {
        let errand = self.shared.core.errands.take();
        self.shared.run(errand);
        let job = self.shared.core.poll()?;
        let rest = turn(&job.cell, &mut self.worker);
        self.shared.core.finish(job, rest, None);
        Some(rest)
    }

    /// Goes on until nothing is left to do but wait for a timer; true if there is one, and the clock is there.
    pub(super) fn settle(&mut self) -> bool {
        while self.turn() || self.log.decide() || self.log.answer() {}
        let Some(timer) = self.shared.core.next_timer() else { return false };
        self.log.now_us.fetch_max(u64::try_from(timer.as_micros()).unwrap(), Ordering::SeqCst);
        true
    }

    /// Goes on until nothing is left to do at all.
    pub(super) fn run(&mut self) {
        let mut rounds = 0;
        while self.settle() {
            rounds += 1;
            assert!(rounds < 100_000, "the flow comes to no end: {:#?}", self.status());
        }
    }

    pub(super) fn advance(&self, by: Duration) {
        self.log.now_us.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    pub(super) fn topic(&self, name: &str) -> Topic {
        self.log.topic(name).unwrap()
    }

    pub(super) fn publish(&self, topic: &str, partition: u32, key: Option<&str>, value: &[u8]) -> u64 {
        let source = self.topic(topic).partition(Partition(partition));
        self.log.publish(source, key.map(str::as_bytes), value)
    }

    /// Publishes good events under one key to the first partition of the first input.
    pub(super) fn good(&self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            self.publish("in", 0, Some("k"), &Vice::Good.value(number));
        }
    }

    /// Events on the first output.
    pub(super) fn outputs(&self) -> usize {
        self.log.all("out").iter().map(Vec::len).sum()
    }

    pub(super) fn driver(&self, partition: u32) -> DriverKey {
        DriverKey {
            handler: self.log.handler_id("h").unwrap(),
            partition: Partition(partition),
            lane: Lane(0),
        }
    }

    pub(super) fn status(&self) -> HandlerStatus {
        let installed = self.shared.find("h").unwrap();
        self.shared.status(&installed)
    }

    /// What the model says of everything published.
    pub(super) fn expected(&self, attempts: u32) -> Vec<Expected> {
        let of = |partition| {
            let mut expected = Expected::default();
            for name in ["in", "more"] {
                let source = self.topic(name).partition(Partition(partition));
                expect(&mut expected, source, &self.log.events(source), attempts);
            }
            sorted(expected)
        };
        (0..3).map(of).collect()
    }

    /// What came out, by the partition that it came from.
    pub(super) fn found(&self) -> Vec<Expected> {
        let mut found: Vec<Expected> = (0..3).map(|_| Expected::default()).collect();
        for (name, first) in [("out", true), ("also", false)] {
            for made in self.made(name) {
                let expected = &mut found[made.0.partition.0 as usize];
                if first { &mut expected.out } else { &mut expected.also }.push(made);
            }
        }
        for kept in self.log.all("_dead.h").iter().flatten() {
            let dead = dead(kept);
            found[dead.0.0.partition.0 as usize].dead.push(dead);
        }
        for (partition, expected) in (0..).zip(&mut found) {
            let count = |value: Vec<u8>| u64::from_le_bytes(value[..].try_into().unwrap());
            let state = self.log.state(self.driver(partition));
            expected.state = state.into_iter().map(|(key, value)| (key, count(value))).collect();
        }
        found.into_iter().map(sorted).collect()
    }

    fn made(&self, name: &str) -> Vec<Made> {
        let made = |kept: &Kept| {
            let (source, offset) = kept.cause.unwrap();
            (source, offset, kept.value.clone().unwrap())
        };
        let all = self.log.all(name);
        // Within each partition of an output, what comes from one partition of an input keeps its order.
        for partition in &all {
            let mut last = std::collections::HashMap::new();
            for kept in partition {
                let (source, offset) = kept.cause.unwrap();
                let before = last.insert(source, offset);
                assert!(before.is_none_or(|before| before < offset), "{name} is out of order at {source}");
            }
        }
        all.iter().flatten().map(made).collect()
    }

    /// Whether all is as the model says.
    pub(super) fn assert_expected(&self, attempts: u32) {
        for (partition, (found, expected)) in
            self.found().into_iter().zip(self.expected(attempts)).enumerate()
        {
            // The part that differs, not all of it.
            assert_eq!(found.dead, expected.dead, "partition {partition}");
            assert_eq!(found.state, expected.state, "partition {partition}");
            assert!(found == expected, "partition {partition}: {found:?} is not {expected:?}");
        }
        let status = self.status();
        assert!(status.partitions.iter().all(|partition| partition.lag == 0), "{status:#?}");
        assert_eq!(self.shared.core.budget.used(), 0, "bytes of the budget leak");
    }
}

/// A dead letter: what it is of, the kind and the attempts.
fn dead(kept: &Kept) -> (Made, &'static str, u32) {
    let headers: std::collections::HashMap<_, _> = header::iter(&kept.headers)
        .map(|(name, value)| (name, std::str::from_utf8(value.unwrap()).unwrap().to_owned()))
        .collect();
    let (source, offset) = kept.cause.unwrap();
    assert_eq!(headers[dead_letter::OFFSET], offset.to_string());
    assert_eq!(headers[dead_letter::PARTITION], source.partition.to_string());
    assert!(["in", "more"].contains(&headers[dead_letter::TOPIC].as_str()));
    let kinds = ["rejected", "stopped", "error", "trap", "deadline", "memory", "lie"];
    let kind = kinds.into_iter().find(|kind| *kind == headers[dead_letter::ERROR_KIND]).unwrap();
    let attempts = headers[dead_letter::ATTEMPTS].parse().unwrap();
    ((source, offset, kept.value.clone().unwrap()), kind, attempts)
}

fn sorted(mut expected: Expected) -> Expected {
    expected.out.sort();
    expected.also.sort();
    expected.dead.sort();
    expected
}

fn start(log: &Arc<FakeLog>, budget: usize) -> (Arc<Shared>, Worker) {
    let clock = Box::new(Manual(Arc::clone(&log.now_us)));
    let core = Arc::new(Core::new(Arc::clone(log) as _, clock, (2, budget, Policy::Fair)));
    let worker = Worker::new(&core);
    (Shared::new(&core), worker)
}
