//! Deltas as they stand in a frame: physical puts and deletes, grouped by table, in columns.
//!
//! The section's owner, which the frame tells, completes the keys of driver tables; the rows of all other
//! tables belong to the store. A section is groups, each `u8` table, `u32` count, `u32` key lengths, `i32` value
//! lengths (−1 deletes), then per row key and value; little-endian. Knows no meaning of a row.

use thiserror::Error;

use super::key::{Owner, TableId};
use crate::DriverKey;
use crate::bytes::Reader;
use crate::transaction::StateWrites;

/// A section of deltas that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a section of deltas cannot be understood at byte {at}")]
pub(crate) struct DeltaError {
    pub(crate) at: usize,
}

/// Builds and reads sections of deltas.
pub(crate) struct Deltas;

impl Deltas {
    /// Appends one row.
    pub(crate) fn push(into: &mut Vec<u8>, table: TableId, rest: &[u8], value: Option<&[u8]>) {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("rows are bounded far below 2 GiB");
        into.push(table as u8);
        into.extend_from_slice(&1_u32.to_le_bytes());
        into.extend_from_slice(&len(rest).to_le_bytes());
        into.extend_from_slice(&value.map_or(u32::MAX, len).to_le_bytes());
        into.extend_from_slice(rest);
        into.extend_from_slice(value.unwrap_or_default());
    }

    /// Appends a driver's writes: their columns, as they are.
    pub(crate) fn push_state(into: &mut Vec<u8>, writes: &StateWrites) {
        if writes.is_empty() {
            return;
        }
        let count = u32::try_from(writes.len()).expect("a transaction is bounded far below 4 GiB");
        into.push(TableId::State as u8);
        into.extend_from_slice(&count.to_le_bytes());
        into.extend_from_slice(bytemuck::cast_slice(&writes.key_lens));
        into.extend_from_slice(bytemuck::cast_slice(&writes.value_lens));
        into.extend_from_slice(&writes.data);
    }

    /// Whether a section of `driver` can be read.
    pub(crate) fn is_sound(driver: DriverKey, section: &[u8]) -> bool {
        Self::read(driver, section, |_, _, _| ()).is_ok()
    }

    /// Whether the section lifts the stop of its driver: then the row that stopped it is deleted first.
    pub(crate) fn lifts_stop(section: &[u8]) -> bool {
        section.first() == Some(&(TableId::Broken as u8))
    }

    /// Hands every row of a section of `driver` to `row`: owner, own part of the key, value (`None` deletes).
    /// Rows before a broken one have been handed on when the error comes.
    pub(crate) fn read(
        driver: DriverKey,
        section: &[u8],
        mut row: impl FnMut(Owner, &[u8], Option<&[u8]>),
    ) -> Result<(), DeltaError> {
        let mut reader = Reader::new(section);
        while !reader.is_empty() {
            let at = section.len() - reader.rest().len();
            read_group(driver, &mut reader, &mut row).ok_or(DeltaError { at })?;
        }
        Ok(())
    }
}

fn read_group(
    driver: DriverKey,
    reader: &mut Reader<'_>,
    row: &mut impl FnMut(Owner, &[u8], Option<&[u8]>),
) -> Option<()> {
    let table = TableId::from_byte(reader.u8()?)?;
    let owner = Owner { table, driver: if table.is_drivers() { driver } else { DriverKey::NONE } };
    let count = usize::try_from(reader.u32()?).ok()?;
    let (keys, _) = reader.take(count.checked_mul(4)?)?.as_chunks::<4>();
    let (values, _) = reader.take(count.checked_mul(4)?)?.as_chunks::<4>();
    for (key, value) in keys.iter().zip(values) {
        let rest = reader.take(usize::try_from(u32::from_le_bytes(*key)).ok()?)?;
        let value_len = i32::from_le_bytes(*value);
        let value = match usize::try_from(value_len) {
            Ok(len) => Some(reader.take(len)?),
            Err(_) if value_len == -1 => None,
            Err(_) => return None,
        };
        row(owner, rest, value);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{HandlerId, Lane, Partition};

    const DRIVER: DriverKey = DriverKey { handler: HandlerId(7), partition: Partition(1), lane: Lane(0) };

    type Rows = Vec<(Owner, Vec<u8>, Option<Vec<u8>>)>;

    fn read(section: &[u8]) -> Result<Rows, DeltaError> {
        let mut rows = Vec::new();
        Deltas::read(DRIVER, section, |owner, rest, value| {
            rows.push((owner, rest.to_vec(), value.map(<[u8]>::to_vec)));
        })?;
        Ok(rows)
    }

    proptest! {
        #[test]
        fn deltas_come_back_in_order(
            state in proptest::collection::vec(any::<(Vec<u8>, Option<Vec<u8>>)>(), 0..5),
            topic in any::<(Vec<u8>, Option<Vec<u8>>)>(),
        ) {
            let mut writes = StateWrites::default();
            for (key, value) in &state {
                writes.push(key, value.as_deref());
            }
            let mut section = Vec::new();
            Deltas::push(&mut section, TableId::Topics, &topic.0, topic.1.as_deref());
            Deltas::push_state(&mut section, &writes);
            let mut rows = vec![(Owner::store(TableId::Topics), topic.0, topic.1)];
            let owner = Owner { table: TableId::State, driver: DRIVER };
            rows.extend(state.into_iter().map(|(key, value)| (owner, key, value)));
            prop_assert_eq!(read(&section), Ok(rows));
        }

        #[test]
        fn reading_never_panics(section in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&section);
        }

        #[test]
        fn a_cut_section_is_an_error(value in proptest::collection::vec(any::<u8>(), 1..9), cut in 1..9_usize) {
            let mut section = Vec::new();
            Deltas::push(&mut section, TableId::State, b"key", Some(&value));
            section.truncate(section.len() - cut.min(value.len()));
            prop_assert_eq!(read(&section), Err(DeltaError { at: 0 }));
        }
    }
}
