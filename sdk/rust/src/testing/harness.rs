//! Runs a handler over events as the host would: in batches, with its state, and halving a batch that fails.

use std::fmt::Display;

use super::input::{self, Input, Placed};
use super::report::{Rejected, Report};
use crate::bindings::{Batch, Output};
use crate::handler::Handler;
use crate::host::{self, Host};
use crate::run::{Instance, process};

/// How events are cut into batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batches {
    /// All in one.
    All,
    /// This many in each, but for the last.
    Of(usize),
}

/// Makes fresh instances of a handler: a function from a batch to what becomes of it.
type NewInstance = Box<dyn Fn() -> Call>;
type Call = Box<dyn FnMut(&Batch) -> Result<Output, String>>;

/// A handler under test.
pub struct Harness {
    instance: NewInstance,
    host: Host,
    topic: String,
    partition: u32,
    offset: u64,
    attempt: u32,
}

impl Harness {
    /// Puts a handler under test: events are from topic `in`, partition 0, offset 0.
    pub fn new<Form, H>(handler: H) -> Self
    where
        H: Handler<Form, Config: 'static> + Copy + 'static,
    {
        let instance = move || -> Call {
            let mut instance = Instance::default();
            Box::new(move |batch| process(&handler, &mut instance, batch))
        };
        Self {
            instance: Box::new(instance),
            host: Host::default(),
            topic: "in".to_owned(),
            partition: 0,
            offset: 0,
            attempt: 1,
        }
    }

    /// Sets a key of its configuration.
    #[must_use]
    pub fn config(mut self, key: &str, value: impl Display) -> Self {
        self.host.config.push((key.to_owned(), value.to_string()));
        self
    }

    /// Sets a value of its state, under the key that it has in the host's tables.
    #[must_use]
    pub fn state(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.host.state.insert(key.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Sets topic, partition and offset of the first event.
    #[must_use]
    pub fn at(mut self, topic: &str, partition: u32, offset: u64) -> Self {
        (self.topic, self.partition, self.offset) = (topic.to_owned(), partition, offset);
        self
    }

    /// Sets the attempt that this is at the first event, from 1.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Runs a fresh instance over all `events` in one batch.
    pub fn run(&self, events: &[Input]) -> Report {
        self.run_in(Batches::All, events)
    }

    /// Runs a fresh instance over `events`, until it stops or fails.
    pub fn run_in(&self, batches: Batches, events: &[Input]) -> Report {
        let mut run = Run {
            harness: self,
            call: (self.instance)(),
            host: self.host.clone(),
            report: Report { state: self.host.state.clone(), ..Report::default() },
        };
        let placed = input::place(events, self.offset);
        let size = match batches {
            Batches::All => placed.len(),
            Batches::Of(events) => events,
        };
        for batch in input::batches(&placed, size.max(1)) {
            if run.batch(batch).is_none() {
                break;
            }
        }
        run.report.log = run.host.log;
        run.report
    }

    /// Runs `events` one by one, in twos, in sevens and all at once, each with a fresh instance, and returns what came out.
    ///
    /// # Panics
    /// If the results differ: then the handler keeps something between events that is not in its state.
    pub fn run_in_every_batching(&self, events: &[Input]) -> Report {
        let report = self.run(events);
        for size in [1, 2, 7] {
            let other = self.run_in(Batches::Of(size), events);
            assert_eq!(report, other, "all at once (left) and batches of {size} (right) differ");
        }
        report
    }

    /// How often a run over `events` reads state.
    pub fn state_reads(&self, batches: Batches, events: &[Input]) -> usize {
        let size = if let Batches::Of(size) = batches { size } else { events.len() };
        let mut run = Run {
            harness: self,
            call: (self.instance)(),
            host: self.host.clone(),
            report: Report::default(),
        };
        for batch in input::batches(&input::place(events, self.offset), size.max(1)) {
            let _ = run.batch(batch);
        }
        run.host.reads
    }
}

/// A run under way.
struct Run<'a> {
    harness: &'a Harness,
    call: Call,
    host: Host,
    report: Report,
}

impl Run<'_> {
    /// Handles a batch, in halves if it fails as a whole; `None` ends the run.
    fn batch(&mut self, events: &[Placed<'_>]) -> Option<()> {
        let Harness { topic, partition, offset, attempt, .. } = self.harness;
        let attempt = if events[0].offset == *offset { *attempt } else { 1 };
        let batch = input::batch(events, (topic, *partition, attempt));
        let logged = self.host.log.len();
        let call = &mut self.call;
        match host::with(&mut self.host, || call(&batch)) {
            Ok(output) => {
                let settled = self.report.add(&output, events);
                self.host.state.clone_from(&self.report.state);
                (settled == events.len()).then_some(())
            }
            Err(reason) if events.len() == 1 => {
                self.report.failed = Some(Rejected { offset: events[0].offset, reason });
                None
            }
            Err(_) => {
                self.host.log.truncate(logged);
                let (left, right) = events.split_at(events.len() / 2);
                self.batch(left)?;
                self.batch(right)
            }
        }
    }
}
