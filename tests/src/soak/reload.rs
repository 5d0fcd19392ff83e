//! Reloads: every few seconds another version of a handler, now and then a file that is none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use super::directory::{Directory, HANDLERS};
use super::flow::Flow;
use crate::harness::Api;

/// Time between two reloads.
const PAUSE: Duration = Duration::from_secs(4);

/// One reload in so many begins with a broken file.
const BROKEN_ONE_IN: u8 = 4;

/// How long a file may take to be dealt with, on a machine that is busy.
const WAIT_MAX: Duration = Duration::from_mins(3);

/// How often one looks whether it is.
const LOOK: Duration = Duration::from_millis(50);

/// What was reloaded so far.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// Versions that were put in place and taken, or refused on trial.
    pub(super) good: AtomicU64,
    /// Broken files that were seen and not taken.
    pub(super) broken: AtomicU64,
}

/// Reloads one handler after the other until publishing ends.
pub(super) fn reload(
    (flow, api): (&Flow, &Api),
    directory: &mut Directory,
    reloads: &Reloads,
    mut random: fastrand::Rng,
) -> Result<()> {
    while !flow.is_enough() {
        let handler = HANDLERS[random.usize(..HANDLERS.len())];
        let before = entry(api, handler)?;
        if random.u8(..BROKEN_ONE_IN) == 0 {
            directory.break_file(handler)?;
            wait(flow, || Ok(!entry(api, handler)?["error"].is_null()), handler)?;
            reloads.broken.fetch_add(1, Ordering::Relaxed);
        }
        directory.renew(handler)?;
        wait(flow, || Ok(is_taken(&before, &entry(api, handler)?)), handler)?;
        reloads.good.fetch_add(1, Ordering::Relaxed);
        let until = Instant::now() + PAUSE;
        while !flow.is_enough() && Instant::now() < until {
            thread::sleep(LOOK);
        }
    }
    Ok(())
}

/// Whether a good version is in charge; or was refused, as one is that meets an event which traps before it has
/// committed anything. A file that was broken before it leaves an error until the new one is loaded.
fn is_taken(before: &Value, now: &Value) -> bool {
    let in_charge = now["version"] != before["version"] && now["inCharge"].is_null();
    let refused = !now["refused"].is_null() && now["refused"] != before["refused"];
    in_charge || refused
}

fn entry(api: &Api, handler: &str) -> Result<Value> {
    api.get(&format!("/v1/handlers/{handler}"))
}

/// Waits until it is done, or publishing ends: without events no version comes through its trial.
fn wait(flow: &Flow, done: impl Fn() -> Result<bool>, handler: &str) -> Result<()> {
    let begun = Instant::now();
    while !flow.is_enough() && !done()? {
        if begun.elapsed() > WAIT_MAX {
            bail!("a new file of {handler} was not dealt with within {WAIT_MAX:?}");
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_is_taken_when_its_trial_is_over() {
        let before = json!({"version": "a"});
        assert!(!is_taken(&before, &json!({"version": "a"})));
        assert!(!is_taken(&before, &json!({"version": "b", "inCharge": "a"})));
        assert!(is_taken(&before, &json!({"version": "b"})));
        assert!(is_taken(&before, &json!({"version": "a", "refused": {"version": "b"}})));
    }
}
