//! An event's key, time and headers, taken from its value where the publisher says that they lie.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;
use tidemill_bus::Event;
use tidemill_bus::block::header;

use super::pointer::Pointer;
use super::scan::Found;

/// Where the events of a request have their key, time and headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointers {
    /// A value whose text is the key: the contents of a string, else the JSON. Missing or null: no key.
    pub key: Option<Pointer>,
    /// The event's time: milliseconds since the Unix epoch, or RFC 3339. Must be there.
    pub time: Option<Pointer>,
    /// An object whose members become headers: the contents of a string, null, else the JSON.
    pub headers: Option<Pointer>,
}

/// Makes events of values, with the places that were found in them.
pub(super) struct Fields {
    wanted: Vec<Pointer>,
    key: Option<usize>,
    time: Option<usize>,
    headers: Option<usize>,
    now_ms: i64,
    header_bytes: Vec<u8>,
}

/// A field that is not what it has to be, at a byte of the text.
pub(super) struct FieldError {
    pub(super) at: usize,
    pub(super) what: Cow<'static, str>,
}

impl FieldError {
    fn new(at: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Self { at, what: what.into() }
    }
}

impl Fields {
    /// Fields at `pointers`; events without a time of their own get `now_ms`.
    pub(super) fn new(pointers: &Pointers, now_ms: i64) -> Self {
        let mut wanted = Vec::new();
        let mut want = |pointer: &Option<Pointer>| {
            pointer.as_ref().map(|pointer| {
                wanted.push(pointer.clone());
                wanted.len() - 1
            })
        };
        let (key, time, headers) = (want(&pointers.key), want(&pointers.time), want(&pointers.headers));
        Self { wanted, key, time, headers, now_ms, header_bytes: Vec::new() }
    }

    /// The pointers to scan for.
    pub(super) fn wanted(&self) -> Vec<Pointer> {
        self.wanted.clone()
    }

    /// Hands `take` the event whose value is `value` of `text`.
    pub(super) fn event<T>(
        &mut self,
        text: &str,
        value: Range<usize>,
        found: &Found,
        take: impl FnOnce(Event<'_>) -> T,
    ) -> Result<T, FieldError> {
        let place = |field: Option<usize>| field.and_then(|field| found[field].clone());
        let key = match place(self.key) {
            Some(range) => contents(text, range)?,
            None => None,
        };
        let time = match self.time {
            Some(_) => time(text, place(self.time), value.start)?,
            None => self.now_ms,
        };
        self.header_bytes.clear();
        if let Some(range) = place(self.headers) {
            headers(text, range, &mut self.header_bytes)?;
        }
        Ok(take(Event {
            time,
            key: key.as_deref().map(str::as_bytes),
            headers: &self.header_bytes,
            value: Some(&text.as_bytes()[value]),
        }))
    }
}

/// The contents of a string, `None` for null, else the JSON text.
fn contents(text: &str, range: Range<usize>) -> Result<Option<Cow<'_, str>>, FieldError> {
    let at = range.start;
    plain(&text[range]).map_err(|what| FieldError::new(at, what))
}

fn plain(raw: &str) -> Result<Option<Cow<'_, str>>, &'static str> {
    Ok(match raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) {
        Some(inner) if !inner.contains('\\') => Some(Cow::Borrowed(inner)),
        Some(_) => {
            Some(Cow::Owned(serde_json::from_str(raw).map_err(|_| "the escapes stand for no Unicode text")?))
        }
        None if raw == "null" => None,
        None => Some(Cow::Borrowed(raw)),
    })
}

fn time(text: &str, range: Option<Range<usize>>, value_start: usize) -> Result<i64, FieldError> {
    let Some(range) = range else {
        return Err(FieldError::new(value_start, "the event has no time where `time` points"));
    };
    let (at, raw) = (range.start, &text[range]);
    let refused = || {
        FieldError::new(at, "a time is an integer of milliseconds since the Unix epoch or an RFC 3339 text")
    };
    match raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) {
        Some(inner) => {
            inner.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).map_err(|_| refused())
        }
        None => raw.parse().map_err(|_| refused()),
    }
}

fn headers(text: &str, range: Range<usize>, into: &mut Vec<u8>) -> Result<(), FieldError> {
    let at = range.start;
    let raw = &text[range];
    if raw == "null" {
        return Ok(());
    }
    let members: Members<'_> =
        serde_json::from_str(raw).map_err(|_| FieldError::new(at, "headers must be an object"))?;
    for (name, value) in members.0 {
        let value = plain(value.get()).map_err(|what| FieldError::new(at, what))?;
        header::push(into, &name, value.as_deref().map(str::as_bytes))
            .map_err(|what| FieldError::new(at, what))?;
    }
    Ok(())
}

/// The members of an object in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
