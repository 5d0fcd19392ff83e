//! `application/json`: one value is one event, the elements of an array are one event each.

use tidemill_json::Malformed;

use super::fields::Fields;
use super::place::Places;
use super::refused::{Refused, text};
use super::scan::Scan;

/// Reads the value or array of `body` into `places`.
pub(super) fn read(body: &[u8], fields: &mut Fields, places: &mut Places) -> Result<(), Refused> {
    let text = text(body)?;
    let wanted = fields.wanted();
    let mut scan = Scan::new(text, &wanted);
    let is_array = scan.eat(b'[');
    let refused = |error: Malformed| Refused::at(body, error.at, error.what);
    if !(is_array && scan.eat(b']')) {
        loop {
            let (value, found) = scan.next_value().map_err(refused)?;
            fields
                .event(text, value, &found, |event| places.push(event))
                .map_err(|error| Refused::at(body, error.at, error.what))??;
            if !is_array || scan.eat(b']') {
                break;
            }
            if !scan.eat(b',') {
                return scan.refuse("expected a comma or a closing bracket").map_err(refused);
            }
        }
    }
    scan.finish().map_err(refused)
}
