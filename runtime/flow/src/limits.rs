//! Every bound of the flow, each with its reason.

use std::time::Duration;

/// A call that has run this long gives its permit back and goes on with a slow one: longer than nearly every
/// batch takes, short enough that a looping guest does not hold up its neighbours.
pub const SLOW_AFTER: Duration = Duration::from_millis(10);
