//! A handler with a `self`.

use tidemill_sdk::prelude::*;

struct Handler;

impl Handler {
    #[tidemill_sdk::handler]
    //~v a handler is a plain function, not a method: move it out of the `impl` and remove `self`
    fn handle(&self, event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
        Ok(())
    }
}
