//! What a handler can do: emit events, read and write state, draw random numbers. One context lives through a
//! batch and moves from event to event; what an event did is kept or rolled back as a whole.

use crate::Failure;
use crate::bindings::Batch;
use crate::emit::{Attributes, Emitter, Key, Mark};
use crate::event::{Event, Headers};
use crate::random::{Random, Seed};
use crate::state::{Cell, Entry, State, StateValue};
use crate::value::EventValue;

/// What a handler can do for the event in hand.
pub struct Context<'a> {
    batch: &'a Batch,
    event: Event<'a>,
    emitter: Emitter,
    state: &'a mut State,
    mark: Mark,
    seed: Seed,
    random: Option<Random>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(batch: &'a Batch, emitter: Emitter, (state, seed): (&'a mut State, Seed)) -> Self {
        let mark = emitter.mark();
        Self { batch, event: Event::at(batch, 0, 0), emitter, state, mark, seed, random: None }
    }

    /// Emits an event: to the handler's first output, with the time and the key of the event in hand, without
    /// headers. [`Self::compose`] sets any of these.
    #[inline]
    pub fn emit(&mut self, value: impl EventValue) -> Result<(), Failure> {
        self.emitter.emit(&self.event, &value)
    }

    /// Emits the event in hand as it is, with key, headers, value and time, to the handler's first output.
    #[inline]
    pub fn forward(&mut self) -> Result<(), Failure> {
        self.emitter.forward(&self.event);
        Ok(())
    }

    /// Begins an event that differs from the defaults; [`Draft::emit`] ends it.
    pub fn compose<'c, V: EventValue>(&'c mut self, value: V) -> Draft<'c, 'a, V> {
        self.emitter.headers.clear();
        Draft { context: self, value, attributes: Attributes::default(), fault: None }
    }

    /// The cell's value for the key of the event in hand. The first use in a batch reads the values for all its
    /// keys with one call.
    #[inline]
    pub fn cell<T: StateValue>(&mut self, cell: &Cell<T>) -> Result<Entry<'_, T>, Failure> {
        self.state.of_event(cell, self.batch, &self.event)
    }

    /// The cell's value for this key. Each key is read once in a batch.
    pub fn cell_at<T: StateValue>(
        &mut self,
        cell: &Cell<T>,
        key: impl AsRef<[u8]>,
    ) -> Result<Entry<'_, T>, Failure> {
        self.state.of_key(cell, key.as_ref())
    }

    /// Random numbers that depend on the handler and on the place of the event in hand, and on nothing else.
    pub fn random(&mut self) -> &mut Random {
        let (seed, offset) = (self.seed, self.event.offset());
        self.random.get_or_insert_with(|| seed.at(offset))
    }

    /// Takes the next event in hand.
    #[inline]
    pub(crate) fn enter(&mut self, event: Event<'a>) {
        self.event = event;
        self.random = None;
        self.mark = self.emitter.mark();
    }

    /// Keeps what the event in hand did.
    #[inline]
    pub(crate) fn keep(&mut self) {
        self.state.keep();
    }

    /// Takes back what the event in hand did.
    pub(crate) fn roll_back(&mut self) {
        self.emitter.roll_back(self.mark);
        self.state.roll_back();
    }

    pub(crate) fn into_emitter(self) -> Emitter {
        self.emitter
    }
}

/// An event that is being composed.
#[must_use = "a draft is emitted by its `emit`"]
pub struct Draft<'c, 'a, V> {
    context: &'c mut Context<'a>,
    value: V,
    attributes: Attributes<'c>,
    /// What went wrong on the way; `emit` tells.
    fault: Option<Failure>,
}

impl<'c, V: EventValue> Draft<'c, '_, V> {
    /// To this topic, which the plugin's file must declare among its outputs.
    pub fn topic(mut self, topic: &'c str) -> Self {
        self.attributes.topic = Some(topic);
        self
    }

    /// With this key.
    pub fn key<K: AsRef<[u8]> + ?Sized>(mut self, key: &'c K) -> Self {
        self.attributes.key = Key::Own(Some(key.as_ref()));
        self
    }

    /// With a null key: the event goes to any partition.
    pub fn no_key(mut self) -> Self {
        self.attributes.key = Key::Own(None);
        self
    }

    /// With this time, in milliseconds since the Unix epoch.
    pub fn time(mut self, time: i64) -> Self {
        self.attributes.time = Some(time);
        self
    }

    /// With one more header.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.add_header(name, Some(value.as_ref()))
    }

    /// With one more header, whose value is null.
    pub fn null_header(self, name: &str) -> Self {
        self.add_header(name, None)
    }

    /// With all these headers more, such as those of the event in hand.
    pub fn headers(self, headers: Headers<'_>) -> Self {
        self.context.emitter.headers.extend_from_slice(headers.into_bytes());
        self
    }

    /// Emits it.
    pub fn emit(self) -> Result<(), Failure> {
        let Self { context, value, attributes, fault } = self;
        match fault {
            Some(fault) => Err(fault),
            None => context.emitter.emit_with((&context.event, context.batch), attributes, &value),
        }
    }

    fn add_header(mut self, name: &str, value: Option<&[u8]>) -> Self {
        if let Err(fault) = self.context.emitter.header(name, value) {
            self.fault.get_or_insert(fault);
        }
        self
    }
}
