//! From the body of a request to the blocks of one transaction, all or nothing. Knows no HTTP.

mod batch;
mod fields;
mod json;
mod ndjson;
mod place;
mod pointer;
mod refused;
mod scan;

pub use batch::encode as encode_batch;
pub use fields::Pointers;
pub use pointer::{Pointer, PointerError};
pub use refused::Refused;

use tidemill_bus::log::Topic;
use tidemill_bus::transaction::NewBlock;

/// How the events lie in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/x-ndjson`: one JSON value a line.
    Ndjson,
    /// `application/json`: one value, or an array of values.
    Json,
    /// `application/vnd.tidemill.batch`: columns.
    Batch,
}

impl Format {
    /// The media types that are taken, for the error that names them.
    pub const MEDIA_TYPES: &str = "application/json, application/x-ndjson or application/vnd.tidemill.batch";

    /// The format of a `Content-Type`, whatever its parameters.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        match media_type.to_ascii_lowercase().as_str() {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Self::Ndjson),
            "application/json" => Some(Self::Json),
            "application/vnd.tidemill.batch" => Some(Self::Batch),
            _ => None,
        }
    }
}

/// What the events of a request are made of, but for the body.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where they go.
    pub topic: Topic,
    /// How they lie in the body.
    pub format: Format,
    /// Where they have their key, time and headers; a batch has them in its columns.
    pub pointers: Pointers,
    /// The time of events without one, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// Chooses the partition of the events without a key.
    pub turn: u32,
}

/// The events of a request, ready to be submitted.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The blocks.
    pub blocks: Vec<NewBlock>,
    /// The partition of each event, in the order of the request.
    pub order: Vec<u32>,
}

/// Reads `body` as `plan` says.
pub fn read(body: &[u8], plan: &Plan) -> Result<Placed, Refused> {
    let mut places = place::Places::new(plan.topic.clone(), plan.turn);
    let mut fields = fields::Fields::new(&plan.pointers, plan.now_ms);
    match plan.format {
        Format::Ndjson => ndjson::read(body, &mut fields, &mut places)?,
        Format::Json => json::read(body, &mut fields, &mut places)?,
        Format::Batch => batch::read(body, &mut places)?,
    }
    let (blocks, order) = places.into_blocks();
    Ok(Placed { blocks, order })
}

/// Whether `text` is one JSON value.
pub fn is_json(text: &str) -> bool {
    scan::Scan::new(text, &[]).whole().is_ok()
}

#[cfg(test)]
mod tests;
