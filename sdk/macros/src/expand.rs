//! From a function to the function and its export. Errors stand at the user's own line.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, GenericParam, ItemFn, Signature, Type};

/// The function as it was, with its export or with what is wrong with it.
pub(crate) fn expand(arguments: &TokenStream, item: &TokenStream) -> TokenStream {
    let Ok(function) = syn::parse2::<ItemFn>(item.clone()) else {
        let error = Error::new_spanned(
            item,
            "#[handler] goes on a function: put it above the `fn` that handles an event",
        )
        .to_compile_error();
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

/// What stands in the place of each argument.
const ARGUMENTS: [&str; 3] = ["event: &Event<'_>", "ctx: &mut Context<'_>", "config: &Config"];

/// Checks what can be seen without types. Every message says what to write instead.
fn check(arguments: &TokenStream, signature: &Signature) -> Result<(), Error> {
    if !arguments.is_empty() {
        let message = "#[handler] takes no arguments: inputs and outputs stand in the plugin's TOML file";
        return Err(Error::new_spanned(arguments, message));
    }
    if let Some(keyword) = &signature.asyncness {
        return Err(Error::new_spanned(keyword, "a handler has nothing to wait for: remove `async`"));
    }
    if let Some(keyword) = &signature.unsafety {
        return Err(Error::new_spanned(keyword, "a handler is called by safe code: remove `unsafe`"));
    }
    let typed = signature.generics.params.iter().find(|param| !matches!(param, GenericParam::Lifetime(_)));
    if let Some(param) = typed {
        let message = "nobody could choose a type or constant for a handler: write the one that is meant";
        return Err(Error::new_spanned(param, message));
    }
    check_inputs(signature)
}

fn check_inputs(signature: &Signature) -> Result<(), Error> {
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        let message =
            "a handler is a plain function, not a method: move it out of the `impl` and remove `self`";
        return Err(Error::new_spanned(receiver, message));
    }
    if !(2..=3).contains(&signature.inputs.len()) {
        let [event, context, config] = ARGUMENTS;
        let message =
            format!("a handler takes `{event}`, `{context}`, and if it has a configuration `{config}`");
        return Err(Error::new_spanned(signature, message));
    }
    for (index, (argument, wanted)) in signature.inputs.iter().zip(ARGUMENTS).enumerate() {
        let FnArg::Typed(argument) = argument else { continue };
        let is_mutable = index == 1;
        match &*argument.ty {
            Type::Reference(reference) if reference.mutability.is_some() == is_mutable => {
                if let Type::ImplTrait(opaque) = &*reference.elem {
                    let message = "nobody could choose a type for a handler: write the one that is meant";
                    return Err(Error::new_spanned(opaque, message));
                }
            }
            _ => return Err(Error::new_spanned(argument, format!("write `{wanted}` here"))),
        }
    }
    Ok(())
}

fn export(function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    let exported = quote_spanned! { function.sig.span() =>
        ::tidemill_sdk::__private::exported(&::tidemill_sdk::__private::function(#name))
    };
    quote! {
        #function

        const _: () = {
            use ::tidemill_sdk::__private::{Export, bindings};

            const EXPORT: &dyn Export = #exported;
            // In use on every target, and with it the handler.
            const _: &dyn Export = EXPORT;

            #[cfg(target_arch = "wasm32")]
            struct Component;

            #[cfg(target_arch = "wasm32")]
            impl bindings::exports::tidemill::handler::processor::Guest for Component {
                fn process(
                    batch: bindings::Batch,
                ) -> ::core::result::Result<bindings::Output, ::std::string::String> {
                    EXPORT.run(&batch)
                }
            }

            #[cfg(target_arch = "wasm32")]
            impl bindings::exports::tidemill::handler::setup::Guest for Component {
                fn check() -> ::core::result::Result<(), ::std::string::String> {
                    EXPORT.check()
                }
            }

            #[cfg(target_arch = "wasm32")]
            bindings::export_handler!(Component with_types_in bindings);
        };
    }
}
