//! A handler for any configuration.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v nobody could choose a type or constant for a handler: write the one that is meant
fn handle<C: Default>(event: &Event<'_>, ctx: &mut Context<'_>, config: &C) -> Result<(), Failure> {
    Ok(())
}
