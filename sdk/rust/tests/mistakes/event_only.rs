//! A handler that lacks its context.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v a handler takes `event: &Event<'_>`, `ctx: &mut Context<'_>`, and if it has a configuration `config: &Config`
fn handle(event: &Event<'_>) -> Result<(), Failure> {
    Ok(())
}
