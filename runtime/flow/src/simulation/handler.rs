//! A handler with every vice, told by the events themselves what to do: an event's value is its vice and a number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_bus::{DriverKey, Event};

use crate::handler::{Call, Fault, Handler, Instance};
use crate::output::{Failure, Output, Stop};

/// What an event does to its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vice {
    /// Counted under its key, and passed on.
    Good,
    /// Counted, and passed on twice, to both outputs.
    Twice,
    /// Counted, and nothing is emitted.
    Silent,
    /// Given up by the guest.
    Reject,
    /// The call traps.
    Trap,
    /// The call runs past its deadline.
    Spin,
    /// The call asks for too much memory.
    Hoard,
    /// The call returns columns that lie.
    Lie,
    /// The call returns an error.
    Refuse,
    /// The guest stops at it, every time.
    Stop,
    /// The guest stops at it until the third attempt, then it is good.
    Later,
    /// The call traps until the third attempt of the event, then it is good.
    Flaky,
    /// Emits to a topic that is not declared.
    Stray,
}

/// All vices; the first are the rule.
pub(super) const VICES: [Vice; 13] = [
    Vice::Good,
    Vice::Twice,
    Vice::Silent,
    Vice::Reject,
    Vice::Trap,
    Vice::Spin,
    Vice::Hoard,
    Vice::Lie,
    Vice::Refuse,
    Vice::Stop,
    Vice::Later,
    Vice::Flaky,
    Vice::Stray,
];

impl Vice {
    /// The value of an event of this vice.
    pub(super) fn value(self, number: u64) -> Vec<u8> {
        format!("{self:?} {number}").into_bytes()
    }

    /// The vice of an event by its value.
    pub(super) fn of(value: &[u8]) -> Self {
        let text = std::str::from_utf8(value).unwrap();
        let name = text.split(' ').next().unwrap();
        *VICES.iter().find(|vice| format!("{vice:?}") == name).unwrap()
    }
}

/// What is wrong with a version, whatever the events are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Its initializers trap.
    Start,
    /// Every call traps.
    Trap,
    /// Every call runs past its deadline.
    Spin,
    /// Every call returns an error.
    Refuse,
    /// Every call stops at its first event.
    Stop,
    /// Every call gives up all events.
    Reject,
    /// Every call emits to a topic that is not declared.
    Stray,
}

/// All flaws.
pub(super) const FLAWS: [Flaw; 7] =
    [Flaw::Start, Flaw::Trap, Flaw::Spin, Flaw::Refuse, Flaw::Stop, Flaw::Reject, Flaw::Stray];

/// The handler.
pub(super) struct FakeHandler {
    pub(super) version: String,
    pub(super) has_state: AtomicBool,
    pub(super) now_us: Arc<AtomicU64>,
    pub(super) instances: AtomicUsize,
    pub(super) rng: Mutex<fastrand::Rng>,
    /// One call in so many fails by fault of the host, or panics; 0: none.
    pub(super) host_faults: AtomicU64,
    /// What is wrong with the version as such.
    pub(super) flaw: Option<Flaw>,
    /// No instance can be made of it, for this reason.
    pub(super) start: Mutex<Option<Fault>>,
    /// Deadlines of the calls that ran past them.
    pub(super) deadlines: Mutex<Vec<(usize, Duration)>>,
}

impl FakeHandler {
    pub(super) fn new(seed: u64, now_us: &Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            version: format!("v{seed}"),
            has_state: AtomicBool::new(true),
            now_us: Arc::clone(now_us),
            instances: AtomicUsize::new(0),
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            host_faults: AtomicU64::new(0),
            flaw: None,
            start: Mutex::new(None),
            deadlines: Mutex::default(),
        })
    }

    /// A version with a flaw.
    pub(super) fn flawed(seed: u64, now_us: &Arc<AtomicU64>, flaw: Flaw) -> Arc<Self> {
        let mut handler = Self::new(seed, now_us);
        let flawed = Arc::get_mut(&mut handler).unwrap();
        (flawed.version, flawed.flaw) = (format!("{flaw:?}-{seed}"), Some(flaw));
        handler
    }

    fn unlucky(&self) -> bool {
        let one_in = self.host_faults.load(Ordering::Relaxed);
        one_in > 0 && self.rng.lock().u64(..one_in) == 0
    }

    /// A fault of the host, which is a panic in one of two cases.
    fn host_fault(&self, what: &str) -> Fault {
        let panics = self.rng.lock().bool();
        assert!(!panics, "a panic of the host: {what}");
        Fault::Host(what.to_owned())
    }
}

/// A handle that the flow can own.
pub(super) struct Shared(pub(super) Arc<FakeHandler>);

impl Handler for Shared {
    fn version(&self) -> &str {
        &self.0.version
    }

    fn instantiate(&self, driver: DriverKey) -> Result<Box<dyn Instance>, Fault> {
        if self.0.flaw == Some(Flaw::Start) {
            return Err(trap());
        }
        if let Some(fault) = self.0.start.lock().clone() {
            return Err(fault);
        }
        if self.0.unlucky() {
            return Err(self.0.host_fault("no address space"));
        }
        self.0.instances.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(FakeInstance { handler: Arc::clone(&self.0), driver, dead: false }))
    }

    fn has_state(&self) -> bool {
        self.0.has_state.load(Ordering::Relaxed)
    }
}

struct FakeInstance {
    handler: Arc<FakeHandler>,
    driver: DriverKey,
    dead: bool,
}

impl Instance for FakeInstance {
    fn process(&mut self, call: Call<'_>) -> Result<Output, Fault> {
        assert!(!self.dead, "{} is called after a fault", self.driver);
        let spent = self.handler.rng.lock().u64(..3_000);
        self.handler.now_us.fetch_add(spent, Ordering::SeqCst);
        let result = self.run(&call);
        self.dead = result.as_ref().is_err_and(|fault| !fault.keeps_instance());
        result
    }

    fn memory_bytes(&self) -> usize {
        1 << 16
    }
}

impl FakeInstance {
    fn run(&self, call: &Call<'_>) -> Result<Output, Fault> {
        if self.handler.unlucky() {
            return Err(self.handler.host_fault("no luck"));
        }
        if let Some(flaw) = self.handler.flaw {
            return flawed(flaw, call);
        }
        let mut output = Output { topics: vec!["out".to_owned(), "also".to_owned()], ..Output::default() };
        let mut counts = std::collections::BTreeMap::new();
        for (index, event) in (0_u32..).zip(&call.batch.columns) {
            let attempt = if index == 0 { call.attempt } else { 1 };
            let vice = Vice::of(event.value.unwrap());
            match vice {
                Vice::Reject => output.rejected.push(Failure { index, reason: "bad".to_owned() }),
                Vice::Stop => return Ok(stopped(output, index)),
                Vice::Later if attempt < 3 => return Ok(stopped(output, index)),
                Vice::Flaky if attempt >= 3 => self.good(call, (index, event), &mut output, &mut counts),
                Vice::Good | Vice::Twice | Vice::Silent | Vice::Later | Vice::Stray => {
                    self.good(call, (index, event), &mut output, &mut counts);
                }
                Vice::Refuse => return Err(Fault::Refused("refused".to_owned())),
                Vice::Hoard => return Err(Fault::Memory { asked: 9, limit: 8 }),
                Vice::Lie => return Ok(Output { settled: 1_000_000, ..output }),
                Vice::Spin => {
                    self.handler.deadlines.lock().push((call.batch.len(), call.deadline));
                    return Err(Fault::Deadline(call.deadline));
                }
                Vice::Trap | Vice::Flaky => {
                    return Err(trap());
                }
            }
            output.settled = index + 1;
        }
        Ok(output)
    }

    /// Counts an event under its key and emits.
    fn good(
        &self,
        call: &Call<'_>,
        (index, event): (u32, Event<'_>),
        output: &mut Output,
        counts: &mut std::collections::BTreeMap<Vec<u8>, u64>,
    ) {
        let value = event.value.unwrap();
        let vice = Vice::of(value);
        let emits: &[u16] = match vice {
            Vice::Silent => &[],
            Vice::Twice => &[0, 1],
            Vice::Stray => &[0, 2],
            _ => &[0],
        };
        if vice == Vice::Stray && output.topics.len() == 2 {
            output.topics.push("stray".to_owned());
        }
        for &topic in emits {
            output.topic_of.push(topic);
            output.cause_of.push(index);
            output.events.value_lens.push(i32::try_from(value.len()).unwrap());
            output.events.data.extend_from_slice(value);
        }
        if self.handler.has_state.load(Ordering::Relaxed) {
            let key = event.key.unwrap_or(b"none").to_vec();
            let before = counts.get(&key).copied().unwrap_or_else(|| {
                let stored = call.state.get_many(&mut std::iter::once(&key[..])).unwrap();
                stored[0].as_ref().map_or(0, |count| u64::from_le_bytes(count[..].try_into().unwrap()))
            });
            output.state.push(&key, Some(&(before + 1).to_le_bytes()));
            counts.insert(key, before + 1);
        }
    }
}

fn stopped(mut output: Output, index: u32) -> Output {
    output.settled = index;
    output.stopped = Some(Stop { reason: "later".to_owned(), after_ms: Some(3) });
    output
}

fn trap() -> Fault {
    Fault::Trap { message: "unreachable".to_owned(), backtrace: String::new() }
}

fn flawed(flaw: Flaw, call: &Call<'_>) -> Result<Output, Fault> {
    let settled = u32::try_from(call.batch.len()).unwrap();
    let all = Output { settled, ..Output::default() };
    let gave_up = |index| Failure { index, reason: "no".to_owned() };
    match flaw {
        Flaw::Start | Flaw::Trap => Err(trap()),
        Flaw::Spin => Err(Fault::Deadline(call.deadline)),
        Flaw::Refuse => Err(Fault::Refused("refused".to_owned())),
        Flaw::Stop => Ok(stopped(Output::default(), 0)),
        Flaw::Reject => Ok(Output { rejected: (0..settled).map(gave_up).collect(), ..all }),
        Flaw::Stray => {
            let mut output =
                Output { topics: vec!["stray".to_owned()], cause_of: (0..settled).collect(), ..all };
            output.events.value_lens = vec![-1; call.batch.len()];
            Ok(output)
        }
    }
}
