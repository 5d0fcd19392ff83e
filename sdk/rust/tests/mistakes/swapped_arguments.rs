//! Event and context in the wrong order.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v write `event: &Event<'_>` here
fn handle(ctx: &mut Context<'_>, event: &Event<'_>) -> Result<(), Failure> {
    Ok(())
}
