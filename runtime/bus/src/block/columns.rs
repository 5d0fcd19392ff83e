//! The columns of a run of events. Owns their layout and its check; knows no topic, offset or file.

use std::ops::Range;

use thiserror::Error;

/// Events in columns. Lengths, not ends: cutting and joining is copying.
///
/// `data` holds per event its key, its headers and its value, one after the other, without gaps. A length
/// of −1 is null, which is not empty: a null value is a tombstone. A header is a `u16` name length, the
/// name in UTF-8, an `i32` value length (−1 is null) and the value, all little-endian.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The events' own times, in milliseconds since the Unix epoch.
    pub times: Vec<i64>,
    /// Bytes of each key; −1 is null.
    pub key_lens: Vec<i32>,
    /// Bytes of each event's headers.
    pub header_lens: Vec<u32>,
    /// Bytes of each value; −1 is null.
    pub value_lens: Vec<i32>,
    /// Per event: key, headers, value.
    pub data: Vec<u8>,
}

/// One event, borrowed from its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event's own time, in milliseconds since the Unix epoch.
    pub time: i64,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The headers as they lie in the columns; read them with [`header::iter`].
    pub headers: &'a [u8],
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Columns that contradict themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ColumnsError {
    /// A column has another number of entries than `times`.
    #[error("column {column} has {found} entries, {expected} were expected")]
    Ragged {
        /// The column's name.
        column: &'static str,
        /// Entries found.
        found: usize,
        /// Entries of `times`.
        expected: usize,
    },
    /// A length below −1, or below 0 where null is not allowed.
    #[error("column {column} has a negative length {length} at event {index}")]
    Negative {
        /// The column's name.
        column: &'static str,
        /// The event's index.
        index: usize,
        /// The length found.
        length: i32,
    },
    /// The lengths do not add up to the data.
    #[error("the lengths add up to {sum} bytes, the data has {data}")]
    Sum {
        /// Sum of all lengths, counted in 64 bits.
        sum: u64,
        /// Bytes of `data`.
        data: usize,
    },
    /// The headers of an event do not parse.
    #[error("the headers of event {index} are broken: {what}")]
    Headers {
        /// The event's index.
        index: usize,
        /// What is wrong with them.
        what: &'static str,
    },
}

/// CRC32C of a block's body: the columns in the order of their fields, then the causes. Reads each byte once.
pub fn body_crc(columns: &Columns, causes: Option<&[u32]>) -> u32 {
    let parts: [&[u8]; 6] = [
        bytemuck::cast_slice(&columns.times),
        bytemuck::cast_slice(&columns.key_lens),
        bytemuck::cast_slice(&columns.header_lens),
        bytemuck::cast_slice(&columns.value_lens),
        &columns.data,
        causes.map_or(&[], bytemuck::cast_slice),
    ];
    parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part))
}

/// Bytes that a length stands for; null has none.
fn width(len: i32) -> usize {
    len.max(0).unsigned_abs() as usize
}

impl Columns {
    /// Number of events.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Bytes that these events take on disk and in a guest, without their block's header.
    pub fn byte_len(&self) -> usize {
        self.times.len() * Self::BYTES_PER_EVENT + self.data.len()
    }

    /// Bytes of the length and time columns for each event.
    pub const BYTES_PER_EVENT: usize = 8 + 4 + 4 + 4;

    /// Empties the columns and keeps their memory.
    pub fn clear(&mut self) {
        self.times.clear();
        self.key_lens.clear();
        self.header_lens.clear();
        self.value_lens.clear();
        self.data.clear();
    }

    /// Appends one event.
    pub fn push(&mut self, event: Event<'_>) {
        let len = |bytes: &[u8]| i32::try_from(bytes.len()).expect("an event is bounded far below 2 GiB");
        self.times.push(event.time);
        self.key_lens.push(event.key.map_or(-1, len));
        self.header_lens
            .push(u32::try_from(event.headers.len()).expect("an event is bounded far below 2 GiB"));
        self.value_lens.push(event.value.map_or(-1, len));
        self.data.extend_from_slice(event.key.unwrap_or_default());
        self.data.extend_from_slice(event.headers);
        self.data.extend_from_slice(event.value.unwrap_or_default());
    }

    /// Appends the events `events` of `other`, whose bytes are `data` of its data.
    pub fn extend_from(&mut self, other: &Columns, events: Range<usize>, data: Range<usize>) {
        self.times.extend_from_slice(&other.times[events.clone()]);
        self.key_lens.extend_from_slice(&other.key_lens[events.clone()]);
        self.header_lens.extend_from_slice(&other.header_lens[events.clone()]);
        self.value_lens.extend_from_slice(&other.value_lens[events]);
        self.data.extend_from_slice(&other.data[data]);
    }

    /// Bytes of data of event `index`: key, headers and value. The columns must be checked.
    pub fn data_len(&self, index: usize) -> usize {
        width(self.key_lens[index]) + self.header_lens[index] as usize + width(self.value_lens[index])
    }

    /// Bytes of data of `events`, which must exist. The columns must be checked.
    pub fn data_lens(&self, events: Range<usize>) -> usize {
        // One column after the other: so the processor adds many at a time.
        let nullable = |lens: &[i32]| lens.iter().map(|&len| width(len)).sum::<usize>();
        let headers: usize = self.header_lens[events.clone()].iter().map(|&len| len as usize).sum();
        nullable(&self.key_lens[events.clone()]) + headers + nullable(&self.value_lens[events])
    }

    /// The events in order. The columns must be checked, or made by [`Columns::push`].
    pub fn iter(&self) -> Events<'_> {
        Events { columns: self, index: 0, data: &self.data }
    }

    /// Checks that the columns agree with each other and with the data, headers included. Sums are
    /// counted in 64 bits, for the lengths may come from a guest, a client or a broken disk.
    pub fn check(&self) -> Result<(), ColumnsError> {
        let expected = self.times.len();
        for (column, found) in [
            ("key-lens", self.key_lens.len()),
            ("header-lens", self.header_lens.len()),
            ("value-lens", self.value_lens.len()),
        ] {
            if found != expected {
                return Err(ColumnsError::Ragged { column, found, expected });
            }
        }
        let sum = sum_nullable("key-lens", &self.key_lens)?
            + sum_nullable("value-lens", &self.value_lens)?
            + self.header_lens.iter().map(|&len| u64::from(len)).sum::<u64>();
        if sum != self.data.len() as u64 {
            return Err(ColumnsError::Sum { sum, data: self.data.len() });
        }
        if self.header_lens.iter().any(|&len| len != 0) {
            self.check_headers()?;
        }
        Ok(())
    }

    fn check_headers(&self) -> Result<(), ColumnsError> {
        for (index, event) in self.iter().enumerate() {
            header::check(event.headers).map_err(|what| ColumnsError::Headers { index, what })?;
        }
        Ok(())
    }
}

impl<'a> IntoIterator for &'a Columns {
    type Item = Event<'a>;
    type IntoIter = Events<'a>;

    fn into_iter(self) -> Events<'a> {
        self.iter()
    }
}

/// Sum of a column in which −1 is null.
fn sum_nullable(column: &'static str, lens: &[i32]) -> Result<u64, ColumnsError> {
    let mut sum = 0;
    let mut lowest = 0;
    for &len in lens {
        lowest = lowest.min(len);
        sum += u64::from(len.max(0).unsigned_abs());
    }
    if lowest < -1 {
        let index = lens.iter().position(|&len| len < -1).unwrap_or_default();
        return Err(ColumnsError::Negative { column, index, length: lens[index] });
    }
    Ok(sum)
}

/// The events of some columns, in order.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    columns: &'a Columns,
    index: usize,
    data: &'a [u8],
}

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let at = self.index;
        let time = *self.columns.times.get(at)?;
        let (key_len, value_len) = (self.columns.key_lens[at], self.columns.value_lens[at]);
        let (key, rest) = self.data.split_at(width(key_len));
        let (headers, rest) = rest.split_at(self.columns.header_lens[at] as usize);
        let (value, rest) = rest.split_at(width(value_len));
        self.index += 1;
        self.data = rest;
        Some(Event {
            time,
            key: (key_len >= 0).then_some(key),
            headers,
            value: (value_len >= 0).then_some(value),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.columns.len() - self.index;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Events<'_> {}

/// Headers of one event: `u16` name length, name (UTF-8), `i32` value length (−1 is null), value; repeated.
pub mod header {
    /// Appends one header. Fails without writing if the name or the value is too long for its length field.
    pub fn push(into: &mut Vec<u8>, name: &str, value: Option<&[u8]>) -> Result<(), &'static str> {
        let name_len = u16::try_from(name.len()).map_err(|_| "a header name is longer than 65,535 bytes")?;
        let value_len = match value {
            Some(value) => i32::try_from(value.len()).map_err(|_| "a header value is longer than 2 GiB")?,
            None => -1,
        };
        into.extend_from_slice(&name_len.to_le_bytes());
        into.extend_from_slice(name.as_bytes());
        into.extend_from_slice(&value_len.to_le_bytes());
        into.extend_from_slice(value.unwrap_or_default());
        Ok(())
    }

    /// Checks that `headers` parse to their end.
    pub fn check(mut headers: &[u8]) -> Result<(), &'static str> {
        while !headers.is_empty() {
            headers = split(headers)?.2;
        }
        Ok(())
    }

    /// The headers in order, as far as they parse.
    pub fn iter(mut headers: &[u8]) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        std::iter::from_fn(move || {
            let (name, value, rest) = split(headers).ok()?;
            headers = rest;
            Some((name, value))
        })
    }

    type Split<'a> = (&'a str, Option<&'a [u8]>, &'a [u8]);

    fn split(bytes: &[u8]) -> Result<Split<'_>, &'static str> {
        let (len, rest) = bytes.split_first_chunk().ok_or("a name length is cut off")?;
        let (name, rest) =
            rest.split_at_checked(u16::from_le_bytes(*len).into()).ok_or("a name is cut off")?;
        let name = std::str::from_utf8(name).map_err(|_| "a name is not UTF-8")?;
        let (len, rest) = rest.split_first_chunk().ok_or("a value length is cut off")?;
        match i32::from_le_bytes(*len) {
            -1 => Ok((name, None, rest)),
            len => {
                let len = usize::try_from(len).map_err(|_| "a value length is negative")?;
                let (value, rest) = rest.split_at_checked(len).ok_or("a value is cut off")?;
                Ok((name, Some(value), rest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (i64, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>, Option<Vec<u8>>);

    fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))
    }

    fn events() -> impl Strategy<Value = Vec<Owned>> {
        let headers = proptest::collection::vec((".{0,9}", bytes()), 0..3);
        proptest::collection::vec((any::<i64>(), bytes(), headers, bytes()), 0..20)
    }

    fn columns_of(events: &[Owned]) -> Columns {
        let mut columns = Columns::default();
        for (time, key, headers, value) in events {
            let mut raw = Vec::new();
            for (name, value) in headers {
                header::push(&mut raw, name, value.as_deref()).unwrap();
            }
            columns.push(Event { time: *time, key: key.as_deref(), headers: &raw, value: value.as_deref() });
        }
        columns
    }

    proptest! {
        #[test]
        fn events_come_back_as_they_were_pushed(events in events()) {
            let columns = columns_of(&events);
            prop_assert_eq!(columns.check(), Ok(()));
            let back: Vec<Owned> = columns.iter().map(|event| {
                let headers =
                    header::iter(event.headers).map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
                (event.time, event.key.map(<[u8]>::to_vec), headers.collect(), event.value.map(<[u8]>::to_vec))
            }).collect();
            prop_assert_eq!(back, events);
        }

        #[test]
        fn cutting_anywhere_and_joining_gives_the_same_columns(events in events(), cut in any::<prop::sample::Index>()) {
            let columns = columns_of(&events);
            let at = cut.index(events.len() + 1);
            let data_at = (0..at).map(|index| columns.data_len(index)).sum();
            let mut joined = Columns::default();
            joined.extend_from(&columns, 0..at, 0..data_at);
            joined.extend_from(&columns, at..columns.len(), data_at..columns.data.len());
            prop_assert_eq!(joined, columns);
        }

        #[test]
        fn check_never_panics_on_columns_that_lie(
            times in proptest::collection::vec(any::<i64>(), 0..4),
            key_lens in proptest::collection::vec(-3..9_i32, 0..4),
            header_lens in proptest::collection::vec(0..9_u32, 0..4),
            value_lens in proptest::collection::vec(any::<i32>(), 0..4),
            data in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let columns = Columns { times, key_lens, header_lens, value_lens, data };
            if columns.check().is_ok() {
                prop_assert_eq!(columns.iter().count(), columns.len());
            }
        }
    }

    #[test]
    fn null_is_not_empty() {
        let mut columns = Columns::default();
        columns.push(Event { time: 0, key: None, headers: &[], value: Some(b"") });
        columns.push(Event { time: 0, key: Some(b""), headers: &[], value: None });
        let seen: Vec<_> = columns.iter().map(|event| (event.key, event.value)).collect();
        assert_eq!(seen, [(None, Some(&b""[..])), (Some(&b""[..]), None)]);
    }

    #[test]
    fn lengths_that_overflow_32_bits_are_summed_in_64() {
        let columns = Columns {
            times: vec![0; 3],
            key_lens: vec![i32::MAX; 3],
            header_lens: vec![u32::MAX; 3],
            value_lens: vec![2; 3],
            data: vec![],
        };
        let sum = 3 * (u64::from(i32::MAX.unsigned_abs()) + u64::from(u32::MAX) + 2);
        assert_eq!(columns.check(), Err(ColumnsError::Sum { sum, data: 0 }));
    }
}
