//! A handler that wants to wait.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v a handler has nothing to wait for: remove `async`
async fn handle(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    Ok(())
}
