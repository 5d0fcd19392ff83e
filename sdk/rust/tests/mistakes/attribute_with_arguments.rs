//! Settings where the plugin's file has its place.

use tidemill_sdk::prelude::*;

//~v #[handler] takes no arguments: inputs and outputs stand in the plugin's TOML file
#[tidemill_sdk::handler(topic = "quakes")]
fn handle(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    Ok(())
}
