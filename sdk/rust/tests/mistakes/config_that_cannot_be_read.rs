//! A configuration that serde cannot read.

use tidemill_sdk::prelude::*;

struct Settings {
    limit: u32,
}

#[tidemill_sdk::handler]
//~v this function is not a handler: write `fn(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure>`
fn handle(event: &Event<'_>, ctx: &mut Context<'_>, settings: &Settings) -> Result<(), Failure> {
    Ok(())
}
