//! What the runtime can do: events a second that its slowest handler settles when publishers send as fast as they may.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::flow::Flow;
use super::sample::values;
use crate::harness::Api;

/// Seconds that are measured, after some in which everything fills.
const SECONDS: usize = 15;
const SECONDS_TO_FILL: usize = 5;

/// How often one looks.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// Looks at the runtime: notes how far its slowest handler has come, and returns its metrics.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a lag is a number of events")]
pub(super) fn look(flow: &Flow, api: &Api) -> Result<String> {
    // Before the lag is asked for, so that nothing counts as settled which is only not yet known to wait.
    let published = flow.published();
    let metrics = api.text("/metrics")?;
    let lag = values(&metrics, "tidemill_handler_lag").fold(0.0, f64::max) as u64;
    flow.settle(published.saturating_sub(lag));
    Ok(metrics)
}

/// Measures the peak rate: the median of the seconds, for a machine may be busy with something else in some of them.
pub(super) fn measure(flow: &Flow, api: &Api) -> Result<f64> {
    let mut rates = Vec::new();
    let (mut last_s, mut last) = (flow.clock.now_s(), flow.settled());
    while rates.len() < SECONDS_TO_FILL + SECONDS {
        ensure!(!flow.is_over(), "something went wrong while the peak rate was measured");
        thread::sleep(LOOK);
        look(flow, api)?;
        let (now_s, now) = (flow.clock.now_s(), flow.settled());
        if now_s - last_s >= 1.0 {
            rates.push(rate(now.saturating_sub(last), now_s - last_s));
            (last_s, last) = (now_s, now);
        }
    }
    let mut rates = rates.split_off(SECONDS_TO_FILL);
    rates.sort_unstable_by(f64::total_cmp);
    let median = rates.get(rates.len() / 2).copied().context("no second was measured")?;
    ensure!(median >= 1.0, "the runtime settles nothing: {rates:?}");
    Ok(median)
}

#[expect(clippy::cast_precision_loss, reason = "events of a second have less than 53 bits")]
fn rate(events: u64, seconds: f64) -> f64 {
    events as f64 / seconds
}
