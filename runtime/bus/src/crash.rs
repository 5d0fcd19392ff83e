//! Named points at which a process can be told to die, for the kill harness. Knows no reason and no caller.
//!
//! `TIDEMILL_CRASH_AT=name:N` ends the process, without unwinding and without flushing anything, at the N-th
//! time that the point of that name is reached. The variable is read once; unset, a point costs one load.
//!
//! `TIDEMILL_CRASH_WITHOUT=step` leaves a step out without which a crash loses something, so that a harness can
//! show that it would see that. A release knows no such variable.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that names the point and the hit.
pub const VARIABLE: &str = "TIDEMILL_CRASH_AT";

/// The variable that names the step to leave out.
pub const WITHOUT_VARIABLE: &str = "TIDEMILL_CRASH_WITHOUT";

struct Plan {
    name: String,
    hits_left: AtomicU64,
}

static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

/// Dies here if the environment says so.
pub fn point(name: &str) {
    let plan = PLAN.get_or_init(|| plan_of(&std::env::var(VARIABLE).ok()?));
    if let Some(plan) = plan
        && plan.reached(name)
    {
        std::process::abort();
    }
}

/// Whether the environment says to leave this step out. Never, in a release.
pub fn is_without(step: &str) -> bool {
    cfg!(debug_assertions) && std::env::var(WITHOUT_VARIABLE).is_ok_and(|without| without == step)
}

/// Parses `name:N`; anything else is no plan.
fn plan_of(text: &str) -> Option<Plan> {
    let (name, hits) = text.rsplit_once(':')?;
    let hits = hits.parse().ok().filter(|&hits: &u64| hits > 0)?;
    Some(Plan { name: name.to_owned(), hits_left: AtomicU64::new(hits) })
}

impl Plan {
    /// Counts a hit of `name`; true at the last one.
    fn reached(&self, name: &str) -> bool {
        self.name == name && self.hits_left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_reached_at_its_nth_hit_and_only_once() {
        let plan = plan_of("after-write:2").unwrap();
        let hits = ["before-write", "after-write", "after-write", "after-write"];
        assert_eq!(hits.map(|name| plan.reached(name)), [false, false, true, false]);
    }

    #[test]
    fn what_does_not_parse_is_no_plan() {
        assert!(
            ["", "after-write", "after-write:", "after-write:0", "after-write:x"]
                .into_iter()
                .all(|text| plan_of(text).is_none())
        );
    }
}
