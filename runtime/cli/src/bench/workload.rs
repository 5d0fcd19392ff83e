//! The workloads by name, and how each is measured.

use anyhow::Result;

use super::events::{Events, KEYS};
use super::through::Through;
use super::{BenchArgs, Measured, floor, latency, memory, publish, vices};

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Workload {
    /// Publish over HTTP as NDJSON, each answer durable.
    Publish,
    /// Topic to guest to topic, event by event, over 16 partitions.
    W1,
    /// The same over 1 partition.
    #[value(name = "w1-1")]
    W1One,
    /// The same over 64 partitions.
    #[value(name = "w1-64")]
    W1Some,
    /// The same over 1,000 partitions.
    #[value(name = "w1-1000")]
    W1Many,
    /// JSON: half of the events pass, with two of their fields.
    W2,
    /// A running aggregate of each of 1,000 keys, emitted at each event.
    W3,
    /// The same over 1,000,000 keys.
    #[value(name = "w3-1000000")]
    W3Many,
    /// From a publish to a follower of the handler's output, at 20,000 events per second.
    Latency,
    /// Resident memory of an instance more.
    Memory,
    /// Five times the events through W1: whether the end is as fast as the beginning.
    Backlog,
    /// W1 and latency beside guests that misbehave, and beside a component made to break its compiler: what is kept
    /// of both. Runs only when it is named.
    Vices,
}

/// Half a minute at the rate of `latency`.
const LATENCY_EVENTS_MAX: u64 = 600_000;

impl Workload {
    /// Those that run when none is named, in the order in which they run.
    pub(super) const ALL: [Self; 11] = [
        Self::Publish,
        Self::W1,
        Self::W1One,
        Self::W1Some,
        Self::W1Many,
        Self::W2,
        Self::W3,
        Self::W3Many,
        Self::Latency,
        Self::Memory,
        Self::Backlog,
    ];

    /// Its name, as it is written and printed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::W1 => "w1",
            Self::W1One => "w1-1",
            Self::W1Some => "w1-64",
            Self::W1Many => "w1-1000",
            Self::W2 => "w2",
            Self::W3 => "w3",
            Self::W3Many => "w3-1000000",
            Self::Latency => "latency",
            Self::Memory => "memory",
            Self::Backlog => "backlog",
            Self::Vices => "vices",
        }
    }

    /// The handler, and what goes through it; `None` if the workload is not that alone.
    fn through(self, args: &BenchArgs) -> Option<Through> {
        let events = Events { count: args.events, keys: KEYS };
        let echo = Through::echo(events, 16);
        let aggregate = Through { plugin: "aggregate", config: "[config]\npointer = \"/m\"\n", ..echo };
        Some(match self {
            Self::W1 => echo,
            Self::W1One => Through { partitions: 1, ..echo },
            Self::W1Some => Through { partitions: 64, ..echo },
            Self::W1Many => Through { partitions: 1_000, ..echo },
            Self::W2 => Through {
                plugin: "json-filter",
                config: "[config]\npointer = \"/m\"\ncomparison = \">=\"\nvalue = 5\nfields = [\"/k\", \"/n\"]\n",
                outputs: events.with_digit(5..),
                ..echo
            },
            Self::W3 => aggregate,
            Self::W3Many => Through { events: Events { keys: 1_000_000, ..events }, ..aggregate },
            Self::Backlog => Through::echo(Events { count: 5 * args.events, ..events }, 16),
            Self::Publish | Self::Latency | Self::Memory | Self::Vices => return None,
        })
    }

    /// Runs it as often as asked, the floor before each run, and keeps the median.
    pub(super) async fn measure(self, args: &BenchArgs) -> Result<Vec<Measured>> {
        if self == Self::Vices {
            return vices::measure(args).await;
        }
        let mut all = Vec::new();
        for _ in 0..args.runs.max(1) {
            let floor = floor::records_per_second(&args.scratch)?;
            let mut measured = self.run(args).await?;
            measured.floor = floor;
            all.push(measured);
        }
        Ok(vec![Measured::median(all)])
    }

    async fn run(self, args: &BenchArgs) -> Result<Measured> {
        if let Some(through) = self.through(args) {
            let (run, tenths) = through.run(args).await?;
            let mut measured = Measured::new(self.name(), run);
            measured.last_tenth = (self == Self::Backlog).then(|| tenths.ratio());
            return Ok(measured);
        }
        match self {
            Self::Latency => {
                let found = latency::run(args, args.events.min(LATENCY_EVENTS_MAX)).await?;
                let mut measured = Measured::new(self.name(), found.run);
                (measured.latency_ms, measured.sync_ms) = (Some(found.event_ms), Some(found.sync_ms));
                Ok(measured)
            }
            Self::Memory => {
                let (run, bytes) = memory::run(args).await?;
                let mut measured = Measured::new(self.name(), run);
                measured.bytes_per_instance = Some(bytes);
                Ok(measured)
            }
            _ => Ok(Measured::new(self.name(), publish::run(args).await?)),
        }
    }
}
