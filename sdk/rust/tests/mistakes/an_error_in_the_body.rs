//! A mistake that has nothing to do with the attribute stands where it was made.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
fn handle(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    //~v mismatched types: expected `u32`, found `Option<&[u8]>`
    let size: u32 = event.value();
    Ok(())
}
