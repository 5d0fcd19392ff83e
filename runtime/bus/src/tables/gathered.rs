//! Rows of a long replay, side by side as they came, sorted before they go to the overlay: put there one by one, in
//! the order in which they were written, each would wait for memory several times. Knows no frame.

use std::collections::HashMap;
use std::thread::Builder;

use parking_lot::Mutex;

use super::key::Owner;
use super::overlay::Overlay;
use crate::limits::REPLAY_THREADS_MAX;

/// Fewer bytes are merged before another thread has begun.
const MANY_BYTES: usize = 1 << 20;

/// Rows that are still to be merged into an overlay.
#[derive(Default)]
pub(crate) struct Gathered {
    /// Keys and values, a row's value behind its key.
    bytes: Vec<u8>,
    owners: Vec<(Owner, Vec<Row>)>,
    places: HashMap<Owner, usize>,
    /// The place in `owners` of the last row: rows of an owner come together.
    last: usize,
    count: usize,
}

/// A row, in the order of its coming.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// The first bytes of the key after those that all keys of the owner share: most comparisons end with them.
    head: u64,
    at: usize,
    key_len: u32,
    /// `None` deletes.
    value_len: Option<u32>,
}

impl Gathered {
    /// Takes a row; it is newer than those before it.
    pub(crate) fn push(&mut self, owner: Owner, rest: &[u8], value: Option<&[u8]>) {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("rows are bounded far below 4 GiB");
        let (at, key_len, value_len) = (self.bytes.len(), len(rest), value.map(len));
        self.bytes.extend_from_slice(rest);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.count += 1;
        self.rows(owner).push(Row { head: 0, at, key_len, value_len });
    }

    fn rows(&mut self, owner: Owner) -> &mut Vec<Row> {
        if self.owners.get(self.last).is_none_or(|(last, _)| *last != owner) {
            self.last = *self.places.entry(owner).or_insert_with(|| {
                self.owners.push((owner, Vec::new()));
                self.owners.len() - 1
            });
        }
        &mut self.owners[self.last].1
    }

    /// Bytes of memory.
    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len() + self.count * size_of::<Row>()
    }

    /// Puts all rows into `overlay`, those of an owner on one of several threads, if there are many. Keeps its memory.
    pub(crate) fn merge_into(&mut self, overlay: &Overlay) {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let helpers = match self.byte_len() {
            MANY_BYTES.. => threads.min(REPLAY_THREADS_MAX).min(self.owners.len()).saturating_sub(1),
            _ => 0,
        };
        let (bytes, mut owners) = (&self.bytes, std::mem::take(&mut self.owners));
        owners.sort_unstable_by_key(|(_, rows)| rows.len());
        let left = Mutex::new(owners);
        // The longest first, so that all end together.
        let next = || left.lock().pop();
        let work = || std::iter::from_fn(next).for_each(|(owner, rows)| merge(owner, rows, bytes, overlay));
        std::thread::scope(|scope| {
            for _ in 0..helpers {
                // A thread that cannot be started is not missed: the others take its work.
                let _ = Builder::new().name("tidemill-replay".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        self.bytes.clear();
        self.places.clear();
        self.count = 0;
    }
}

/// Puts the rows of `owner` into `overlay`.
fn merge(owner: Owner, mut rows: Vec<Row>, bytes: &[u8], overlay: &Overlay) {
    sort(&mut rows, bytes);
    rows.dedup_by(|newer, kept| {
        let same = newer.head == kept.head && newer.key(bytes) == kept.key(bytes);
        if same {
            *kept = *newer;
        }
        same
    });
    let newest = rows.iter().map(|row| (row.key(bytes), row.value(bytes)));
    overlay.put_sorted(owner, newest);
}

impl Row {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.at..self.at + self.key_len as usize]
    }

    fn value<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let start = self.at + self.key_len as usize;
        self.value_len.map(|len| &bytes[start..start + len as usize])
    }
}

/// Sorts by key; rows of one key stay in the order of their coming.
fn sort(rows: &mut [Row], bytes: &[u8]) {
    let Some((first, others)) = rows.split_first() else { return };
    let first = first.key(bytes);
    let shared = others.iter().fold(first.len(), |shared, row| {
        let same = first[..shared].iter().zip(row.key(bytes)).take_while(|(one, other)| one == other);
        same.count()
    });
    for row in &mut *rows {
        let rest = &row.key(bytes)[shared..];
        let mut head = [0; 8];
        let len = rest.len().min(head.len());
        head[..len].copy_from_slice(&rest[..len]);
        row.head = u64::from_be_bytes(head);
    }
    rows.sort_by(|one, other| {
        let heads = one.head.cmp(&other.head);
        heads.then_with(|| one.key(bytes).cmp(other.key(bytes)))
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::TableId;
    use super::super::tree::Entry;
    use super::*;
    use crate::{DriverKey, HandlerId, Lane, Partition};

    fn entries(overlay: &Overlay) -> Vec<Entry> {
        let mut entries = Vec::new();
        overlay.drain_into(&mut |rows| entries = rows.collect());
        entries
    }

    fn owner(handler: u64) -> Owner {
        let driver = DriverKey { handler: HandlerId(handler), partition: Partition(0), lane: Lane(0) };
        Owner { table: TableId::State, driver }
    }

    proptest! {
        #[test]
        fn rows_gathered_in_any_parts_are_what_they_are_put_one_by_one(
            // Few bytes and shared beginnings, so that keys meet and heads are alike.
            rows in proptest::collection::vec(
                (1..3_u64, "(shared)?[ab\0]{0,10}", proptest::option::of("[x-z]{0,3}")), 0..120),
            parts in proptest::collection::vec(0..120_usize, 0..4),
        ) {
            let (put, merged) = (Overlay::default(), Overlay::default());
            let mut gathered = Gathered::default();
            for (index, (handler, key, value)) in rows.iter().enumerate() {
                let value = value.as_ref().map(String::as_bytes);
                put.put(owner(*handler), key.as_bytes(), value);
                gathered.push(owner(*handler), key.as_bytes(), value);
                if parts.contains(&index) {
                    gathered.merge_into(&merged);
                    prop_assert_eq!(gathered.byte_len(), 0);
                }
            }
            gathered.merge_into(&merged);
            prop_assert_eq!(entries(&merged), entries(&put));
            prop_assert_eq!(merged.byte_len(), put.byte_len());
        }
    }

    #[test]
    fn many_rows_of_many_owners_are_merged_by_several_threads() {
        let (put, merged) = (Overlay::default(), Overlay::default());
        let mut gathered = Gathered::default();
        for row in 0..16_000_u64 {
            let key = (row % 12_000).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string();
            let value = vec![0; usize::try_from(row % 150).unwrap()];
            put.put(owner(row % 7), key.as_bytes(), Some(&value));
            gathered.push(owner(row % 7), key.as_bytes(), Some(&value));
        }
        assert!(gathered.byte_len() > MANY_BYTES);
        gathered.merge_into(&merged);
        assert!(entries(&merged) == entries(&put) && merged.byte_len() == put.byte_len());
    }
}
