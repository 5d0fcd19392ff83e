//! Calls into code that is not ours: a panic there must not end the committer. Knows no caller.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::notice::{Notice, Notices};

/// Makes the call; a panic in it ends the call and is said. Whoever is called must not count on having been told
/// what it panicked at.
pub(crate) fn contained(notices: &Notices, who: &'static str, call: impl FnOnce()) {
    // What the call may leave half done is the called one's own: nothing of the store is lent to it.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
        notices.push(Notice::Panicked { who, what: words_of(&*panic) });
    }
}

/// What a panic said.
pub(crate) fn words_of(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").into()
}
