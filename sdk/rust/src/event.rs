//! An event as the handler sees it: a view of one row of the batch's columns. Copies nothing.

use crate::Failure;
use crate::bindings::Batch;
use crate::json::{Json, LazyJson};

/// One event, borrowed from the batch. Every getter is a look into a column.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    batch: &'a Batch,
    index: usize,
    /// Where in the batch's data its key, its headers and its value begin, and where it ends.
    key_at: usize,
    headers_at: usize,
    value_at: usize,
    end: usize,
}

impl<'a> Event<'a> {
    /// The event at `index`, whose bytes begin at `start`.
    pub(crate) fn at(batch: &'a Batch, index: usize, start: usize) -> Self {
        let headers_at = start + len(batch.key_lens[index]);
        let value_at = headers_at + batch.header_lens[index] as usize;
        let end = value_at + len(batch.value_lens[index]);
        Self { batch, index, key_at: start, headers_at, value_at, end }
    }

    /// Its key; `None` is a null key, which is not an empty one.
    pub fn key(&self) -> Option<&'a [u8]> {
        let present = self.batch.key_lens[self.index] >= 0;
        present.then(|| &self.batch.data[self.key_at..self.headers_at])
    }

    /// Its value; `None` is a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        let present = self.batch.value_lens[self.index] >= 0;
        present.then(|| &self.batch.data[self.value_at..self.end])
    }

    /// Its headers, in order.
    pub fn headers(&self) -> Headers<'a> {
        Headers { bytes: &self.batch.data[self.headers_at..self.value_at] }
    }

    /// The value of the last header of this name that has one.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().filter(|header| header.name == name).filter_map(|header| header.value).last()
    }

    /// Its value as UTF-8 text; rejects a tombstone and anything else.
    pub fn text(&self) -> Result<&'a str, Failure> {
        let value = self.value().ok_or_else(|| Failure::reject("the value is null"))?;
        std::str::from_utf8(value)
            .map_err(|cause| Failure::reject(format!("the value is not UTF-8: {cause}")))
    }

    /// Its value as JSON that is read only where it is looked at; rejects a tombstone and what is not UTF-8.
    pub fn json(&self) -> Result<LazyJson<'a>, Failure> {
        self.text().map(LazyJson::new)
    }

    /// Its value as a whole, read from JSON; rejects what does not fit.
    pub fn json_as<T: serde::Deserialize<'a>>(&self) -> Result<T, Failure> {
        Json::decode(self.text()?.as_bytes())
    }

    /// Its own time, in milliseconds since the Unix epoch: what windows use.
    pub fn time(&self) -> i64 {
        self.batch.times[self.index]
    }

    /// When it was appended, in milliseconds since the Unix epoch: a handler's clock.
    pub fn append_time(&self) -> i64 {
        let delta = self.batch.append_deltas.get(self.index).copied().unwrap_or(0);
        self.batch.append_time + i64::from(delta)
    }

    /// Its offset in its partition. Offsets rise, but not always by one.
    pub fn offset(&self) -> u64 {
        let delta = self.batch.offset_deltas.get(self.index);
        self.batch.base_offset + delta.map_or(self.index as u64, |&delta| u64::from(delta))
    }

    /// The partition that it is from.
    pub fn partition(&self) -> u32 {
        self.batch.partition
    }

    /// The topic that it is from.
    pub fn topic(&self) -> &'a str {
        &self.batch.topic
    }

    /// The attempt that this is at it, from 1.
    pub fn attempt(&self) -> u32 {
        if self.index == 0 { self.batch.attempt } else { 1 }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Where its bytes begin.
    pub(crate) fn start(&self) -> usize {
        self.key_at
    }

    /// The columns' entries for headers and value, and the bytes of both.
    pub(crate) fn body(&self) -> (u32, i32, &'a [u8]) {
        let (headers, value) = (self.batch.header_lens[self.index], self.batch.value_lens[self.index]);
        (headers, value, &self.batch.data[self.headers_at..self.end])
    }
}

/// The events of `batch` from `index` on, whose bytes begin at `start`.
pub(crate) fn events(batch: &Batch, index: usize, start: usize) -> impl Iterator<Item = Event<'_>> {
    let mut start = start;
    (index..batch.times.len()).map(move |index| {
        let event = Event::at(batch, index, start);
        start = event.end;
        event
    })
}

/// Bytes of a column's entry; null has none.
fn len(entry: i32) -> usize {
    usize::try_from(entry).unwrap_or(0)
}

/// A header of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value; null is not empty.
    pub value: Option<&'a [u8]>,
}

/// The headers of an event, in order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Those that were not iterated over yet, as they stand in the columns.
    pub(crate) fn into_bytes(self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let (name_len, rest) = self.bytes.split_first_chunk::<2>()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*name_len)))?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let value_len = i32::from_le_bytes(*value_len);
        let (value, rest) = rest.split_at_checked(len(value_len))?;
        self.bytes = rest;
        Some(Header { name: std::str::from_utf8(name).ok()?, value: (value_len >= 0).then_some(value) })
    }
}
