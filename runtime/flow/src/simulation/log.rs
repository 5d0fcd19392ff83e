//! A log as hostile as a real one may be: offsets have gaps, reads come short, answers come late and not in order
//! between drivers, commits are aborted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tidemill_bus::block::body_crc;
use tidemill_bus::log::{
    Abort, AdminError, Answer, Outcome, PartitionRange, ReadEnd, ReadError, ReadLimit, Receipt, StateError,
    Topic, Watcher,
};
use tidemill_bus::transaction::Progress;
use tidemill_bus::{
    Batch, Columns, DriverKey, Event, HandlerId, Log, Offset, TopicId, TopicPartition, Transaction,
};

/// An event as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) offset: u64,
    pub(super) append_time: i64,
    pub(super) time: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) headers: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    /// Partition and offset of what it was emitted for.
    pub(super) cause: Option<(TopicPartition, u64)>,
}

/// How far the clock goes while [`FakeLog::serve`] waits.
const TICK: Duration = Duration::from_millis(1);
/// A flow that hands nothing in for so many ticks has come to rest, and who waits for more waits in vain.
const REST_TICKS: u32 = 60_000;

/// How hostile it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    /// One event in so many has a gap before it; 0: none.
    pub(super) gaps: u64,
    /// One commit in so many is aborted; 0: none.
    pub(super) aborts: u64,
}

#[derive(Default)]
struct Part {
    start: u64,
    end: u64,
    events: Vec<Kept>,
    broken_at: Option<u64>,
}

struct Inner {
    rng: fastrand::Rng,
    topics: BTreeMap<u64, (Topic, Vec<Part>)>,
    next_topic: u64,
    handlers: HashMap<String, HandlerId>,
    notes: HashMap<HandlerId, Vec<u8>>,
    epochs: HashMap<DriverKey, u64>,
    progress: HashMap<(DriverKey, TopicId), Progress>,
    state: HashMap<DriverKey, BTreeMap<Vec<u8>, Vec<u8>>>,
    submitted: VecDeque<(Transaction, Answer)>,
    decided: Vec<(Option<DriverKey>, Answer, Outcome)>,
    watchers: Vec<Arc<dyn Watcher>>,
    refuse: Option<Abort>,
}

/// The log.
pub(super) struct FakeLog {
    pub(super) now_us: Arc<AtomicU64>,
    pub(super) nature: Mutex<Nature>,
    /// A partition of which a read panics.
    pub(super) panics_at: Mutex<Option<TopicPartition>>,
    inner: Mutex<Inner>,
    submitted: Condvar,
}

impl FakeLog {
    pub(super) fn new(seed: u64, nature: Nature) -> Arc<Self> {
        let inner = Inner {
            rng: fastrand::Rng::with_seed(seed),
            topics: BTreeMap::new(),
            next_topic: 1,
            handlers: HashMap::new(),
            notes: HashMap::new(),
            epochs: HashMap::new(),
            progress: HashMap::new(),
            state: HashMap::new(),
            submitted: VecDeque::new(),
            decided: Vec::new(),
            watchers: Vec::new(),
            refuse: None,
        };
        Arc::new(Self {
            now_us: Arc::new(AtomicU64::new(1_000_000)),
            nature: Mutex::new(nature),
            panics_at: Mutex::new(None),
            inner: Mutex::new(inner),
            submitted: Condvar::new(),
        })
    }

    /// Appends an event from outside.
    pub(super) fn publish(&self, source: TopicPartition, key: Option<&[u8]>, value: &[u8]) -> u64 {
        let (nature, now) = (*self.nature.lock(), self.now_ms());
        let mut inner = self.inner.lock();
        let event = Event { time: now - 5, key, headers: &[], value: Some(value) };
        let offset = inner.append(source, event, (now, nature), None);
        let watchers = inner.watchers.clone();
        drop(inner);
        for watcher in watchers {
            watcher.moved(&[source]);
        }
        offset
    }

    /// Decides on one transaction of some driver: commits or aborts it. The answer waits.
    pub(super) fn decide(&self) -> bool {
        let (nature, now) = (*self.nature.lock(), self.now_ms());
        let mut inner = self.inner.lock();
        if inner.submitted.is_empty() {
            return false;
        }
        let waiting = inner.submitted.len();
        let picked = inner.rng.usize(..waiting);
        let driver = inner.submitted[picked].0.driver;
        let first = inner.submitted.iter().position(|(transaction, _)| transaction.driver == driver);
        let (transaction, answer) = inner.submitted.remove(first.unwrap()).unwrap();
        let (outcome, moved) = inner.commit(&transaction, (now, nature));
        inner.decided.push((driver, answer, outcome));
        let watchers = inner.watchers.clone();
        drop(inner);
        for watcher in watchers.iter().filter(|_| !moved.is_empty()) {
            watcher.moved(&moved);
        }
        true
    }

    /// Delivers one answer, the oldest of some driver.
    pub(super) fn answer(&self) -> bool {
        let mut inner = self.inner.lock();
        if inner.decided.is_empty() {
            return false;
        }
        let waiting = inner.decided.len();
        let picked = inner.rng.usize(..waiting);
        let driver = inner.decided[picked].0;
        let first = inner.decided.iter().position(|decided| decided.0 == driver).unwrap();
        let (_, answer, outcome) = inner.decided.remove(first);
        drop(inner);
        answer.send(outcome);
        true
    }

    /// Waits for a transaction, decides and answers all there are; false once `stop` says so.
    pub(super) fn serve(&self, stop: &dyn Fn() -> bool) -> bool {
        {
            let mut inner = self.inner.lock();
            let mut ticks = 0;
            while inner.submitted.is_empty() {
                if stop() {
                    return false;
                }
                assert!(ticks < REST_TICKS, "the flow has come to rest, and the test waits for more");
                ticks += 1;
                // Time passes while nothing comes: what waits for it comes to its turn.
                self.submitted.wait_for(&mut inner, TICK);
                let passed = u64::try_from(TICK.as_micros()).unwrap();
                self.now_us.fetch_add(passed, Ordering::SeqCst);
            }
        }
        while self.decide() {}
        while self.answer() {}
        true
    }

    /// Has [`FakeLog::serve`] look at its `stop`.
    pub(super) fn nudge(&self) {
        drop(self.inner.lock());
        self.submitted.notify_all();
    }

    /// The process dies: what is not decided is lost, answers come no more, nobody watches.
    pub(super) fn crash(&self) {
        let mut inner = self.inner.lock();
        inner.submitted.clear();
        inner.decided.clear();
        inner.watchers.clear();
        inner.epochs.clear();
    }

    /// From now on every transaction is aborted so; `None`: no more.
    pub(super) fn refuse(&self, abort: Option<Abort>) {
        self.inner.lock().refuse = abort;
    }

    /// Deletes a topic.
    pub(super) fn delete(&self, topic: TopicId) {
        self.inner.lock().topics.remove(&topic.0);
    }

    /// Ends an epoch and moves progress, as an operator of the store may.
    pub(super) fn reset(&self, driver: DriverKey, topic: TopicId, to: u64) {
        let mut inner = self.inner.lock();
        *inner.epochs.entry(driver).or_default() += 1;
        inner.progress.insert((driver, topic), Progress { next: Offset(to), ..Progress::default() });
    }

    /// Gives a handler's name another id, as a reset of its group does.
    pub(super) fn renew(&self, name: &str) {
        let mut inner = self.inner.lock();
        let next = HandlerId(inner.handlers.values().map(|id| id.0).max().unwrap_or(0) + 1);
        inner.handlers.insert(name.to_owned(), next);
    }

    /// Retention removes what lies before `offset`.
    pub(super) fn expire(&self, source: TopicPartition, offset: u64) {
        let mut inner = self.inner.lock();
        let part = inner.part(source).unwrap();
        part.start = offset;
        part.events.retain(|event| event.offset >= offset);
    }

    /// Nothing can be read from `offset` on.
    pub(super) fn break_at(&self, source: TopicPartition, offset: Option<u64>) {
        self.inner.lock().part(source).unwrap().broken_at = offset;
    }

    /// All events of a partition.
    pub(super) fn events(&self, source: TopicPartition) -> Vec<Kept> {
        self.inner.lock().part(source).unwrap().events.clone()
    }

    /// All events of a topic, partition by partition.
    pub(super) fn all(&self, name: &str) -> Vec<Vec<Kept>> {
        let Some(topic) = self.topic(name) else { return Vec::new() };
        let partitions = (0..topic.partitions).map(|p| topic.partition(tidemill_bus::Partition(p)));
        partitions.map(|source| self.events(source)).collect()
    }

    /// Transactions without an answer.
    pub(super) fn in_flight(&self) -> usize {
        let inner = self.inner.lock();
        inner.submitted.len() + inner.decided.len()
    }

    /// Puts another state in the place of a driver's.
    pub(super) fn put_state(&self, driver: DriverKey, state: BTreeMap<Vec<u8>, Vec<u8>>) {
        self.inner.lock().state.insert(driver, state);
    }

    /// The committed state of a driver.
    pub(super) fn state(&self, driver: DriverKey) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.inner.lock().state.get(&driver).cloned().unwrap_or_default()
    }
}

impl Inner {
    fn part(&mut self, source: TopicPartition) -> Option<&mut Part> {
        self.topics.get_mut(&source.topic.0)?.1.get_mut(source.partition.0 as usize)
    }

    fn append(
        &mut self,
        source: TopicPartition,
        event: Event<'_>,
        (append_time, nature): (i64, Nature),
        cause: Option<(TopicPartition, u64)>,
    ) -> u64 {
        let gap = if nature.gaps > 0 && self.rng.u64(..nature.gaps) == 0 { self.rng.u64(1..4) } else { 0 };
        let marker = u64::from(nature.gaps > 0 && self.rng.u64(..nature.gaps) == 0);
        let part = self.part(source).expect("what is appended to lives");
        let offset = part.end + gap;
        part.end = offset + 1 + marker;
        part.events.push(Kept {
            offset,
            append_time,
            time: event.time,
            key: event.key.map(<[u8]>::to_vec),
            headers: event.headers.to_vec(),
            value: event.value.map(<[u8]>::to_vec),
            cause,
        });
        offset
    }

    fn commit(&mut self, transaction: &Transaction, at: (i64, Nature)) -> (Outcome, Vec<TopicPartition>) {
        if let Some(abort) = self.abort(transaction, at.1) {
            if let Some(driver) = transaction.driver {
                *self.epochs.entry(driver).or_default() += 1;
            }
            return (Outcome::Aborted(abort), Vec::new());
        }
        let driver = transaction.driver.expect("only drivers submit here");
        let mut moved = Vec::new();
        for block in &transaction.blocks {
            let cause = block.cause.as_ref().expect("what is emitted has a cause");
            assert_eq!(block.columns.check(), Ok(()));
            assert_eq!(block.body_crc, body_crc(&block.columns, Some(&cause.events)));
            assert_eq!((block.columns.len(), cause.handler), (cause.events.len(), driver.handler));
            for (event, delta) in block.columns.iter().zip(&cause.events) {
                let cause = (cause.source, cause.first.0 + u64::from(*delta));
                self.append(block.target, event, at, Some(cause));
            }
            moved.push(block.target);
        }
        if let Some(update) = transaction.progress {
            self.progress.insert((driver, update.topic), update.progress);
        }
        let state = self.state.entry(driver).or_default();
        for (key, value) in transaction.state.iter() {
            match value {
                Some(value) => state.insert(key.to_vec(), value.to_vec()),
                None => state.remove(key),
            };
        }
        (Outcome::Committed(Receipt::default()), moved)
    }

    fn abort(&mut self, transaction: &Transaction, nature: Nature) -> Option<Abort> {
        let driver = transaction.driver.expect("only drivers submit here");
        if transaction.epoch != self.epochs.get(&driver).copied().unwrap_or_default() {
            return Some(Abort::Fenced(driver));
        }
        if let Some(refuse) = &self.refuse {
            return Some(refuse.clone());
        }
        let read = transaction.progress.iter().map(|update| update.topic);
        let mut touched = read.chain(transaction.blocks.iter().map(|block| block.target.topic));
        if let Some(gone) = touched.find(|topic| !self.topics.contains_key(&topic.0)) {
            return Some(Abort::TopicGone(gone));
        }
        (nature.aborts > 0 && self.rng.u64(..nature.aborts) == 0).then_some(Abort::Busy)
    }
}

impl Log for FakeLog {
    fn topic(&self, name: &str) -> Option<Topic> {
        self.inner
            .lock()
            .topics
            .values()
            .find(|(topic, _)| &*topic.name == name)
            .map(|(topic, _)| topic.clone())
    }

    fn topic_by_id(&self, id: TopicId) -> Option<Topic> {
        self.inner.lock().topics.get(&id.0).map(|(topic, _)| topic.clone())
    }

    fn topics(&self) -> Vec<Topic> {
        self.inner.lock().topics.values().map(|(topic, _)| topic.clone()).collect()
    }

    fn create_topic(&self, name: &str, partitions: Option<u32>) -> Result<Topic, AdminError> {
        if name.contains(' ') {
            return Err(AdminError::InvalidName { name: name.to_owned(), rule: "no blanks" });
        }
        if let Some(topic) = self.topic(name) {
            return Ok(topic);
        }
        let mut inner = self.inner.lock();
        let id = TopicId(inner.next_topic);
        inner.next_topic += 1;
        let topic = Topic { id, name: name.into(), partitions: partitions.unwrap_or(4) };
        let parts = (0..topic.partitions).map(|_| Part::default()).collect();
        inner.topics.insert(id.0, (topic.clone(), parts));
        Ok(topic)
    }

    fn handler_id(&self, name: &str) -> Result<HandlerId, AdminError> {
        let mut inner = self.inner.lock();
        let next = HandlerId(inner.handlers.values().map(|id| id.0).max().unwrap_or(0) + 1);
        Ok(*inner.handlers.entry(name.to_owned()).or_insert(next))
    }

    fn note(&self, handler: HandlerId) -> Result<Option<Vec<u8>>, AdminError> {
        Ok(self.inner.lock().notes.get(&handler).cloned())
    }

    fn set_note(&self, handler: HandlerId, note: &[u8]) -> Result<(), AdminError> {
        let mut inner = self.inner.lock();
        if let Some(refuse) = &inner.refuse {
            return Err(refuse.clone().into());
        }
        inner.notes.insert(handler, note.to_vec());
        Ok(())
    }

    fn read(
        &self,
        source: TopicPartition,
        from: Offset,
        limit: ReadLimit,
        batch: &mut Batch,
    ) -> Result<ReadEnd, ReadError> {
        assert!(*self.panics_at.lock() != Some(source), "an assertion of the log");
        let mut inner = self.inner.lock();
        let short = inner.rng.u8(..4) == 0;
        let keep = inner.rng.usize(1..=limit.events.max(1));
        let part = inner.part(source).ok_or(ReadError::Unknown(source))?;
        let end = Offset(part.end);
        if from.0 < part.start {
            let start = Offset(part.start);
            return Err(ReadError::Gone { source_partition: source, asked: from, start });
        }
        let most = if short { keep } else { limit.events };
        let mut bytes = 0;
        let mut next = from;
        for event in part.events.iter().filter(|event| event.offset >= from.0).take(most) {
            if part.broken_at.is_some_and(|broken| event.offset >= broken) {
                if !batch.is_empty() {
                    return Ok(ReadEnd { next, end });
                }
                let (offset, what) = (Offset(event.offset), "torn".into());
                return Err(ReadError::Broken { source_partition: source, offset, what });
            }
            let mut one = Columns::default();
            let (key, value) = (event.key.as_deref(), event.value.as_deref());
            one.push(Event { time: event.time, key, headers: &event.headers, value });
            bytes += one.byte_len();
            if bytes > limit.bytes && !batch.is_empty() {
                return Ok(ReadEnd { next, end });
            }
            let data = one.data.len();
            assert!(batch.extend_from(&one, 0..1, 0..data, (Offset(event.offset), event.append_time)));
            next = Offset(event.offset + 1);
        }
        let exhausted = part.events.last().is_none_or(|last| last.offset < next.0);
        Ok(ReadEnd { next: if exhausted { end.max(next) } else { next }, end })
    }

    fn range(&self, source: TopicPartition) -> Result<PartitionRange, ReadError> {
        let mut inner = self.inner.lock();
        let part = inner.part(source).ok_or(ReadError::Unknown(source))?;
        Ok(PartitionRange { start: Offset(part.start), end: Offset(part.end) })
    }

    fn position_at(&self, source: TopicPartition, time_ms: i64) -> Result<Offset, ReadError> {
        let mut inner = self.inner.lock();
        let part = inner.part(source).ok_or(ReadError::Unknown(source))?;
        let first = part.events.iter().find(|event| event.append_time >= time_ms);
        Ok(Offset(first.map_or(part.end, |event| event.offset)))
    }

    fn progress(&self, driver: DriverKey, topic: TopicId) -> Result<Option<Progress>, StateError> {
        Ok(self.inner.lock().progress.get(&(driver, topic)).copied())
    }

    fn epoch(&self, driver: DriverKey) -> u64 {
        self.inner.lock().epochs.get(&driver).copied().unwrap_or_default()
    }

    fn state_get(
        &self,
        driver: DriverKey,
        keys: &mut dyn Iterator<Item = &[u8]>,
        values: &mut Vec<Option<Vec<u8>>>,
    ) -> Result<(), StateError> {
        let inner = self.inner.lock();
        let state = inner.state.get(&driver);
        values.extend(keys.map(|key| state.and_then(|state| state.get(key)).cloned()));
        Ok(())
    }

    fn state_scan(
        &self,
        driver: DriverKey,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StateError> {
        let inner = self.inner.lock();
        let wanted = |key: &[u8]| key.starts_with(prefix) && after.is_none_or(|after| key > after);
        let state = inner.state.get(&driver).into_iter().flatten();
        let found = state.filter(|(key, _)| wanted(key)).take(limit);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn submit(&self, transaction: Transaction, answer: Answer) {
        self.inner.lock().submitted.push_back((transaction, answer));
        self.submitted.notify_all();
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.inner.lock().watchers.push(watcher);
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.now_us.load(Ordering::SeqCst) / 1_000).unwrap()
    }
}
