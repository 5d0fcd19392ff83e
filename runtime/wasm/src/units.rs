//! Durations and sizes as people write them: `"500ms"`, `"64MiB"`. Owns their grammar; knows no file.
//!
//! The modules [`duration`] and [`size`] go with `#[serde(deserialize_with = "…")]`.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// Text that is not a duration or not a size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("{0:?} is not a duration: write a whole number and ms, s, m, h or d, as in \"500ms\"")]
    Duration(String),
    /// Not a size.
    #[error("{0:?} is not a size: write a whole number and B, KiB, MiB or GiB, as in \"64MiB\"")]
    Size(String),
}

/// Milliseconds of each unit of time.
const MS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Bytes of each unit of size. Powers of ten are left out: nobody means 64,000,000 bytes of memory.
const BYTES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads a duration: a whole number and `ms`, `s`, `m`, `h` or `d`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    scaled(text, &MS).map(Duration::from_millis).ok_or_else(|| UnitError::Duration(text.to_owned()))
}

/// Reads a size: a whole number and `B`, `KiB`, `MiB` or `GiB`.
pub fn parse_size(text: &str) -> Result<usize, UnitError> {
    scaled(text, &BYTES)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| UnitError::Size(text.to_owned()))
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

/// Text for serde, which hands it over as borrowed or owned.
struct Text(&'static str);

impl serde::de::Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// `#[serde(deserialize_with = "units::duration::deserialize")]`, and `…::optional` for an `Option`.
pub mod duration {
    use std::time::Duration;

    use serde::de::{Deserializer, Error};

    /// Reads a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = from.deserialize_str(super::Text("a duration, as in \"500ms\""))?;
        super::parse_duration(&text).map_err(Error::custom)
    }

    /// Reads a duration that may be absent; wants `#[serde(default)]` too.
    pub fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        deserialize(from).map(Some)
    }
}

/// `#[serde(deserialize_with = "units::size::deserialize")]`, and `…::optional` for an `Option`.
pub mod size {
    use serde::de::{Deserializer, Error};

    /// Reads a size in bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
        let text = from.deserialize_str(super::Text("a size, as in \"64MiB\""))?;
        super::parse_size(&text).map_err(Error::custom)
    }

    /// Reads a size that may be absent; wants `#[serde(default)]` too.
    pub fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
        deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_as_people_write_them() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2 h"), Ok(Duration::from_hours(2)));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("0B"), Ok(0));
    }

    #[test]
    fn what_is_no_unit_is_refused_with_an_example() {
        for text in
            ["", "5", "ms", "-1s", "1.5s", "5 fortnights", "99999999999999999999d", "18446744073709551615d"]
        {
            let error = parse_duration(text).unwrap_err();
            assert!(error.to_string().contains("500ms"), "{error}");
        }
        assert!(parse_size("64MB").unwrap_err().to_string().contains("64MiB"));
    }
}
