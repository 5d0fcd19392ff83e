//! The configuration by value.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v write `config: &Config` here
fn handle(event: &Event<'_>, ctx: &mut Context<'_>, limit: u32) -> Result<(), Failure> {
    Ok(())
}
