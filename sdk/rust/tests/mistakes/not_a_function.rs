//! The attribute on a type.

#[tidemill_sdk::handler]
//~v #[handler] goes on a function: put it above the `fn` that handles an event
struct Handler;
