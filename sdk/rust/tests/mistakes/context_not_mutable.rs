//! A context that cannot emit.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v write `ctx: &mut Context<'_>` here
fn handle(event: &Event<'_>, ctx: &Context<'_>) -> Result<(), Failure> {
    Ok(())
}
