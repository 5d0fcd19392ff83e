//! What counts as a handler: a plain function over an event, with or without a configuration.

use serde::de::DeserializeOwned;

use crate::{Context, Event, Failure, config};

/// A function that handles one event: `fn(&Event<'_>, &mut Context<'_>)`, or with a configuration
/// `fn(&Event<'_>, &mut Context<'_>, &C)` for any `C` that serde can read. It returns nothing or a
/// `Result<(), Failure>`.
#[diagnostic::on_unimplemented(
    message = "this function is not a handler",
    label = "write `fn(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure>`",
    note = "a handler may take its configuration as a third argument, `config: &C`, where `C` is a type of its own \
            with `#[derive(serde::Deserialize)]`",
    note = "it returns nothing or a `Result<(), Failure>`: `Failure::reject` and `Failure::retry` make a `Failure`"
)]
pub trait Handler<Form> {
    /// Its configuration, read once per instance.
    type Config;

    /// Reads its configuration from `[config]` of the plugin's file. The error names the key.
    fn configure() -> Result<Self::Config, String>;

    /// Handles one event.
    fn handle(&self, event: &Event<'_>, ctx: &mut Context<'_>, config: &Self::Config) -> Result<(), Failure>;
}

impl<F, R> Handler<fn() -> R> for F
where
    F: Fn(&Event<'_>, &mut Context<'_>) -> R,
    R: Outcome,
{
    type Config = ();

    fn configure() -> Result<(), String> {
        Ok(())
    }

    #[inline]
    fn handle(&self, event: &Event<'_>, ctx: &mut Context<'_>, (): &()) -> Result<(), Failure> {
        self(event, ctx).into_result()
    }
}

impl<F, C, R> Handler<fn(C) -> R> for F
where
    F: Fn(&Event<'_>, &mut Context<'_>, &C) -> R,
    C: DeserializeOwned,
    R: Outcome,
{
    type Config = C;

    fn configure() -> Result<C, String> {
        config::read()
    }

    #[inline]
    fn handle(&self, event: &Event<'_>, ctx: &mut Context<'_>, config: &C) -> Result<(), Failure> {
        self(event, ctx, config).into_result()
    }
}

/// What a handler may return.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "a handler returns nothing or a `Result<(), Failure>`"
)]
pub trait Outcome {
    /// The same as a result.
    fn into_result(self) -> Result<(), Failure>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl Outcome for Result<(), Failure> {
    fn into_result(self) -> Result<(), Failure> {
        self
    }
}
