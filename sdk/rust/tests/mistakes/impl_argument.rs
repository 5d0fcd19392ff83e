//! A handler for any configuration, in the shorter form.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v nobody could choose a type for a handler: write the one that is meant
fn handle(event: &Event<'_>, ctx: &mut Context<'_>, config: &impl Default) -> Result<(), Failure> {
    Ok(())
}
