//! Emits every event as it came: key, headers, value and time. The smallest handler there is, and the one that
//! shows what a trip through a handler costs. Goes event by event, as any other handler does.

use tidemill_sdk::{Context, Event, Failure};

/// Emits the event.
#[tidemill_sdk::handler]
pub fn passthrough(_event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    ctx.forward()
}
