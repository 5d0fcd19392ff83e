//! A handler of any size.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v nobody could choose a type or constant for a handler: write the one that is meant
fn handle<const N: usize>(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    Ok(())
}
