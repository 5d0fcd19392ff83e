//! An error that is no `Failure`.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v this function is not a handler: write `fn(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure>`
fn handle(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), String> {
    Ok(())
}
