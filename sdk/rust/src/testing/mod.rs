//! Tests of handlers without a runtime: feed events, look at what came out.
//!
//! ```
//! use tidemill_sdk::prelude::*;
//! use tidemill_sdk::testing::{Harness, Input};
//!
//! fn shout(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
//!     ctx.emit(event.text()?.to_uppercase())
//! }
//!
//! // Once event by event, once by sevens, once all at once: the results must not differ.
//! let report = Harness::new(shout).run_in_every_batching(&[Input::new("hey"), Input::tombstone()]);
//! assert_eq!(report.values(), ["HEY"]);
//! assert_eq!(report.rejected[0].reason, "the value is null");
//! ```

mod harness;
mod input;
mod ndjson;
mod report;

pub use harness::{Batches, Harness};
pub use input::Input;
pub use ndjson::{assert_golden, inputs};
pub use report::{Emitted, Rejected, Report, Stopped};
