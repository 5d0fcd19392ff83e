//! An event of a type of one's own.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v this function is not a handler: write `fn(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure>`
fn handle(event: &str, ctx: &mut Context<'_>) -> Result<(), Failure> {
    Ok(())
}
