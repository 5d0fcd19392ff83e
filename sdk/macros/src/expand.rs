//! From a function to the function and its export. Errors stand at the user's own line.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, GenericParam, ItemFn, Signature};

/// The function as it was, with its export or with what is wrong with it.
pub(crate) fn expand(arguments: &TokenStream, item: &TokenStream) -> TokenStream {
    let Ok(function) = syn::parse2::<ItemFn>(item.clone()) else {
        let error = Error::new_spanned(item, "#[handler] goes on a function").to_compile_error();
        return quote!(#item #error);
    };
    match check(arguments, &function.sig) {
        Ok(()) => export(&function),
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#function #error)
        }
    }
}

/// Checks what can be seen without types.
fn check(arguments: &TokenStream, signature: &Signature) -> Result<(), Error> {
    let refuse = |at: &dyn ToTokens, message: &str| Err(Error::new_spanned(at, message));
    if !arguments.is_empty() {
        return refuse(arguments, "#[handler] takes no arguments");
    }
    if let Some(keyword) = &signature.asyncness {
        return refuse(keyword, "a handler has nothing to wait for: it cannot be async");
    }
    if let Some(keyword) = &signature.unsafety {
        return refuse(keyword, "a handler cannot be unsafe");
    }
    let typed = signature.generics.params.iter().find(|param| !matches!(param, GenericParam::Lifetime(_)));
    if let Some(param) = typed {
        return refuse(param, "a handler cannot be generic over types or constants");
    }
    match signature.inputs.first() {
        Some(FnArg::Receiver(receiver)) => refuse(receiver, "a handler is a plain function, not a method"),
        _ if (2..=3).contains(&signature.inputs.len()) => Ok(()),
        _ => refuse(
            signature,
            "a handler takes `event: &Event<'_>`, `ctx: &mut Context<'_>`, and if it has one `config: &Config`",
        ),
    }
}

fn export(function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    let assertion = quote_spanned!(function.sig.span() => ::tidemill_sdk::__private::assert_handler(&#name));
    quote! {
        #function

        const _: () = #assertion;

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use ::tidemill_sdk::__private::{bindings, check, run};

            struct Component;

            impl bindings::exports::tidemill::handler::processor::Guest for Component {
                fn process(
                    batch: bindings::Batch,
                ) -> ::core::result::Result<bindings::Output, ::std::string::String> {
                    run(&#name, &batch)
                }
            }

            impl bindings::exports::tidemill::handler::setup::Guest for Component {
                fn check() -> ::core::result::Result<(), ::std::string::String> {
                    check(&#name)
                }
            }

            bindings::export_handler!(Component with_types_in bindings);
        };
    }
}
