//! `application/vnd.tidemill.batch`: events in columns, as they lie on disk. The fast way in.
//!
//! All numbers are little-endian and without gaps:
//!
//! | at | what |
//! |---|---|
//! | 0 | the four bytes `TMB1` |
//! | 4 | `u32`: number of events, n |
//! | 8 | n × `i64`: times, in milliseconds since the Unix epoch |
//! | then | n × `i32`: bytes of each key; −1 is null |
//! | then | n × `u32`: bytes of each event's headers |
//! | then | n × `i32`: bytes of each value; −1 is null, a tombstone |
//! | then, to the end | per event: key, headers, value |
//!
//! A header is a `u16` name length, the name in UTF-8, an `i32` value length (−1 is null) and the value.

use tidemill_bus::Columns;

use super::place::Places;
use super::refused::Refused;

const MAGIC: &[u8; 4] = b"TMB1";

/// Reads the batch into `places`.
pub(super) fn read(body: &[u8], places: &mut Places) -> Result<(), Refused> {
    let columns = decode(body)?;
    columns.check()?;
    places.reserve(columns.len(), columns.data.len());
    columns.iter().try_for_each(|event| places.push(event))
}

/// The bytes of `columns` as a body of this type.
pub fn encode(columns: &Columns) -> Vec<u8> {
    let count = u32::try_from(columns.len()).expect("a batch is bounded far below 2^32 events");
    let mut body = Vec::with_capacity(8 + columns.byte_len());
    body.extend_from_slice(MAGIC);
    body.extend_from_slice(&count.to_le_bytes());
    body.extend(columns.times.iter().flat_map(|time| time.to_le_bytes()));
    body.extend(columns.key_lens.iter().flat_map(|len| len.to_le_bytes()));
    body.extend(columns.header_lens.iter().flat_map(|len| len.to_le_bytes()));
    body.extend(columns.value_lens.iter().flat_map(|len| len.to_le_bytes()));
    body.extend_from_slice(&columns.data);
    body
}

/// The columns of `body`; what they say is not checked yet.
fn decode(body: &[u8]) -> Result<Columns, Refused> {
    let rest = body.strip_prefix(MAGIC).ok_or(Refused::Batch("it does not begin with TMB1"))?;
    let (count, rest) = rest.split_first_chunk().ok_or(Refused::Batch("the number of events is cut off"))?;
    let count = u32::from_le_bytes(*count) as usize;
    let (times, rest) = column(rest, count, i64::from_le_bytes)?;
    let (key_lens, rest) = column(rest, count, i32::from_le_bytes)?;
    let (header_lens, rest) = column(rest, count, u32::from_le_bytes)?;
    let (value_lens, data) = column(rest, count, i32::from_le_bytes)?;
    Ok(Columns { times, key_lens, header_lens, value_lens, data: data.to_vec() })
}

fn column<T, const WIDTH: usize>(
    bytes: &[u8],
    count: usize,
    number: fn([u8; WIDTH]) -> T,
) -> Result<(Vec<T>, &[u8]), Refused> {
    let cut = Refused::Batch("it has fewer bytes than its number of events needs");
    let Some((column, rest)) = bytes.split_at_checked(count.saturating_mul(WIDTH)) else { return Err(cut) };
    let (numbers, _) = column.as_chunks();
    Ok((numbers.iter().map(|bytes| number(*bytes)).collect(), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemill_bus::Event;
    use tidemill_bus::block::header;

    use super::*;

    type Parts = (i64, Option<Vec<u8>>, Option<String>, Option<Vec<u8>>);

    fn columns(events: &[Parts]) -> Columns {
        let mut columns = Columns::default();
        for (time, key, name, value) in events {
            let mut headers = Vec::new();
            if let Some(name) = name {
                header::push(&mut headers, name, value.as_deref()).unwrap();
            }
            columns.push(Event {
                time: *time,
                key: key.as_deref(),
                headers: &headers,
                value: value.as_deref(),
            });
        }
        columns
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(events in proptest::collection::vec(any::<Parts>(), 0..20)) {
            let columns = columns(&events);
            prop_assert_eq!(decode(&encode(&columns)), Ok(columns));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if bytes.len() >= 8 {
                bytes[..8].copy_from_slice(b"TMB1\x03\0\0\0");
            }
            if let Ok(columns) = decode(&bytes) && columns.check().is_ok() {
                prop_assert_eq!(columns.iter().count(), columns.len());
            }
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_takes_no_memory() {
        assert!(matches!(decode(b"TMB1\xff\xff\xff\xff"), Err(Refused::Batch(_))));
        assert!(matches!(decode(b"TMB2\0\0\0\0"), Err(Refused::Batch(_))));
        assert!(matches!(decode(b"TMB1\0\0"), Err(Refused::Batch(_))));
    }
}
