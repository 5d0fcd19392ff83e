//! The result thrown away by a semicolon.

use tidemill_sdk::prelude::*;

#[tidemill_sdk::handler]
//~v mismatched types: expected `Result<(), Failure>`, found `()`
fn handle(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    ctx.emit("x");
}
