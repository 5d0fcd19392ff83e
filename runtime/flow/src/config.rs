//! How a handler is run: what its plugin file says, with a default for everything. Knows no TOML.

use std::collections::BTreeMap;
use std::time::Duration;

/// The settings of one handler.
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerConfig {
    /// The handler's name, and that of its consumer group.
    pub name: String,
    /// Topics that it reads.
    pub inputs: Vec<String>,
    /// Topics that it may emit to: names, or globs with `*`. Events without a topic go to the first.
    pub outputs: Vec<String>,
    /// Which events wait for which.
    pub ordering: Ordering,
    /// Where a new group starts.
    pub start: Start,
    /// Whether it may emit to a topic that leads back to it.
    pub allow_cycle: bool,
    /// What is done with an event that fails.
    pub retry: Retry,
    /// What a call may use.
    pub limits: CallLimits,
    /// How much a call gets.
    pub batch: BatchLimits,
    /// The version of what it keeps as state. Another one stops the handler until its group is reset or its state
    /// is adopted.
    pub state_version: u32,
    /// The handler's own keys.
    pub config: BTreeMap<String, String>,
}

impl HandlerConfig {
    /// The settings of a handler without a plugin file: reads the topic named as it is, emits to `NAME.out`.
    pub fn bare(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            inputs: vec![name.to_owned()],
            outputs: vec![format!("{name}.out")],
            ordering: Ordering::default(),
            start: Start::default(),
            allow_cycle: false,
            retry: Retry::default(),
            limits: CallLimits::default(),
            batch: BatchLimits::default(),
            state_version: 1,
            config: BTreeMap::new(),
        }
    }

    /// The topic that its dead letters go to.
    pub fn dead_letter_topic(&self) -> String {
        format!("_dead.{}", self.name)
    }
}

/// Which events wait for which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// All events of a partition, strictly.
    #[default]
    Partition,
}

/// Where a new group starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest event kept.
    #[default]
    Earliest,
    /// After the newest.
    Latest,
    /// At the first event appended at or after this time, in milliseconds since the Unix epoch.
    Time(i64),
}

/// What is done with an event that fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// Attempts before `then`, the first included.
    pub attempts: u32,
    /// The upper end of the first pause; it doubles with each attempt. The pause is drawn between 0 and that
    /// (full jitter).
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
    /// What is done when the attempts are used up.
    pub then: Then,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            then: Then::default(),
        }
    }
}

/// What is done with an event whose attempts are used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// It goes to the dead-letter topic, and the partition goes on.
    #[default]
    DeadLetter,
    /// The partition stops there until an operator resumes or seeks.
    Stop,
    /// It is dropped and counted, and the partition goes on.
    Drop,
}

/// What a call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Bytes of memory of one instance.
    pub memory: usize,
    /// Running time of a call.
    pub deadline: Duration,
    /// Bytes of output of a call.
    pub output: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { memory: 64 << 20, deadline: Duration::from_secs(5), output: 16 << 20 }
    }
}

/// How much a call gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Events at most.
    pub max_events: usize,
    /// Bytes at most, but for a single event.
    pub max_bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { max_events: 4096, max_bytes: 64 << 10 }
    }
}
