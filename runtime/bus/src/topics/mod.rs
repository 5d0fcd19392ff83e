//! What a topic is called, and what lives: metadata as it is committed.

mod catalog;
mod name;
mod settings;

pub(crate) use catalog::Catalog;
pub(crate) use name::check_name;
pub use settings::{Compression, Policy, TopicSettings};
