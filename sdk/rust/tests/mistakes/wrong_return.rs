//! A handler that returns its result instead of emitting it.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v this function is not a handler: write `fn(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure>`
fn handle(event: &Event<'_>, ctx: &mut Context<'_>) -> u32 {
    7
}
