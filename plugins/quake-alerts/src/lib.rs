//! Alerts of significant earthquakes by region, with the region's running mean magnitude.
//!
//! A region is what follows the last comma of the place (`12km SSE of Volcano, Hawaii`), or the whole place if
//! there is none. Every earthquake with a magnitude counts towards its region's mean, and one of at least
//! `minimum-magnitude` raises an alert, which is keyed by the region.
//!
//! The topic may be published with any key or none. State belongs to the partition, so with several partitions a
//! region's mean is over all its earthquakes only if all of them come in one: then publish with the region as
//! the key, or give the topic one partition, as the demo does.

use serde::{Deserialize, Serialize};
use tidemill_sdk::json::LazyJson;
use tidemill_sdk::{Cell, Context, Event, Failure, Json, log};

/// When to raise an alert.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The least magnitude that raises an alert.
    #[serde(default = "default_minimum_magnitude")]
    minimum_magnitude: f64,
}

fn default_minimum_magnitude() -> f64 {
    4.5
}

/// What is kept of each region.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Region {
    count: u64,
    sum: f64,
}

/// What is emitted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Alert<'a> {
    region: &'a str,
    magnitude: f64,
    place: &'a str,
    id: Option<&'a str>,
    /// Earthquakes of the region so far, this one included.
    region_count: u64,
    /// Their mean magnitude, to three digits.
    region_mean: f64,
}

static REGIONS: Cell<Json<Region>> = Cell::new("regions");

/// Counts the earthquake, and raises an alert if it is significant.
#[tidemill_sdk::handler]
pub fn quake_alerts(event: &Event<'_>, ctx: &mut Context<'_>, config: &Config) -> Result<(), Failure> {
    let quake = event.json()?;
    let Some(magnitude) = quake.field("mag")?.and_then(|magnitude| magnitude.as_f64()) else {
        log::debug!("no magnitude at offset {}", event.offset());
        return Ok(());
    };
    let place = quake.field("place")?.and_then(|place| place.as_str());
    let place = place.ok_or_else(|| Failure::reject("an earthquake without a place"))?;
    let region = place.rsplit(',').next().unwrap_or(&place).trim();
    let so_far = ctx.cell_at(&REGIONS, region)?.update(|so_far| {
        so_far.count += 1;
        so_far.sum += magnitude;
        *so_far
    });
    if magnitude < config.minimum_magnitude {
        return Ok(());
    }
    let id = quake.field("id")?.and_then(|id: LazyJson<'_>| id.as_str());
    let alert = Alert {
        region,
        magnitude,
        place: &place,
        id: id.as_deref(),
        region_count: so_far.count,
        region_mean: mean(*so_far),
    };
    ctx.compose(Json(&alert)).key(region).emit()
}

#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is out of reach")]
fn mean(region: Region) -> f64 {
    (region.sum / region.count as f64 * 1000.0).round() / 1000.0
}
