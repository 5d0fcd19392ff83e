//! The TOML file beside a plugin: every key of it, read into the flow's [`HandlerConfig`]. Knows no directory.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;
use tidemill_flow::config::{BatchLimits, CallLimits, HandlerConfig, Ordering, Retry, Start, Then};

use crate::document::{self, DocumentError};
use crate::units;

/// A plugin file that does not say what it should.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PluginFileError {
    /// Not TOML, an unknown key, a wrong type.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Keys that contradict each other, or a value that cannot be.
    #[error("{0}")]
    Value(String),
}

/// Reads the plugin file `text` of the plugin whose file's stem is `stem`. An empty text gives the same as none:
/// [`HandlerConfig::bare`].
pub fn parse(stem: &str, text: &str) -> Result<HandlerConfig, PluginFileError> {
    let file: PluginFile = document::parse(text)?;
    file.into_config(stem).map_err(PluginFileError::Value)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PluginFile {
    name: Option<String>,
    inputs: Option<Vec<String>>,
    output: Option<String>,
    outputs: Option<Vec<String>>,
    #[serde(default)]
    ordering: OrderingKey,
    #[serde(default, deserialize_with = "start")]
    start: Start,
    #[serde(default)]
    allow_cycle: bool,
    state_version: Option<NonZeroU32>,
    #[serde(default)]
    retry: RetryTable,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    batch: BatchTable,
    #[serde(default, deserialize_with = "own_keys")]
    config: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OrderingKey {
    #[default]
    Partition,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RetryTable {
    attempts: Option<u32>,
    #[serde(default, deserialize_with = "units::duration::optional")]
    backoff: Option<Duration>,
    #[serde(default, deserialize_with = "units::duration::optional")]
    max_backoff: Option<Duration>,
    then: Option<ThenKey>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ThenKey {
    DeadLetter,
    Stop,
    Drop,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LimitsTable {
    #[serde(default, deserialize_with = "units::size::optional")]
    memory: Option<usize>,
    #[serde(default, deserialize_with = "units::duration::optional")]
    deadline: Option<Duration>,
    #[serde(default, deserialize_with = "units::size::optional")]
    output: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BatchTable {
    max_events: Option<usize>,
    #[serde(default, deserialize_with = "units::size::optional")]
    max_bytes: Option<usize>,
}

/// `start`: `"earliest"`, `"latest"` or a time.
fn start<'de, D: Deserializer<'de>>(from: D) -> Result<Start, D::Error> {
    match String::deserialize(from)?.as_str() {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        time => time.parse::<jiff::Timestamp>().map(|time| Start::Time(time.as_millisecond())).map_err(|_| {
            de::Error::custom(format!(
                "{time:?} is not a start: write \"earliest\", \"latest\" or a time as in \"2026-11-21T10:00:00Z\""
            ))
        }),
    }
}

/// The handler's own keys. It gets text: what is no string in TOML comes as it is written there, lists and
/// tables come as JSON.
fn own_keys<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let table = BTreeMap::<String, toml::Value>::deserialize(from)?;
    let text = |value: toml::Value| match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Array(_) | toml::Value::Table(_) => {
            serde_json::to_string(&value).map_err(de::Error::custom)
        }
        plain => Ok(plain.to_string()),
    };
    table.into_iter().map(|(key, value)| Ok((key, text(value)?))).collect()
}

impl PluginFile {
    fn into_config(self, stem: &str) -> Result<HandlerConfig, String> {
        let bare = HandlerConfig::bare(self.name.as_deref().unwrap_or(stem));
        let outputs = match (self.output, self.outputs) {
            (Some(_), Some(_)) => return Err("`output` and `outputs` are both given: keep one".to_owned()),
            (Some(output), None) => vec![output],
            (None, outputs) => outputs.unwrap_or(bare.outputs),
        };
        let config = HandlerConfig {
            name: bare.name,
            inputs: self.inputs.unwrap_or(bare.inputs),
            outputs,
            ordering: match self.ordering {
                OrderingKey::Partition => Ordering::Partition,
            },
            start: self.start,
            allow_cycle: self.allow_cycle,
            retry: self.retry.or_default(),
            limits: self.limits.or_default(),
            batch: self.batch.or_default(),
            state_version: self.state_version.map_or(bare.state_version, NonZeroU32::get),
            config: self.config,
        };
        check(&config)?;
        Ok(config)
    }
}

impl RetryTable {
    fn or_default(self) -> Retry {
        let default = Retry::default();
        let backoff = self.backoff.unwrap_or(default.backoff);
        Retry {
            attempts: self.attempts.unwrap_or(default.attempts),
            backoff,
            max_backoff: self.max_backoff.unwrap_or(default.max_backoff.max(backoff)),
            then: self.then.map_or(default.then, |then| match then {
                ThenKey::DeadLetter => Then::DeadLetter,
                ThenKey::Stop => Then::Stop,
                ThenKey::Drop => Then::Drop,
            }),
        }
    }
}

impl LimitsTable {
    fn or_default(self) -> CallLimits {
        let default = CallLimits::default();
        CallLimits {
            memory: self.memory.unwrap_or(default.memory),
            deadline: self.deadline.unwrap_or(default.deadline),
            output: self.output.unwrap_or(default.output),
        }
    }
}

impl BatchTable {
    fn or_default(self) -> BatchLimits {
        let default = BatchLimits::default();
        BatchLimits {
            max_events: self.max_events.unwrap_or(default.max_events),
            max_bytes: self.max_bytes.unwrap_or(default.max_bytes),
        }
    }
}

/// Values that no handler can run with.
fn check(config: &HandlerConfig) -> Result<(), String> {
    if !is_name(&config.name) {
        return Err(format!("the name {:?} is not {NAME_RULE}", config.name));
    }
    if config.inputs.is_empty() {
        return Err("`inputs` is empty: name a topic to read".to_owned());
    }
    if let Some(input) = config.inputs.iter().find(|input| !is_name(input)) {
        return Err(format!("the input {input:?} is not a topic's name: {NAME_RULE}"));
    }
    if let Some(output) = config.outputs.iter().find(|output| !is_name(&output.replace('*', "x"))) {
        return Err(format!("the output {output:?} is not a topic's name or glob: {NAME_RULE}, and `*`"));
    }
    let zero = [
        ("retry.attempts", config.retry.attempts == 0),
        ("limits.memory", config.limits.memory == 0),
        ("limits.deadline", config.limits.deadline.is_zero()),
        ("limits.output", config.limits.output == 0),
        ("batch.max-events", config.batch.max_events == 0),
        ("batch.max-bytes", config.batch.max_bytes == 0),
    ];
    if let Some((key, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
        return Err(format!("`{key}` is 0: nothing could run"));
    }
    if config.retry.max_backoff < config.retry.backoff {
        return Err("`retry.max-backoff` is below `retry.backoff`".to_owned());
    }
    Ok(())
}

const NAME_RULE: &str = "1 to 249 of the characters A-Z a-z 0-9 . _ -";

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=249).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
        name = "quakes-to-alerts"
        inputs = ["quakes", "more-quakes"]
        outputs = ["alerts", "regions-*"]
        ordering = "partition"
        start = "2026-11-21T10:00:00Z"
        allow-cycle = true
        state-version = 3

        [retry]
        attempts = 3
        backoff = "250ms"
        max-backoff = "1m"
        then = "stop"

        [limits]
        memory = "16MiB"
        deadline = "2s"
        output = "1MiB"

        [batch]
        max-events = 100
        max-bytes = "8KiB"

        [config]
        minimum-magnitude = 4.5
        region = "Alaska"
        exact = true
        fields = ["place", "mag"]
    "#;

    fn error(text: &str) -> String {
        parse("quakes", text).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_as_good_as_none() {
        assert_eq!(parse("quakes", ""), Ok(HandlerConfig::bare("quakes")));
    }

    #[test]
    fn every_key_is_read() {
        let config = parse("quake-alerts", FULL).unwrap();
        let own = [("exact", "true"), ("fields", "[\"place\",\"mag\"]"), ("minimum-magnitude", "4.5")];
        let own = own.into_iter().chain([("region", "Alaska")]);
        let expected = HandlerConfig {
            name: "quakes-to-alerts".to_owned(),
            inputs: vec!["quakes".to_owned(), "more-quakes".to_owned()],
            outputs: vec!["alerts".to_owned(), "regions-*".to_owned()],
            ordering: Ordering::Partition,
            start: Start::Time(1_795_255_200_000),
            allow_cycle: true,
            retry: Retry {
                attempts: 3,
                backoff: Duration::from_millis(250),
                max_backoff: Duration::from_mins(1),
                then: Then::Stop,
            },
            limits: CallLimits { memory: 16 << 20, deadline: Duration::from_secs(2), output: 1 << 20 },
            batch: BatchLimits { max_events: 100, max_bytes: 8 << 10 },
            state_version: 3,
            config: own.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn one_output_or_many_but_not_both() {
        assert_eq!(parse("a", "output = \"b\"").unwrap().outputs, ["b"]);
        assert_eq!(parse("a", "outputs = []").unwrap().outputs, Vec::<String>::new());
        assert!(error("output = \"b\"\noutputs = [\"c\"]").contains("keep one"));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (text, expected) in [
            ("inptus = []", "line 1, column 1: unknown key `inptus`, did you mean `inputs`?"),
            ("[limits]\nmemroy = \"1MiB\"", "line 2, column 1: unknown key `memroy`, did you mean `memory`?"),
            (
                "[limits]\nmemory = 5",
                "line 2, column 10: invalid type: integer `5`, expected a size, as in \"64MiB\"",
            ),
            ("[limits]\nmemory = \"5MB\"", "line 2, column 10: \"5MB\" is not a size"),
            ("[retry]\nbackoff = \"fast\"", "line 2, column 11: \"fast\" is not a duration"),
            ("[retry]\nthen = \"dead-leter\"", "unknown value `dead-leter`, did you mean `dead-letter`?"),
            ("start = \"yesterday\"", "line 1, column 9: \"yesterday\" is not a start"),
            ("name = \"no spaces\"", "the name \"no spaces\" is not 1 to 249"),
            ("inputs = []", "`inputs` is empty"),
            ("inputs = [\"a/b\"]", "the input \"a/b\" is not a topic's name"),
            ("outputs = [\"a b*\"]", "the output \"a b*\" is not a topic's name or glob"),
            ("[limits]\ndeadline = \"0s\"", "`limits.deadline` is 0"),
            ("[retry]\nbackoff = \"2s\"\nmax-backoff = \"1s\"", "`retry.max-backoff` is below"),
        ] {
            let found = error(text);
            assert!(found.contains(expected), "{text:?}: {found:?} lacks {expected:?}");
        }
    }
}
