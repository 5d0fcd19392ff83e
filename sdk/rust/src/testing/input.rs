//! Events made by hand, and the columns that a host would make of them.

use crate::bindings::Batch;

/// An event to feed to a handler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    pub(super) key: Option<Vec<u8>>,
    pub(super) headers: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) time: i64,
    pub(super) append_time: Option<i64>,
    pub(super) skipped: u32,
}

impl Input {
    /// An event with this value, a null key, no headers, and time 0.
    pub fn new(value: impl AsRef<[u8]>) -> Self {
        Self { value: Some(value.as_ref().to_owned()), ..Self::default() }
    }

    /// An event whose value is null.
    pub fn tombstone() -> Self {
        Self::default()
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_owned());
        self
    }

    /// With this time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn time(mut self, time: i64) -> Self {
        self.time = time;
        self
    }

    /// With this append time, in milliseconds since the Unix epoch; otherwise its time. An append time before
    /// that of the event before it counts as that one's.
    #[must_use]
    pub fn append_time(mut self, time: i64) -> Self {
        self.append_time = Some(time);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let (name_len, value) = (u16::try_from(name.len()).expect("a short name"), value.as_ref());
        self.headers.extend_from_slice(&name_len.to_le_bytes());
        self.headers.extend_from_slice(name.as_bytes());
        self.headers.extend_from_slice(&i32::try_from(value.len()).expect("a short value").to_le_bytes());
        self.headers.extend_from_slice(value);
        self
    }

    /// After this many offsets that hold no event, as retention and transactions leave them.
    #[must_use]
    pub fn after_gap(mut self, offsets: u32) -> Self {
        self.skipped = offsets;
        self
    }
}

/// An event with its place.
#[derive(Clone)]
pub(super) struct Placed<'a> {
    pub(super) input: &'a Input,
    pub(super) offset: u64,
    pub(super) append_time: i64,
}

/// Gives each event an offset and an append time.
pub(super) fn place(inputs: &[Input], mut offset: u64) -> Vec<Placed<'_>> {
    let mut now = i64::MIN;
    let placed = inputs.iter().map(|input| {
        offset += u64::from(input.skipped);
        now = now.max(input.append_time.unwrap_or(input.time));
        let placed = Placed { input, offset, append_time: now };
        offset += 1;
        placed
    });
    placed.collect()
}

/// Cuts events into batches of at most `size`, and where append times or offsets are too far apart for one.
pub(super) fn batches<'p, 'i>(
    mut events: &'p [Placed<'i>],
    size: usize,
) -> impl Iterator<Item = &'p [Placed<'i>]> {
    std::iter::from_fn(move || {
        let first = events.first()?;
        let fits = |event: &&Placed<'_>| {
            let span = event.append_time.abs_diff(first.append_time).max(event.offset - first.offset);
            u32::try_from(span).is_ok()
        };
        let (batch, rest) = events.split_at(events.iter().take(size).take_while(fits).count());
        events = rest;
        Some(batch)
    })
}

/// The columns of these events, which are at least one.
pub(super) fn batch(events: &[Placed<'_>], (topic, partition, attempt): (&str, u32, u32)) -> Batch {
    let first = &events[0];
    let delta = |distance: u64| u32::try_from(distance).expect("the events of a batch are near each other");
    let mut offset_deltas: Vec<u32> = events.iter().map(|event| delta(event.offset - first.offset)).collect();
    if offset_deltas.iter().enumerate().all(|(index, &delta)| index == delta as usize) {
        offset_deltas.clear();
    }
    let since = |event: &Placed<'_>| delta(event.append_time.abs_diff(first.append_time));
    let mut append_deltas: Vec<u32> = events.iter().map(since).collect();
    if append_deltas.iter().all(|&delta| delta == 0) {
        append_deltas.clear();
    }
    let len = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().map_or(-1, |bytes| i32::try_from(bytes.len()).expect("a short event"))
    };
    let mut batch = Batch {
        topic: topic.to_owned(),
        partition,
        attempt,
        base_offset: first.offset,
        offset_deltas,
        append_time: first.append_time,
        append_deltas,
        times: events.iter().map(|event| event.input.time).collect(),
        key_lens: events.iter().map(|event| len(&event.input.key)).collect(),
        header_lens: events.iter().map(|event| delta(event.input.headers.len() as u64)).collect(),
        value_lens: events.iter().map(|event| len(&event.input.value)).collect(),
        data: Vec::new(),
    };
    for Placed { input, .. } in events {
        batch.data.extend(input.key.iter().flatten());
        batch.data.extend(&input.headers);
        batch.data.extend(input.value.iter().flatten());
    }
    batch
}
