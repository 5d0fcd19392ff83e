//! Write Tidemill handlers in Rust: one plain function over a borrowed event.
//!
//! ```
//! use tidemill_sdk::prelude::*;
//!
//! /// How often each key was seen.
//! static SEEN: Cell<u64> = Cell::new("seen");
//!
//! #[tidemill_sdk::handler]
//! fn count(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
//!     if event.value().is_none() {
//!         return Err(Failure::reject("a tombstone cannot be counted"));
//!     }
//!     let seen = ctx.cell(&SEEN)?.update(|seen| {
//!         *seen += 1;
//!         *seen
//!     });
//!     ctx.emit(seen.to_string())
//! }
//!
//! // The same function, tested without a runtime:
//! use tidemill_sdk::testing::{Harness, Input};
//! let report = Harness::new(count).run(&[Input::new("a").key("k"), Input::new("b").key("k")]);
//! assert_eq!(report.values(), ["1", "2"]);
//! ```
//!
//! `tidemill build` makes a component of a crate with such a function; its `Cargo.toml` says
//! `crate-type = ["cdylib", "rlib"]`.
//!
//! - **What happens to one event happens to it alone.** An event that fails ([`Failure`]) leaves nothing behind:
//!   what was emitted and written for it is rolled back, its neighbours in the batch stay.
//! - **Batches do not show.** State, clock ([`Event::append_time`]) and random numbers ([`Context::random`])
//!   depend on the events alone, so that a result does not depend on where a batch began.
//! - **No memory of its own.** Keep state in [`Cell`]s: an instance may be replaced between any two batches.

#[doc(hidden)]
pub mod bindings;
mod config;
mod context;
mod emit;
mod event;
mod failure;
mod handler;
mod host;
pub mod json;
pub mod limits;
pub mod log;
mod random;
mod run;
mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod value;

pub use context::{Context, Draft};
pub use event::{Event, Header, Headers};
pub use failure::Failure;
pub use handler::{Handler, Outcome};
pub use json::Json;
pub use random::Random;
pub use state::{Cell, Entry, StateValue};
pub use tidemill_sdk_macros::handler;
pub use value::EventValue;

/// What most handlers use.
pub mod prelude {
    pub use crate::{Cell, Context, Event, Failure, Json};
}

/// For the code that `#[handler]` generates; not for anybody else.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings;
    pub use crate::run::{Export, Function, exported, function};
}
