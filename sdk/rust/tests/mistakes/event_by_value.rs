//! The event by value.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v write `event: &Event<'_>` here
fn handle(event: Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    Ok(())
}
