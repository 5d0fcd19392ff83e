//! Write Tidemill handlers in Rust: one plain function over a borrowed event.
