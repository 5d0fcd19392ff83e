//! A handler with a contract of its own.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v a handler is called by safe code: remove `unsafe`
unsafe fn handle(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    Ok(())
}
