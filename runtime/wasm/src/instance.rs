//! One instance of a handler: its store, its call, what it may use meanwhile. Knows no batch's way or outcome.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tidemill_flow::handler::{Call, Fault, Instance as FlowInstance, StateReader};
use tidemill_flow::output::Output;
use tidemill_flow::{DriverKey, Offset};
use wasmtime::component::{InstancePre, TypedFunc};
use wasmtime::{Store, UpdateDeadline};

use crate::budget::Budget;
use crate::clock::Clock;
use crate::columns::{BatchRecord, OutputRecord};
use crate::fault::{self, ImportError};
use crate::limits::INSTANTIATION_DEADLINE;
use crate::logs::{self, Level, LogLine};
use crate::plugin::Shared;

/// What `process` takes.
pub(crate) type Params = (BatchRecord<'static>,);
/// What `process` returns.
pub(crate) type Returned = (Result<OutputRecord, String>,);

/// What belongs to one instance besides its memory: the store's data.
pub(crate) struct Guest {
    shared: Arc<Shared>,
    driver: DriverKey,
    budget: Budget,
    clock: Option<Clock>,
    state: Option<Arc<dyn StateReader>>,
    /// The first offset of the batch in hand.
    offset: Option<Offset>,
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
    process: TypedFunc<Params, Returned>,
}

impl Instance {
    /// Instantiates `pre` for `driver`.
    pub(crate) fn new(
        pre: &InstancePre<Guest>,
        shared: &Arc<Shared>,
        driver: DriverKey,
    ) -> Result<Self, Fault> {
        let limits = shared.config.limits;
        let clock = Clock::start(INSTANTIATION_DEADLINE, None);
        let ticks = clock.first_look();
        let guest = Guest {
            shared: shared.clone(),
            driver,
            budget: Budget::new(limits.memory),
            clock: Some(clock),
            state: None,
            offset: None,
        };
        let mut store = Store::new(pre.engine(), guest);
        store.limiter(|guest| &mut guest.budget);
        store.set_hostcall_fuel(limits.output);
        store.epoch_deadline_callback(|mut cx| match &mut cx.data_mut().clock {
            Some(clock) => Ok(UpdateDeadline::Continue(clock.look()?)),
            None => Ok(UpdateDeadline::Interrupt),
        });
        store.set_epoch_deadline(ticks);
        let typed = pre
            .instantiate(&mut store)
            .and_then(|instance| instance.get_typed_func(&mut store, &shared.process));
        let process = typed.map_err(|error| fault::of(&error, limits.output))?;
        store.data_mut().budget.settle();
        Ok(Self { pre: pre.clone(), store, process })
    }

    /// Takes the place of this instance with a fresh one.
    fn replace(&mut self) -> Result<(), Fault> {
        let Guest { shared, driver, .. } = self.store.data();
        *self = Self::new(&self.pre, &shared.clone(), *driver)?;
        Ok(())
    }
}

impl FlowInstance for Instance {
    fn process(&mut self, call: Call<'_>) -> Result<Output, Fault> {
        if self.store.data().budget.past_watermark() {
            self.replace()?;
        }
        let batch = BatchRecord::of(&call);
        let clock = Clock::start(call.deadline, Some(call.pace));
        self.store.set_epoch_deadline(clock.first_look());
        let guest = self.store.data_mut();
        guest.offset = Some(call.batch.base_offset);
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
