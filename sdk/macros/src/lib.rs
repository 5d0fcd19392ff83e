//! The handler macro of the Tidemill SDK. It checks the shape of the function and generates the export; what a
//! handler's arguments are is checked by the SDK's traits.

mod expand;

use proc_macro::TokenStream;

/// Makes a plain function the crate's handler.
///
/// ```text
/// #[tidemill_sdk::handler]
/// fn handle(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> { … }
///
/// // With a configuration: any type that serde can read, from `[config]` of the plugin's file.
/// #[tidemill_sdk::handler]
/// fn handle(event: &Event<'_>, ctx: &mut Context<'_>, config: &Config) -> Result<(), Failure> { … }
/// ```
///
/// The function stays as it is, to be called by tests. Compiled for `wasm32` the crate exports it as its handler,
/// of which there can be one.
#[proc_macro_attribute]
pub fn handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(&arguments.into(), &item.into()).into()
}
