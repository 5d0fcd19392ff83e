//! One instance of a handler: its store, its call, what it may use meanwhile. Knows no batch's way or outcome.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tidemill_flow::handler::{Call, Fault, Instance as FlowInstance, Pace, StateReader};
use tidemill_flow::output::Output;
use tidemill_flow::{DriverKey, Offset};
use wasmtime::component::{self, ComponentExportIndex, InstancePre, TypedFunc};
use wasmtime::{Store, UpdateDeadline};

use crate::budget::Budget;
use crate::clock::Clock;
use crate::columns::{BatchRecord, OutputRecord};
use crate::console::{Console, Stream};
use crate::fault::{self, ImportError};
use crate::limits::INSTANTIATION_DEADLINE;
use crate::logs::{self, Level, LogLine};
use crate::plugin::Shared;
use crate::random::Random;

/// What `process` takes.
pub(crate) type Params = (BatchRecord<'static>,);
/// What `process` returns.
pub(crate) type Returned = (Result<OutputRecord, String>,);

/// What `check` returns.
pub(crate) type Checked = (Result<(), String>,);

/// What belongs to one instance besides its memory: the store's data.
pub(crate) struct Guest {
    shared: Arc<Shared>,
    driver: DriverKey,
    budget: Budget,
    clock: Option<Clock>,
    state: Option<Arc<dyn StateReader>>,
    /// The first offset of the batch in hand.
    offset: Option<Offset>,
    /// When the first event in hand was appended, in milliseconds since the Unix epoch.
    append_time: i64,
    /// Seeded by the first number that a call asks for.
    random: Option<Random>,
    console: Console,
}

impl Guest {
    pub(crate) fn config(&self) -> &BTreeMap<String, String> {
        &self.shared.config.config
    }

    pub(crate) fn memory_limit(&self) -> usize {
        self.shared.config.limits.memory
    }

    /// The state of the call in hand. A guest's initializers run before any call and have none.
    pub(crate) fn state(&self) -> Result<&Arc<dyn StateReader>, ImportError> {
        self.state.as_ref().ok_or_else(|| ImportError::Lie("read state while it was instantiated".to_owned()))
    }

    /// The guest's clock: the append time of the batch in hand, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.append_time).unwrap_or(0)
    }

    /// The next random number: the same ones for the same handler, partition and first offset.
    pub(crate) fn random(&mut self) -> u64 {
        let (name, partition) = (&self.shared.config.name, self.driver.partition);
        let seed = || Random::seeded(name, partition, self.offset.unwrap_or_default());
        self.random.get_or_insert_with(seed).next()
    }

    /// Takes what the guest prints; every line of it becomes a log line.
    pub(crate) fn print(&mut self, stream: Stream, bytes: impl Iterator<Item = u8>) {
        let mut console = std::mem::take(&mut self.console);
        let (level, context) = match stream {
            Stream::Stdout => (Level::Info, "stdout"),
            Stream::Stderr => (Level::Warn, "stderr"),
        };
        console.print(stream, bytes, |line| {
            if let Some(dropped) = self.take_log_line() {
                self.log(level, (context, line), dropped);
            }
        });
        self.console = console;
    }

    /// Takes a place for a log line: how many were dropped since the last, or `None` if there is no place.
    pub(crate) fn take_log_line(&self) -> Option<u64> {
        self.shared.ration.take(Instant::now())
    }

    /// Hands on a log line, context and message, for which a place was taken.
    pub(crate) fn log(&self, level: Level, (context, message): (&str, &str), dropped: u64) {
        self.shared.logs.line(LogLine {
            level,
            handler: &self.shared.config.name,
            partition: self.driver.partition,
            offset: self.offset,
            context: logs::cut(context),
            message: logs::cut(message),
            dropped,
        });
    }
}

/// A live instance.
pub(crate) struct Instance {
    pre: InstancePre<Guest>,
    store: Store<Guest>,
    component: component::Instance,
    process: TypedFunc<Params, Returned>,
}

impl Instance {
    /// Instantiates `pre` for `driver`; `pace` is told if the guest's initializers run long.
    pub(crate) fn new(
        pre: &InstancePre<Guest>,
        shared: &Arc<Shared>,
        driver: DriverKey,
        pace: Option<Arc<dyn Pace>>,
    ) -> Result<Self, Fault> {
        let limits = shared.config.limits;
        let clock = Clock::start(INSTANTIATION_DEADLINE, pace);
        let ticks = clock.first_look();
        let guest = Guest {
            shared: shared.clone(),
            driver,
            budget: Budget::new(limits.memory),
            clock: Some(clock),
            state: None,
            offset: None,
            append_time: 0,
            random: None,
            console: Console::default(),
        };
        let mut store = Store::new(pre.engine(), guest);
        store.limiter(|guest| &mut guest.budget);
        store.set_hostcall_fuel(limits.output);
        store.epoch_deadline_callback(|mut cx| match &mut cx.data_mut().clock {
            Some(clock) => Ok(UpdateDeadline::Continue(clock.look()?)),
            None => Ok(UpdateDeadline::Interrupt),
        });
        store.set_epoch_deadline(ticks);
        let fault = |error: wasmtime::Error| fault::of_instantiation(&error, limits.output);
        let component = pre.instantiate(&mut store).map_err(fault)?;
        let process = component.get_typed_func(&mut store, shared.process).map_err(fault)?;
        store.data_mut().budget.settle();
        Ok(Self { pre: pre.clone(), store, component, process })
    }

    /// Asks the handler whether it can work as it is configured.
    pub(crate) fn check(&mut self, check: &ComponentExportIndex) -> Result<Result<(), String>, Fault> {
        let output_bytes = self.store.data().shared.config.limits.output;
        let clock = Clock::start(INSTANTIATION_DEADLINE, None);
        self.store.set_epoch_deadline(clock.first_look());
        self.store.data_mut().clock = Some(clock);
        let typed = self.component.get_typed_func::<(), Checked>(&mut self.store, check);
        match typed.and_then(|check| check.call(&mut self.store, ())) {
            Ok((answer,)) => Ok(answer),
            Err(error) => Err(fault::of(&error, output_bytes)),
        }
    }

    /// Takes the place of this instance with a fresh one.
    fn replace(&mut self, pace: &Arc<dyn Pace>) -> Result<(), Fault> {
        let Guest { shared, driver, .. } = self.store.data();
        *self = Self::new(&self.pre, &shared.clone(), *driver, Some(pace.clone()))?;
        Ok(())
    }
}

impl FlowInstance for Instance {
    fn process(&mut self, call: Call<'_>) -> Result<Output, Fault> {
        if self.store.data().budget.past_watermark() {
            self.replace(&call.pace)?;
        }
        let batch = BatchRecord::of(&call);
        let clock = Clock::start(call.deadline, Some(call.pace));
        self.store.set_epoch_deadline(clock.first_look());
        let guest = self.store.data_mut();
        (guest.offset, guest.append_time) = (Some(call.batch.base_offset), call.batch.append_time);
        guest.random = None;
        guest.clock = Some(clock);
        guest.state = Some(call.state);
        // The function was typed for a batch that lives forever; what it is called with lives as long as the call.
        let process: TypedFunc<(BatchRecord<'_>,), Returned> = self.process;
        let returned = process.call(&mut self.store, (batch,));
        let guest = self.store.data_mut();
        (guest.clock, guest.state) = (None, None);
        match returned {
            Ok((Ok(output),)) => Ok(output.into()),
            Ok((Err(reason),)) => Err(Fault::Refused(reason)),
            Err(error) => Err(fault::of(&error, guest.shared.config.limits.output)),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.store.data().budget.used()
    }
}
