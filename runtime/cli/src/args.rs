//! The command line, as clap reads it. Does nothing.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueHint};

use crate::bench::BenchArgs;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  tidemill run --data data --plugins plugins          start a runtime
  tidemill publish quakes earthquakes.ndjson          publish a file, one event a line
  tidemill tail quake-alerts --follow                 watch what comes out
  tidemill handlers                                   see what runs, and how far behind it is";

/// An event processing runtime: durable topics, sandboxed WebAssembly handlers.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, about, after_help = format!("{EXAMPLES}\n\n{}", crate::exit::HELP))]
pub(crate) struct Args {
    /// How results are shown.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: Output,
    /// The runtime's address.
    #[arg(long, global = true, env = "TIDEMILL_URL", default_value = "http://127.0.0.1:7070", value_hint = ValueHint::Url)]
    pub url: String,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a runtime: topics in a data directory, handlers from a plugin directory, an API over HTTP.
    #[command(after_help = "Example:\n  tidemill run --data data --plugins plugins --listen 127.0.0.1:7070")]
    Run(RunArgs),
    /// Check the configuration and every plugin, or every byte of a data directory, starting nothing.
    #[command(after_help = "\
Examples:
  tidemill check --config tidemill.toml --plugins plugins
  tidemill check --data data")]
    Check(CheckArgs),
    /// Compile the component at standard input to machine code at standard output, within limits: what the runtime
    /// starts for each plugin that it does not know yet.
    #[command(hide = true)]
    Compile(CompileArgs),
    /// Build a Rust handler crate into a component without WASI imports.
    #[command(after_help = "Example:\n  tidemill build my-handler --out plugins")]
    Build(BuildArgs),
    /// Publish events from a file or standard input.
    #[command(after_help = "\
Examples:
  tidemill publish quakes earthquakes.ndjson --key /net --time /time
  generate | tidemill publish quakes")]
    Publish(PublishArgs),
    /// Show a topic's events.
    #[command(after_help = "\
Examples:
  tidemill tail quakes --limit 10
  tidemill tail quakes --follow --output json | jq .value
  tidemill tail quakes --from 2026-01-31T00:00:00Z")]
    Tail(TailArgs),
    /// List, show, create, raise and delete topics.
    #[command(after_help = "\
Examples:
  tidemill topics
  tidemill topics create quakes --partitions 8
  tidemill topics raise quakes --partitions 16")]
    Topics {
        #[command(subcommand)]
        command: Option<TopicsCommand>,
    },
    /// List, show, pause, resume and seek handlers.
    #[command(
        after_help = "Examples:\n  tidemill handlers\n  tidemill handlers seek quake-alerts --to earliest"
    )]
    Handlers {
        #[command(subcommand)]
        command: Option<HandlersCommand>,
    },
    /// List, show, delete, restore and reset consumer groups: how far handlers have come.
    #[command(after_help = "\
Examples:
  tidemill groups
  tidemill groups delete old-handler
  tidemill groups restore quake-alerts")]
    Groups {
        #[command(subcommand)]
        command: Option<GroupsCommand>,
    },
    /// List, show and drop the events that handlers gave up.
    #[command(after_help = "\
Examples:
  tidemill dead-letters
  tidemill dead-letters list quake-alerts
  tidemill dead-letters show quake-alerts 0:17
  tidemill dead-letters drop quake-alerts 0:17")]
    DeadLetters {
        #[command(subcommand)]
        command: Option<DeadLettersCommand>,
    },
    /// Measure how fast this machine runs Tidemill, beside what its disk allows.
    #[command(after_help = "\
Examples:
  tidemill bench publish w1
  tidemill bench --events 1000000 --output json")]
    Bench(BenchArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Check the store in this data directory instead, which no runtime may use meanwhile.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["config", "plugins"])]
    pub data: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file; without it every default holds.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// The directory that handlers are loaded from.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub plugins: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The directory that everything is kept in.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
    /// The address of the API.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Allow to listen beyond this machine, where everybody who reaches the API may do everything.
    #[arg(long)]
    pub insecure: bool,
    /// How log lines are written: text on a terminal, JSON elsewhere, unless told.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log: Option<LogFormat>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompileArgs {
    /// Seconds of processor time.
    pub cpu_seconds: u64,
    /// Bytes of address space.
    pub memory_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// The crate's directory.
    #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
    pub manifest: PathBuf,
    /// The packages to build, when the directory is a workspace.
    #[arg(long = "package", short, value_name = "NAME", action = ArgAction::Append)]
    pub packages: Vec<String>,
    /// Where the components go.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The topic; created if it does not exist and the runtime allows it.
    pub topic: String,
    /// A file of events, `-` for standard input. `.json` is one value or an array, anything else one event a line.
    #[arg(default_value = "-", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The JSON pointer of the events' key, as in /id.
    #[arg(long, value_name = "POINTER")]
    pub key: Option<String>,
    /// The JSON pointer of the events' time: milliseconds since the Unix epoch, or RFC 3339.
    #[arg(long, value_name = "POINTER")]
    pub time: Option<String>,
    /// The JSON pointer of an object that becomes the events' headers.
    #[arg(long, value_name = "POINTER")]
    pub headers: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    /// The topic.
    pub topic: String,
    /// earliest, latest, an offset (with --partition), or a time like 2026-01-31T12:00:00Z. Without it:
    /// latest when following, else earliest.
    #[arg(long)]
    pub from: Option<String>,
    /// Wait for more instead of ending.
    #[arg(long, short)]
    pub follow: bool,
    /// One partition only.
    #[arg(long)]
    pub partition: Option<u32>,
    /// End after so many events.
    #[arg(long, short = 'n')]
    pub limit: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// All topics.
    List,
    /// One topic with its partitions.
    Show { topic: String },
    /// Create a topic, or set the one that is there.
    Create {
        topic: String,
        /// How many partitions it gets.
        #[arg(long)]
        partitions: Option<u32>,
        /// Keep the newest event of each key for ever, and let those before it go. A key goes a day after an event
        /// without a value.
        #[arg(long)]
        compact: bool,
        /// How events are stored that are published from now on: smaller, for some work of the processor.
        #[arg(long, value_parser = ["none", "lz4"])]
        compression: Option<String>,
    },
    /// Raise a topic's number of partitions. Events that are there stay where they are; a key may go to another
    /// partition from now on.
    Raise {
        topic: String,
        /// How many partitions it has then.
        #[arg(long)]
        partitions: u32,
        /// Do it also while a handler with state reads the topic.
        #[arg(long)]
        force: bool,
    },
    /// Delete a topic and all its events.
    Delete { topic: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum HandlersCommand {
    /// All handlers.
    List,
    /// One handler with its partitions.
    Show { handler: String },
    /// Stop giving it events.
    Pause { handler: String },
    /// Give it events again, also where it stopped.
    Resume { handler: String },
    /// Keep the state of a former `state-version`: it is fit for the one that the handler wants now.
    AdoptState { handler: String },
    /// Move its progress: what it reads next. What it has emitted stays.
    Seek {
        handler: String,
        /// earliest, latest, an offset (with --topic and --partition), or a time like 2026-01-31T12:00:00Z.
        #[arg(long)]
        to: String,
        /// One of its inputs; without it all.
        #[arg(long)]
        topic: Option<String>,
        /// One partition; without it all.
        #[arg(long)]
        partition: Option<u32>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupsCommand {
    /// All groups.
    List,
    /// One group with its partitions.
    Show { group: String },
    /// Delete a group with its progress and state. Its handler must not run.
    Delete { group: String },
    /// Let partitions that a broken change stopped go on from what they were before it: what they had read since is
    /// read, and its output made, once more.
    Restore { group: String },
    /// Begin anew, without progress and state. What it has emitted stays.
    Reset { group: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// The handlers that have dead letters, or the dead letters of one.
    List {
        handler: Option<String>,
        /// At most so many.
        #[arg(long, short = 'n', default_value_t = 100)]
        limit: u64,
    },
    /// One dead letter.
    Show {
        handler: String,
        /// Its place, PARTITION:OFFSET, as `list` shows it.
        place: Place,
    },
    /// Mark dead letters as done with: all, or those of a partition up to a place.
    Drop {
        handler: String,
        /// PARTITION:OFFSET of the last one to drop; without it all.
        place: Option<Place>,
    },
}

/// Where a dead letter lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub partition: u32,
    pub offset: u64,
}

impl std::str::FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = text.split_once(':').and_then(|(partition, offset)| {
            Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        place.ok_or("a place is PARTITION:OFFSET, as in 0:17")
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn places_are_partition_and_offset() {
        assert_eq!("0:17".parse(), Ok(Place { partition: 0, offset: 17 }));
        assert!("17".parse::<Place>().is_err() && "0:".parse::<Place>().is_err());
    }
}
