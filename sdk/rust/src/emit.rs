//! The columns of what a batch emitted. A column stays away as long as every event has its default; it is filled
//! in for the events before when the first one differs. Knows events and columns, nothing of handlers.

use crate::Failure;
use crate::bindings::{Batch, Output};
use crate::event::{Event, events};
use crate::limits::{HEADER_NAME_BYTES, TOPICS};
use crate::value::EventValue;

/// What an emitted event has besides its value.
#[derive(Clone, Copy, Default)]
pub(crate) struct Attributes<'a> {
    /// The name of its topic; `None` is the handler's first output.
    pub(crate) topic: Option<&'a str>,
    /// Its time; `None` is that of its cause.
    pub(crate) time: Option<i64>,
    /// Its key.
    pub(crate) key: Key<'a>,
}

/// The key of an emitted event.
#[derive(Clone, Copy, Default)]
pub(crate) enum Key<'a> {
    #[default]
    OfCause,
    Own(Option<&'a [u8]>),
}

/// The columns while they grow. `None` is a column in which every event has its default.
#[derive(Default)]
pub(crate) struct Emitter {
    /// The first is the empty name as soon as there is one: the handler's first output.
    topics: Vec<String>,
    topic_of: Option<Vec<u16>>,
    cause_of: Vec<u32>,
    times: Option<Vec<i64>>,
    key_lens: Option<Vec<i32>>,
    header_lens: Option<Vec<u32>>,
    value_lens: Vec<i32>,
    data: Vec<u8>,
    /// Headers of the event that is being composed, encoded.
    pub(crate) headers: Vec<u8>,
}

/// A point to go back to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mark {
    events: usize,
    data: usize,
    topics: usize,
    keys: KeyColumn,
}

/// What the last batch came to: room to set aside for the next.
#[derive(Clone, Copy, Default)]
pub(crate) struct Expected {
    events: usize,
    data: usize,
    keys: KeyColumn,
}

/// Whether keys were written out: then they are from the start, which spares writing the batch anew.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum KeyColumn {
    #[default]
    Away,
    There,
}

impl Emitter {
    pub(crate) fn new(expected: Expected) -> Self {
        let key_lens = match expected.keys {
            KeyColumn::Away => None,
            KeyColumn::There => Some(Vec::with_capacity(expected.events)),
        };
        Self {
            cause_of: Vec::with_capacity(expected.events),
            value_lens: Vec::with_capacity(expected.events),
            data: Vec::with_capacity(expected.data),
            key_lens,
            ..Self::default()
        }
    }

    /// Emits an event with all defaults for `cause`.
    pub(crate) fn emit(&mut self, cause: &Event<'_>, value: &impl EventValue) -> Result<(), Failure> {
        let mark = self.mark();
        self.begin(cause);
        if let Some(lens) = &mut self.header_lens {
            lens.push(0);
        }
        self.value(value).inspect_err(|_| self.roll_back(mark))
    }

    /// Emits `cause` itself: its headers and its value lie side by side in the batch.
    pub(crate) fn forward(&mut self, cause: &Event<'_>) {
        let (headers, value, bytes) = cause.body();
        self.begin(cause);
        if headers > 0 && self.header_lens.is_none() {
            self.header_lens = Some(vec![0; self.value_lens.len()]);
        }
        if let Some(lens) = &mut self.header_lens {
            lens.push(headers);
        }
        self.data.extend_from_slice(bytes);
        self.value_lens.push(value);
    }

    /// Emits an event with the composed headers and these attributes.
    pub(crate) fn emit_with(
        &mut self,
        (cause, batch): (&Event<'_>, &Batch),
        attributes: Attributes<'_>,
        value: &impl EventValue,
    ) -> Result<(), Failure> {
        self.make_room(attributes, batch);
        let mark = self.mark();
        self.attributes(cause, attributes)
            .and_then(|()| self.value(value))
            .inspect_err(|_| self.roll_back(mark))
    }

    /// Adds a header to the event that is being composed.
    pub(crate) fn header(&mut self, name: &str, value: Option<&[u8]>) -> Result<(), Failure> {
        let name_len = u16::try_from(name.len()).map_err(|_| {
            Failure::reject(format!("a header's name has more than {HEADER_NAME_BYTES} bytes"))
        })?;
        let value_len = entry(value)?;
        self.headers.extend_from_slice(&name_len.to_le_bytes());
        self.headers.extend_from_slice(name.as_bytes());
        self.headers.extend_from_slice(&value_len.to_le_bytes());
        self.headers.extend_from_slice(value.unwrap_or_default());
        Ok(())
    }

    pub(crate) fn mark(&self) -> Mark {
        let (events, data, topics) = (self.cause_of.len(), self.data.len(), self.topics.len());
        Mark { events, data, topics, keys: self.keys() }
    }

    /// Takes back all that was emitted since `mark`.
    pub(crate) fn roll_back(&mut self, mark: Mark) {
        // A column that has come stays, and with it the name of the first output.
        self.topics.truncate(mark.topics.max(usize::from(self.topic_of.is_some())));
        self.cause_of.truncate(mark.events);
        self.value_lens.truncate(mark.events);
        truncate(&mut self.topic_of, mark.events);
        truncate(&mut self.times, mark.events);
        truncate(&mut self.header_lens, mark.events);
        truncate(&mut self.key_lens, mark.events);
        // When keys were written out since, its data ends elsewhere; that happens once in a batch.
        let end = if self.keys() == mark.keys { mark.data } else { self.end() };
        self.data.truncate(end);
    }

    /// The columns, and what to expect of the next batch.
    pub(crate) fn finish(self) -> (Output, Expected) {
        let expected = Expected { events: self.cause_of.len(), data: self.data.len(), keys: self.keys() };
        let output = Output {
            settled: 0,
            rejected: Vec::new(),
            stopped: None,
            topics: self.topics,
            topic_of: self.topic_of.unwrap_or_default(),
            cause_of: self.cause_of,
            times: self.times.unwrap_or_default(),
            key_lens: self.key_lens.unwrap_or_default(),
            header_lens: self.header_lens.unwrap_or_default(),
            value_lens: self.value_lens,
            data: self.data,
            state_key_lens: Vec::new(),
            state_value_lens: Vec::new(),
            state_data: Vec::new(),
        };
        (output, expected)
    }

    fn keys(&self) -> KeyColumn {
        if self.key_lens.is_some() { KeyColumn::There } else { KeyColumn::Away }
    }

    /// Begins a row: its cause, and the defaults of all columns that are there but headers and value.
    fn begin(&mut self, cause: &Event<'_>) {
        self.cause_of.push(index(cause));
        if let Some(column) = &mut self.topic_of {
            column.push(0);
        }
        if let Some(column) = &mut self.times {
            column.push(cause.time());
        }
        if let Some(column) = &mut self.key_lens {
            let key = cause.key();
            column.push(key.map_or(-1, |key| i32::try_from(key.len()).unwrap_or(i32::MAX)));
            self.data.extend_from_slice(key.unwrap_or_default());
        }
    }

    /// Writes a row up to its value.
    fn attributes(&mut self, cause: &Event<'_>, attributes: Attributes<'_>) -> Result<(), Failure> {
        self.cause_of.push(index(cause));
        if let Some(column) = &mut self.topic_of {
            column.push(topic_index(&mut self.topics, attributes.topic)?);
        }
        if let Some(column) = &mut self.times {
            column.push(attributes.time.unwrap_or_else(|| cause.time()));
        }
        if let Some(column) = &mut self.key_lens {
            let key = match attributes.key {
                Key::OfCause => cause.key(),
                Key::Own(key) => key,
            };
            column.push(entry(key)?);
            self.data.extend_from_slice(key.unwrap_or_default());
        }
        if let Some(column) = &mut self.header_lens {
            let len = u32::try_from(self.headers.len()).map_err(|_| too_long())?;
            column.push(len);
            self.data.extend_from_slice(&self.headers);
        }
        Ok(())
    }

    fn value(&mut self, value: &impl EventValue) -> Result<(), Failure> {
        if value.is_null() {
            self.value_lens.push(-1);
            return Ok(());
        }
        let start = self.data.len();
        value.write(&mut self.data)?;
        let len = i32::try_from(self.data.len() - start).map_err(|_| too_long())?;
        self.value_lens.push(len);
        Ok(())
    }

    /// Fills in the columns that stayed away so far and are needed for these attributes.
    fn make_room(&mut self, attributes: Attributes<'_>, batch: &Batch) {
        let events = self.cause_of.len();
        if attributes.topic.is_some() && self.topic_of.is_none() {
            self.topic_of = Some(vec![0; events]);
            self.topics.push(String::new());
        }
        if attributes.time.is_some() && self.times.is_none() {
            self.times = Some(self.cause_of.iter().map(|&cause| batch.times[cause as usize]).collect());
        }
        if matches!(attributes.key, Key::Own(_)) && self.key_lens.is_none() {
            self.write_out_keys(batch);
        }
        if !self.headers.is_empty() && self.header_lens.is_none() {
            self.header_lens = Some(vec![0; events]);
        }
    }

    /// Writes the data anew with the key of its cause before each event.
    fn write_out_keys(&mut self, batch: &Batch) {
        let mut data = Vec::with_capacity(self.data.capacity() + batch.data.len());
        let mut lens = Vec::with_capacity(self.cause_of.capacity());
        let mut causes = events(batch, 0, 0);
        let mut cause = causes.next();
        let mut start = 0;
        for (row, &index) in self.cause_of.iter().enumerate() {
            while cause.as_ref().is_some_and(|cause| cause.index() < index as usize) {
                cause = causes.next();
            }
            let key = cause.as_ref().and_then(Event::key);
            lens.push(key.map_or(-1, |key| i32::try_from(key.len()).unwrap_or(i32::MAX)));
            data.extend_from_slice(key.unwrap_or_default());
            let end = start + self.body_len(row);
            data.extend_from_slice(&self.data[start..end]);
            start = end;
        }
        self.data = data;
        self.key_lens = Some(lens);
    }

    /// Bytes of a row's headers and value.
    fn body_len(&self, row: usize) -> usize {
        let headers = self.header_lens.as_ref().map_or(0, |lens| lens[row] as usize);
        headers + usize::try_from(self.value_lens[row]).unwrap_or(0)
    }

    /// Bytes of all rows.
    fn end(&self) -> usize {
        let bodies: usize = (0..self.value_lens.len()).map(|row| self.body_len(row)).sum();
        let keys = self.key_lens.iter().flatten().map(|&len| usize::try_from(len).unwrap_or(0));
        bodies + keys.sum::<usize>()
    }
}

fn truncate<T>(column: &mut Option<Vec<T>>, rows: usize) {
    if let Some(column) = column {
        column.truncate(rows);
    }
}

fn index(event: &Event<'_>) -> u32 {
    u32::try_from(event.index())
        .expect("a batch has fewer than 2^32 events: its columns would not fit in memory")
}

/// A column's entry for these bytes.
fn entry(bytes: Option<&[u8]>) -> Result<i32, Failure> {
    bytes.map_or(Ok(-1), |bytes| i32::try_from(bytes.len()).map_err(|_| too_long()))
}

fn too_long() -> Failure {
    Failure::reject("an emitted key, header or value has more than 2 GiB")
}

/// The index of the topic of this name, which is added if it is new.
fn topic_index(topics: &mut Vec<String>, name: Option<&str>) -> Result<u16, Failure> {
    let Some(name) = name else {
        return Ok(0);
    };
    let at = match topics.iter().position(|topic| topic == name) {
        Some(at) => at,
        None if topics.len() < TOPICS => {
            topics.push(name.to_owned());
            topics.len() - 1
        }
        None => TOPICS,
    };
    u16::try_from(at)
        .map_err(|_| Failure::reject(format!("emitted to more than {TOPICS} topics in one batch")))
}
