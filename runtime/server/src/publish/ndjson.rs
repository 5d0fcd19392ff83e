//! `application/x-ndjson`: one event a line. The value is the line's bytes without the white space around.

use super::fields::Fields;
use super::place::Places;
use super::refused::{Refused, text};
use super::scan::Scan;

/// Reads the lines of `body` into `places`. Empty lines are skipped.
pub(super) fn read(body: &[u8], fields: &mut Fields, places: &mut Places) -> Result<(), Refused> {
    let text = text(body)?;
    let wanted = fields.wanted();
    let mut start = 0;
    while start < body.len() {
        let end = memchr::memchr(b'\n', &body[start..]).map_or(body.len(), |len| start + len);
        let line = &text[start..end];
        let value_start = start + line.len() - line.trim_ascii_start().len();
        let value = line.trim_ascii();
        if !value.is_empty() {
            let refused = |at: usize, what| Refused::at(body, value_start + at, what);
            let found =
                Scan::new(value, &wanted).whole().map_err(|error| refused(error.at, error.what.into()))?;
            fields
                .event(value, 0..value.len(), &found, |event| places.push(event))
                .map_err(|error| refused(error.at, error.what))??;
        }
        start = end + 1;
    }
    Ok(())
}
