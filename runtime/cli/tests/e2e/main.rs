//! The real binary, driven over its command line and HTTP as users drive it.

mod mill;

mod api;
mod cli;
mod faults;
mod handlers;
