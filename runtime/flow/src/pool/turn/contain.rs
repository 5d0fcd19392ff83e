//! What panics in a turn: our own code or the engine's, never the guest. The worker goes on; a call is as if it never
//! was. Knows no driver.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::handler::Fault;

/// Does `work`; a panic in it is a fault of the host. What it changed is to be thrown away.
pub(super) fn contained<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Fault::Host(format!("panicked: {}", told(&*panic)))))
}

/// What a panic says, if it says it in words.
fn told(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "without a word",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_fault_of_the_host_that_says_its_words() {
        let host = |what: &str| Err(Fault::Host(format!("panicked: {what}")));
        assert_eq!(contained(|| Ok(1)), Ok(1));
        assert_eq!(contained::<()>(|| panic!("words")), host("words"));
        assert_eq!(contained::<()>(|| panic!("{} words", 2)), host("2 words"));
        assert_eq!(contained::<()>(|| std::panic::panic_any(7)), host("without a word"));
    }
}
