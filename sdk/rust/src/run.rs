//! A batch's way through a handler: event by event, each kept, rejected or stopped at. Knows no host.

use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;

use crate::Failure;
use crate::bindings::{Batch, Failure as Rejected, Output, Stop};
use crate::context::Context;
use crate::emit::{Emitter, Expected};
use crate::event::events;
use crate::failure::Kind;
use crate::handler::Handler;
use crate::random::Seed;
use crate::state::State;

/// What an instance has besides the events: its configuration, and room that it uses again. Nothing in it
/// decides what a batch gives.
pub(crate) struct Instance<C> {
    config: Option<C>,
    expected: Expected,
    state: State,
}

impl<C> Default for Instance<C> {
    fn default() -> Self {
        Self { config: None, expected: Expected::default(), state: State::default() }
    }
}

/// A handler as its guest exports it: what its arguments are is no longer seen.
pub trait Export {
    /// Reads the handler's configuration: whether the plugin can run at all.
    fn check(&self) -> Result<(), String>;

    /// Handles a batch on the instance that this guest is.
    fn run(&self, batch: &Batch) -> Result<Output, String>;
}

/// A function on its way to be exported.
pub struct Function<F, Form>(F, PhantomData<fn() -> Form>);

/// Takes any function, so that a wrong one is told once, by [`exported`].
pub const fn function<F, Form>(function: F) -> Function<F, Form> {
    Function(function, PhantomData)
}

/// Compiles if the function is a handler: the one place where a wrong one is told, on every target.
pub const fn exported<Form, H>(function: &'static Function<H, Form>) -> &'static dyn Export
where
    H: Handler<Form, Config: 'static>,
{
    function
}

thread_local! {
    /// The instance of a guest, which has one handler.
    static INSTANCE: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

impl<Form, H> Export for Function<H, Form>
where
    H: Handler<Form, Config: 'static>,
{
    fn check(&self) -> Result<(), String> {
        H::configure().map(|_| ())
    }

    fn run(&self, batch: &Batch) -> Result<Output, String> {
        INSTANCE.with_borrow_mut(|slot| {
            let instance = slot.get_or_insert_with(|| Box::new(Instance::<H::Config>::default()));
            let instance = instance.downcast_mut().expect("a guest has one handler");
            process(&self.0, instance, batch)
        })
    }
}

/// Handles a batch. The error is one of the whole batch: a state value that cannot be written.
pub(crate) fn process<Form, H: Handler<Form>>(
    handler: &H,
    instance: &mut Instance<H::Config>,
    batch: &Batch,
) -> Result<Output, String> {
    if batch.times.is_empty() {
        return Ok(Emitter::default().finish().0);
    }
    if instance.config.is_none() {
        match H::configure() {
            Ok(config) => instance.config = Some(config),
            Err(reason) => return Ok(stopped_at_once(reason)),
        }
    }
    let Instance { config: Some(config), expected, state } = instance else {
        unreachable!("the configuration was just read");
    };
    state.begin();
    let seed = Seed::new(std::any::type_name::<H>(), &batch.topic, batch.partition);
    let mut ctx = Context::new(batch, Emitter::new(*expected), (state, seed));
    let verdict = each(handler, &mut ctx, (config, batch));
    let (mut output, next) = ctx.into_emitter().finish();
    *expected = next;
    let Verdict { settled, rejected, stopped } = verdict;
    (output.settled, output.rejected, output.stopped) = (settled, rejected, stopped);
    let writes = state.writes()?;
    output.state_key_lens = writes.key_lens;
    output.state_value_lens = writes.value_lens;
    output.state_data = writes.data;
    Ok(output)
}

/// How far a batch came.
#[derive(Default)]
struct Verdict {
    settled: u32,
    rejected: Vec<Rejected>,
    stopped: Option<Stop>,
}

/// The loop over the events.
fn each<'a, Form, H: Handler<Form>>(
    handler: &H,
    ctx: &mut Context<'a>,
    (config, batch): (&H::Config, &'a Batch),
) -> Verdict {
    let mut verdict = Verdict::default();
    for event in events(batch, 0, 0) {
        ctx.enter(event);
        match handler.handle(&event, ctx, config) {
            Ok(()) => ctx.keep(),
            Err(failure) => {
                ctx.roll_back();
                if !verdict.take(failure) {
                    break;
                }
            }
        }
        verdict.settled += 1;
    }
    verdict
}

impl Verdict {
    /// Notes why the next event failed; false if the batch ends there.
    fn take(&mut self, failure: Failure) -> bool {
        let (kind, reason) = failure.into_parts();
        match kind {
            Kind::Reject => {
                self.rejected.push(Rejected { index: self.settled, reason });
                true
            }
            Kind::Retry(after) => {
                let millis = |pause: std::time::Duration| pause.as_nanos().div_ceil(1_000_000);
                let after_ms = after.map(|pause| u64::try_from(millis(pause)).unwrap_or(u64::MAX));
                self.stopped = Some(Stop { reason, after_ms });
                false
            }
        }
    }
}

fn stopped_at_once(reason: String) -> Output {
    let (mut output, _) = Emitter::default().finish();
    output.stopped = Some(Stop { reason, after_ms: None });
    output
}
