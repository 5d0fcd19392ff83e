//! The keys of `tidemill.toml`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use thiserror::Error;
pub use tidemill_wasm::compile::Program as CompileProgram;
use tidemill_wasm::document::{self, DocumentError};
use tidemill_wasm::{CompileLimits, Compiler, units};

/// Bytes that a segment may have: many frames in the least, not too much to give back at once in the most.
const SEGMENT_BYTES: RangeInclusive<usize> = 1 << 20..=1 << 30;

/// What the runtime's file says; [`Config::default`] is what holds without one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// The directory that everything is kept in.
    pub data: PathBuf,
    /// The directory that handlers are loaded from.
    pub plugins: PathBuf,
    /// The API.
    pub http: HttpConfig,
    /// The store.
    pub store: StoreConfig,
    /// The runtime's own log lines.
    pub log: LogConfig,
    /// How plugins are compiled.
    pub compile: CompileConfig,
    /// Threads that run handlers; without it a few for each core.
    pub workers: Option<usize>,
    /// Whether the first publish to a topic creates it.
    pub create_topics: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            plugins: PathBuf::from("plugins"),
            http: HttpConfig::default(),
            store: StoreConfig::default(),
            log: LogConfig::default(),
            compile: CompileConfig::default(),
            workers: None,
            create_topics: true,
        }
    }
}

/// Where the API listens, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HttpConfig {
    /// The address; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Names that the API answers to, besides those of this machine.
    pub hosts: Vec<String>,
    /// Whether it may listen beyond this machine.
    pub insecure: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);
        Self { listen, hosts: Vec::new(), insecure: false }
    }
}

/// How events are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct StoreConfig {
    /// When a commit is answered.
    pub sync: SyncConfig,
    /// Bytes of a segment of the journal, the piece in which space is given back; 64 MiB if it is not set.
    #[serde(deserialize_with = "units::size::optional")]
    pub segment: Option<usize>,
    /// Bytes of publishes that may wait for the disk; 64 MiB if it is not set. Who comes beyond is asked to come
    /// again.
    #[serde(deserialize_with = "units::size::optional")]
    pub backlog: Option<usize>,
    /// Longest time between two checkpoints of the tables; 2 s if it is not set. An opening replays what came since.
    #[serde(deserialize_with = "units::duration::optional")]
    pub checkpoint: Option<Duration>,
    /// Time between two looks for segments worth being rewritten without what may go; a minute if it is not set.
    #[serde(deserialize_with = "units::duration::optional")]
    pub settle: Option<Duration>,
    /// How long events are kept.
    pub retention: RetentionConfig,
}

/// When a commit is answered: `"always"`, or a duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncConfig {
    /// When it is on disk.
    #[default]
    Always,
    /// When it is written; it is synced that much later at the latest.
    Every(Duration),
}

impl<'de> Deserialize<'de> for SyncConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match String::deserialize(from)?.as_str() {
            "always" => Ok(Self::Always),
            text => units::parse_duration(text)
                .map(Self::Every)
                .map_err(|error| D::Error::custom(format!("{error}; or \"always\""))),
        }
    }
}

/// When events may go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RetentionConfig {
    /// The age from which events may go.
    #[serde(deserialize_with = "units::duration::optional")]
    pub age: Option<Duration>,
    /// Bytes of the journal from which the oldest may go.
    #[serde(deserialize_with = "units::size::optional")]
    pub bytes: Option<usize>,
    /// Whether events wait for the groups that have not read them.
    pub hold: Hold,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self { age: Some(Duration::from_hours(7 * 24)), bytes: None, hold: Hold::default() }
    }
}

/// What keeps events that may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// The groups that have not read them.
    #[default]
    Handlers,
    /// Nothing; what a group loses is counted.
    None,
}

/// The runtime's own log lines.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LogConfig {
    /// Text or JSON; without it text on a terminal, JSON elsewhere.
    pub format: Option<LogFormat>,
    /// What is written: a level, or a filter as `tracing` reads it.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: None, level: "info".to_owned() }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How plugins are compiled, and what the compilation of one may use; what is not set is as
/// [`CompileLimits::default`] has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CompileConfig {
    /// Processor time, in whole seconds.
    #[serde(deserialize_with = "units::duration::optional")]
    pub cpu: Option<Duration>,
    /// Bytes of address space.
    #[serde(deserialize_with = "units::size::optional")]
    pub memory: Option<usize>,
    /// Time on the clock.
    #[serde(deserialize_with = "units::duration::optional")]
    pub time: Option<Duration>,
    /// The program that compiles as a child of the runtime; without one the runtime compiles itself, without limits.
    /// No key of the file: it comes from whoever starts the runtime.
    #[serde(skip)]
    pub program: Option<CompileProgram>,
}

impl CompileConfig {
    /// What compiles so.
    pub(crate) fn compiler(&self) -> Compiler {
        let Some(program) = &self.program else { return Compiler::here() };
        let default = CompileLimits::default();
        let limits = CompileLimits {
            cpu: self.cpu.unwrap_or(default.cpu),
            memory_bytes: self.memory.map_or(default.memory_bytes, |bytes| bytes as u64),
            time: self.time.unwrap_or(default.time),
        };
        Compiler::in_child(program.clone(), limits)
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It does not say what it should.
    #[error("{}: {source}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: DocumentError,
    },
    /// Keys that may not stand together.
    #[error("{0}")]
    Refused(String),
}

impl Config {
    /// Reads the file at `path`. Relative paths in it are relative to its directory.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config =
            Self::parse(&text).map_err(|source| ConfigError::Document { path: path.to_owned(), source })?;
        let dir = path.parent().unwrap_or(Path::new(""));
        config.data = dir.join(&config.data);
        config.plugins = dir.join(&config.plugins);
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, DocumentError> {
        document::parse(text)
    }

    /// Refuses what must not run.
    pub fn check(&self) -> Result<(), ConfigError> {
        let listen = self.http.listen;
        if !listen.ip().is_loopback() && !self.http.insecure {
            return Err(ConfigError::Refused(format!(
                "refusing to listen on {listen}: everybody who reaches it could do everything, for there are no \
                 tokens yet; listen on 127.0.0.1, or say --insecure (http.insecure = true)"
            )));
        }
        if self.workers == Some(0) {
            return Err(ConfigError::Refused("`workers` is 0: no handler could run".to_owned()));
        }
        if let Some(bytes) = self.store.segment
            && !SEGMENT_BYTES.contains(&bytes)
        {
            return Err(ConfigError::Refused(format!(
                "`store.segment` is {bytes} bytes: it must be from 1MiB to 1GiB"
            )));
        }
        if self.store.checkpoint.is_some_and(|interval| interval.is_zero()) {
            return Err(ConfigError::Refused("`store.checkpoint` is 0: it would never rest".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_too_small_or_too_large_is_refused() {
        for (segment, is_fine) in [("1MiB", true), ("1GiB", true), ("4KiB", false), ("2GiB", false)] {
            let config = Config::parse(&format!("[store]\nsegment = \"{segment}\"\n")).unwrap();
            assert_eq!(config.check().is_ok(), is_fine, "{segment}");
        }
    }

    #[test]
    fn checkpoints_without_a_rest_are_refused() {
        for (interval, is_fine) in [("1ms", true), ("0s", false)] {
            let config = Config::parse(&format!("[store]\ncheckpoint = \"{interval}\"\n")).unwrap();
            assert_eq!(config.check().is_ok(), is_fine, "{interval}");
        }
    }

    #[test]
    fn an_empty_file_is_as_good_as_none() {
        assert_eq!(Config::parse(""), Ok(Config::default()));
    }

    #[test]
    fn every_key_is_read() {
        let text = r#"
            data = "d"
            plugins = "p"
            workers = 3
            create-topics = false
            [http]
            listen = "0.0.0.0:80"
            hosts = ["mill.example"]
            insecure = true
            [store]
            sync = "50ms"
            segment = "32MiB"
            backlog = "1MiB"
            checkpoint = "1s"
            settle = "5m"
            [store.retention]
            age = "1h"
            bytes = "5GiB"
            hold = "none"
            [log]
            format = "json"
            level = "debug"
            [compile]
            cpu = "10s"
            memory = "1GiB"
            time = "1m"
        "#;
        let config = Config::parse(text).unwrap();
        assert_eq!((config.data, config.plugins), ("d".into(), "p".into()));
        assert_eq!((config.workers, config.create_topics), (Some(3), false));
        assert_eq!(config.http.listen.to_string(), "0.0.0.0:80");
        assert_eq!((config.http.hosts, config.http.insecure), (vec!["mill.example".to_owned()], true));
        assert_eq!(config.store.sync, SyncConfig::Every(Duration::from_millis(50)));
        assert_eq!((config.store.segment, config.store.backlog), (Some(32 << 20), Some(1 << 20)));
        let intervals = (config.store.checkpoint, config.store.settle);
        assert_eq!(intervals, (Some(Duration::from_secs(1)), Some(Duration::from_mins(5))));
        let retention =
            RetentionConfig { age: Some(Duration::from_hours(1)), bytes: Some(5 << 30), hold: Hold::None };
        assert_eq!(config.store.retention, retention);
        let compile = CompileConfig {
            cpu: Some(Duration::from_secs(10)),
            memory: Some(1 << 30),
            time: Some(Duration::from_mins(1)),
            program: None,
        };
        assert_eq!(config.compile, compile);
        assert_eq!(config.log, LogConfig { format: Some(LogFormat::Json), level: "debug".to_owned() });
    }

    #[test]
    fn what_is_not_understood_names_its_line_and_the_nearest_key() {
        for (text, expected) in [
            ("plugin = \"p\"", "line 1, column 1: unknown key `plugin`, did you mean `plugins`?"),
            ("[http]\nlisten = 7070", "line 2, column 10: invalid type: integer `7070`"),
            ("[http]\nlisten = \"here\"", "line 2, column 10: invalid socket address"),
            ("[store]\nsync = \"never\"", "line 2, column 8: \"never\" is not a duration"),
            ("[store.retention]\nhold = \"handler\"", "unknown value `handler`, did you mean `handlers`?"),
            ("data = [", "line 1"),
        ] {
            let found = Config::parse(text).unwrap_err().to_string();
            assert!(found.contains(expected), "{text:?}: {found:?} lacks {expected:?}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::read(Path::new("/nowhere/tidemill.toml")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/tidemill.toml"), "{error}");
    }

    #[test]
    fn listening_beyond_this_machine_needs_a_word() {
        let mut config = Config::parse("[http]\nlisten = \"0.0.0.0:7070\"").unwrap();
        assert!(config.check().unwrap_err().to_string().contains("--insecure"));
        config.http.insecure = true;
        assert!(config.check().is_ok());
        assert!(Config::default().check().is_ok());
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tidemill.toml");
        std::fs::write(&path, "data = \"d\"\nplugins = \"/p\"").unwrap();
        let config = Config::read(&path).unwrap();
        assert_eq!((config.data, config.plugins), (dir.path().join("d"), PathBuf::from("/p")));
    }
}
