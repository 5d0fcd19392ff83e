//! Bindings generated from `wit/`. All unsafe code of the SDK is in here, and none of it is written by hand.
#![allow(unsafe_code, unreachable_pub, missing_docs, unused_qualifications, clippy::all, clippy::pedantic)]
#![allow(clippy::undocumented_unsafe_blocks, clippy::unwrap_used, clippy::too_many_lines)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "checked-handler",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "export_handler",
    default_bindings_module: "tidemill_sdk::__private::bindings",
});

pub use self::tidemill::handler::types::{Batch, Failure, Output, Stop};
