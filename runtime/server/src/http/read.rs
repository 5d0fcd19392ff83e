//! Events of a topic's partitions as one stream of lines, merged by append time. Knows no connection.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::str::FromStr;
use std::sync::Arc;

use tidemill_bus::log::{ReadError, ReadLimit, Topic};
use tidemill_bus::{Batch, Columns, Event, Log, Offset, Partition, TopicPartition};

use super::render;
use crate::limits::{READ_CHUNK_BYTES, READER_BATCH_EVENTS_MAX, READER_BYTES_MAX};

/// Where a read starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum From {
    /// At the oldest event kept.
    #[default]
    Earliest,
    /// After the newest.
    Latest,
    /// At this offset of one partition.
    Offset(Offset),
    /// At the first event appended at or after this time, in milliseconds since the Unix epoch.
    Time(i64),
}

impl FromStr for From {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse()
                .map(|offset| Self::Offset(Offset(offset)))
                .map_err(|_| "the offset is too large"),
            time => time
                .parse::<jiff::Timestamp>()
                .map(|time| Self::Time(time.as_millisecond()))
                .map_err(|_| "from is earliest, latest, an offset, or a time like 2026-01-31T12:00:00Z"),
        }
    }
}

/// What a read is to bring.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The topic.
    pub(super) topic: Topic,
    /// One partition of it, or all.
    pub(super) partition: Option<Partition>,
    /// Where it starts.
    pub(super) from: From,
    /// Events at most.
    pub(super) limit: u64,
    /// Whether it ends at what is there now, or waits for more.
    pub(super) end: End,
}

/// Where a read ends, unless at its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At what is readable when it begins.
    Now,
    /// Never: it waits for more.
    Never,
}

/// A read under way.
pub(super) struct Reader {
    log: Arc<dyn Log>,
    cursors: Vec<Cursor>,
    left: u64,
    read_bytes: usize,
}

/// Where a reader is in one partition: in a batch that it has read, and after it.
struct Cursor {
    batch: Batch,
    index: usize,
    data_at: usize,
    next: Offset,
    until: Option<Offset>,
}

impl Reader {
    /// Starts a read. May wait for the disk.
    pub(super) fn start(log: &Arc<dyn Log>, request: &Request) -> Result<Self, ReadError> {
        let partitions = match request.partition {
            Some(partition) => vec![partition],
            None => (0..request.topic.partitions).map(Partition).collect(),
        };
        let place = |partition: Partition| {
            let source = request.topic.partition(partition);
            let range = log.range(source)?;
            let next = match request.from {
                From::Earliest => range.start,
                From::Latest => range.end,
                From::Offset(offset) => offset,
                From::Time(time_ms) => log.position_at(source, time_ms)?,
            };
            Ok((source, next))
        };
        let places = partitions.into_iter().map(place).collect::<Result<Vec<_>, ReadError>>()?;
        Self::at(log, &places, (request.limit, request.end))
    }

    /// Starts a read of partitions at offsets, of so many events at most and with that end. May wait for the
    /// disk.
    pub(super) fn at(
        log: &Arc<dyn Log>,
        places: &[(TopicPartition, Offset)],
        (limit, end): (u64, End),
    ) -> Result<Self, ReadError> {
        let cursor = |&(source, next): &(TopicPartition, Offset)| {
            let until = if end == End::Now { Some(log.range(source)?.end) } else { None };
            Ok(Cursor { batch: Batch::new(source), index: 0, data_at: 0, next, until })
        };
        let cursors = places.iter().map(cursor).collect::<Result<Vec<_>, ReadError>>()?;
        let read_bytes = READER_BYTES_MAX / cursors.len().max(1);
        Ok(Self { log: Arc::clone(log), cursors, left: limit, read_bytes })
    }

    /// The next lines, about [`READ_CHUNK_BYTES`] of them; fewer or none if no more is there now. May wait for
    /// the disk. The number of events comes with them.
    pub(super) fn lines(&mut self) -> Result<(Vec<u8>, u64), ReadError> {
        let mut lines = Vec::new();
        let left = self.left;
        let limit = ReadLimit { events: READER_BATCH_EVENTS_MAX, bytes: self.read_bytes };
        let mut heads = BinaryHeap::new();
        for (index, cursor) in self.cursors.iter_mut().enumerate() {
            if let Some(time) = cursor.head(&*self.log, limit)? {
                heads.push(Reverse((time, index)));
            }
        }
        while self.left > 0 && lines.len() < READ_CHUNK_BYTES {
            let Some(Reverse((_, index))) = heads.pop() else { break };
            let cursor = &mut self.cursors[index];
            cursor.take(&mut lines);
            self.left -= 1;
            if let Some(time) = cursor.head(&*self.log, limit)? {
                heads.push(Reverse((time, index)));
            }
        }
        Ok((lines, left - self.left))
    }

    /// Whether it has brought as many events as were asked for.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }
}

impl Cursor {
    /// The append time of the next event, if there is one now.
    fn head(&mut self, log: &dyn Log, limit: ReadLimit) -> Result<Option<i64>, ReadError> {
        if self.index == self.batch.len() {
            if self.until.is_some_and(|until| self.next >= until) {
                return Ok(None);
            }
            let source: TopicPartition = self.batch.source;
            self.batch.reset(source);
            (self.index, self.data_at) = (0, 0);
            self.next = log.read(source, self.next, limit, &mut self.batch)?.next;
            if self.batch.is_empty() {
                return Ok(None);
            }
        }
        let past = self.until.is_some_and(|until| self.batch.offset(self.index) >= until);
        Ok((!past).then(|| self.batch.append_time(self.index)))
    }

    /// Renders the next event, of which there must be one.
    fn take(&mut self, lines: &mut Vec<u8>) {
        let (event, data_end) = event_at(&self.batch.columns, self.index, self.data_at);
        render::line(&self.batch, self.index, event, lines);
        (self.index, self.data_at) = (self.index + 1, data_end);
    }
}

/// The event `index`, whose data begins at `at`, and where its data ends. The columns are checked: they come
/// from the log.
fn event_at(columns: &Columns, index: usize, at: usize) -> (Event<'_>, usize) {
    let width = |len: i32| usize::try_from(len).unwrap_or(0);
    let (key_len, value_len) = (columns.key_lens[index], columns.value_lens[index]);
    let key_end = at + width(key_len);
    let headers_end = key_end + columns.header_lens[index] as usize;
    let end = headers_end + width(value_len);
    let event = Event {
        time: columns.times[index],
        key: (key_len >= 0).then(|| &columns.data[at..key_end]),
        headers: &columns.data[key_end..headers_end],
        value: (value_len >= 0).then(|| &columns.data[headers_end..end]),
    };
    (event, end)
}

#[cfg(test)]
mod tests {
    use tidemill_bus::Transaction;
    use tidemill_bus::store::{Store, StoreOptions};

    use super::*;
    use crate::publish::{self, Format, Plan, Pointers};

    /// A reader of a topic with one partition and these events, from its start to its end.
    fn reader(dir: &std::path::Path, lines: &[String]) -> Reader {
        let store = Store::open(StoreOptions::new(dir)).unwrap();
        let topic = store.create_topic("t", Some(1)).unwrap();
        for lines in lines.chunks(10_000) {
            let topic = topic.clone();
            let plan =
                Plan { topic, format: Format::Ndjson, pointers: Pointers::default(), now_ms: 0, turn: 0 };
            let blocks = publish::read(lines.join("\n").as_bytes(), &plan).unwrap().blocks;
            let outcome = store.commit(Transaction { blocks, ..Transaction::default() });
            assert!(matches!(outcome, tidemill_bus::log::Outcome::Committed(_)), "{outcome:?}");
        }
        let log: Arc<dyn Log> = Arc::new(store);
        let all = Request { topic, partition: None, from: From::Earliest, limit: u64::MAX, end: End::Now };
        Reader::start(&log, &all).unwrap()
    }

    /// Reads to the end: the events, the longest piece, and the most events and bytes that were held.
    fn drain(mut reader: Reader) -> (u64, usize, usize, usize) {
        let (mut events, mut longest, mut held_events, mut held_bytes) = (0, 0, 0, 0);
        loop {
            let (lines, more) = reader.lines().unwrap();
            if more == 0 {
                return (events, longest, held_events, held_bytes);
            }
            let batch = &reader.cursors[0].batch;
            held_events = held_events.max(batch.len());
            held_bytes = held_bytes.max(batch.columns.byte_len());
            (events, longest) = (events + more, longest.max(lines.len()));
        }
    }

    #[test]
    fn a_reader_holds_no_more_events_and_bytes_than_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let tiny: Vec<_> = (0..3 * READER_BATCH_EVENTS_MAX).map(|number| number.to_string()).collect();
        let (events, longest, held_events, _) = drain(reader(dir.path(), &tiny));
        assert_eq!((events, held_events), (tiny.len() as u64, READER_BATCH_EVENTS_MAX));
        assert!((READ_CHUNK_BYTES..READ_CHUNK_BYTES + 1024).contains(&longest), "{longest}");

        let dir = tempfile::tempdir().unwrap();
        let event = 10 << 10;
        let large = vec![format!("\"{}\"", "x".repeat(event)); 4 * READER_BYTES_MAX / event];
        let (events, _, _, held_bytes) = drain(reader(dir.path(), &large));
        assert_eq!(events, large.len() as u64);
        assert!((READER_BYTES_MAX / 2..=READER_BYTES_MAX + 2 * event).contains(&held_bytes), "{held_bytes}");
    }

    #[test]
    fn positions_are_read_as_they_are_written() {
        assert_eq!("earliest".parse(), Ok(From::Earliest));
        assert_eq!("42".parse(), Ok(From::Offset(Offset(42))));
        assert_eq!("1970-01-01T00:00:01Z".parse(), Ok(From::Time(1_000)));
        for text in ["", "newest", "-1", "1.5", "99999999999999999999"] {
            assert!(text.parse::<From>().is_err(), "{text}");
        }
    }

    #[test]
    fn events_are_found_by_index_and_data() {
        let mut columns = Columns::default();
        columns.push(Event { time: 1, key: Some(b"k"), headers: &[], value: None });
        columns.push(Event { time: 2, key: None, headers: &[], value: Some(b"vv") });
        let (first, at) = event_at(&columns, 0, 0);
        let (second, end) = event_at(&columns, 1, at);
        assert!(columns.iter().eq([first, second]));
        assert_eq!(end, 3);
    }
}
