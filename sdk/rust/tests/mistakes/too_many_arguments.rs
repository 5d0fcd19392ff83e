//! A handler that wants two configurations.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v a handler takes `event: &Event<'_>`, `ctx: &mut Context<'_>`, and if it has a configuration `config: &Config`
fn handle(event: &Event<'_>, ctx: &mut Context<'_>, one: &u32, two: &u32) -> Result<(), Failure> {
    Ok(())
}
