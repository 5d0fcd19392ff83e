//! JSON that is read only where it is looked at, and whole serde types as JSON.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use tidemill_json::Cursor;

use crate::{EventValue, Failure};

/// A serde type as JSON: the value of an emitted event, or of a [`Cell`](crate::Cell).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl Json<()> {
    /// Reads a whole text; rejects what does not fit.
    pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Failure> {
        sonic_rs::from_slice(bytes).map_err(malformed)
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize> EventValue for Json<T> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        sonic_rs::to_writer(out, &self.0)
            .map_err(|error| Failure::reject(format!("cannot write JSON: {error}")))
    }
}

/// Text that is taken for JSON and read only where it is looked at: what lies behind that place is not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LazyJson<'a> {
    text: &'a str,
}

impl<'a> LazyJson<'a> {
    /// Takes `text` for JSON.
    pub fn new(text: &'a str) -> Self {
        Self { text: text.trim_ascii() }
    }

    /// The text.
    pub fn raw(&self) -> &'a str {
        self.text
    }

    /// The member of this name, if this is an object that has it. Rejects malformed JSON up to there.
    pub fn field(&self, name: &str) -> Result<Option<LazyJson<'a>>, Failure> {
        if self.text.starts_with('{') { self.step(&[name]) } else { self.none() }
    }

    /// What `pointer` leads to, if it leads anywhere. Rejects malformed JSON up to there.
    pub fn get(&self, pointer: &Pointer) -> Result<Option<LazyJson<'a>>, Failure> {
        match &pointer.path {
            Path::Names(names) if names.is_empty() => Ok(Some(*self)),
            Path::Names(names) if self.text.starts_with('{') => self.step(names),
            Path::Names(_) => self.none(),
            Path::Mixed(tokens) => self.walk(tokens),
        }
    }

    /// Its number as a double, if it is a number.
    pub fn as_f64(&self) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a short number has at most 15 digits, a double holds 2^53"
        )]
        let short = self.short().map(|number| number as f64);
        short.or_else(|| self.read_if(|first| first == b'-' || first.is_ascii_digit()))
    }

    /// Its number, if it is a whole one in range.
    pub fn as_i64(&self) -> Option<i64> {
        let short = self.short().and_then(|number| i64::try_from(number).ok());
        short.or_else(|| self.read_if(|first| first == b'-' || first.is_ascii_digit()))
    }

    /// Its number, if it is a whole one in range.
    pub fn as_u64(&self) -> Option<u64> {
        self.short().or_else(|| self.read_if(|first| first.is_ascii_digit()))
    }

    /// Its truth, if it is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self.text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// Its text, if it is a string; borrowed if nothing in it is escaped.
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
        if inner.bytes().any(|byte| byte == b'\\' || byte == b'"' || byte < b' ') {
            return sonic_rs::from_str(self.text).ok().map(Cow::Owned);
        }
        Some(Cow::Borrowed(inner))
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.text == "null"
    }

    /// Reads it as a whole; rejects what does not fit.
    pub fn parse<T: Deserialize<'a>>(&self) -> Result<T, Failure> {
        Json::decode(self.text.as_bytes())
    }

    /// Its number if it is nothing but a few digits, as most numbers are.
    fn short(&self) -> Option<u64> {
        let digits = self.text.as_bytes();
        if digits.is_empty() || digits.len() > SHORT_DIGITS || (digits[0] == b'0' && digits.len() > 1) {
            return None;
        }
        digits.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| 10 * number + u64::from(digit - b'0'))
        })
    }

    fn read_if<T: DeserializeOwned>(&self, begins: impl Fn(u8) -> bool) -> Option<T> {
        let first = *self.text.as_bytes().first()?;
        if begins(first) { sonic_rs::from_str(self.text).ok() } else { None }
    }

    /// Goes down by names, from an object.
    fn step<N: AsRef<str>>(&self, names: &[N]) -> Result<Option<LazyJson<'a>>, Failure> {
        let mut cursor = Cursor::new(self.text);
        for (depth, name) in names.iter().enumerate() {
            if cursor.peek() != Some(b'{') || !go_into_member(&mut cursor, depth, name.as_ref())? {
                return Ok(None);
            }
        }
        self.rest(cursor, names.len()).map(Some)
    }

    /// Goes down one by one: whether a token is an index or a name depends on what it is applied to.
    fn walk(&self, tokens: &[Token]) -> Result<Option<LazyJson<'a>>, Failure> {
        let mut cursor = Cursor::new(self.text);
        for (depth, token) in tokens.iter().enumerate() {
            let is_there = match (cursor.peek(), token.index) {
                (Some(b'{'), _) => go_into_member(&mut cursor, depth, &token.name)?,
                (Some(b'['), Some(index)) => go_into_element(&mut cursor, depth, index)?,
                _ => cursor.value(depth).map(|_| false).map_err(malformed)?,
            };
            if !is_there {
                return Ok(None);
            }
        }
        self.rest(cursor, tokens.len()).map(Some)
    }

    /// The value that comes next, `depth` levels deep.
    fn rest(&self, mut cursor: Cursor<'a>, depth: usize) -> Result<LazyJson<'a>, Failure> {
        let place = cursor.value(depth).map_err(malformed)?;
        Ok(Self { text: &self.text[place] })
    }

    /// Nothing, from what has no members: if it is JSON at all.
    fn none(&self) -> Result<Option<LazyJson<'a>>, Failure> {
        let mut cursor = Cursor::new(self.text);
        cursor.value(0).and_then(|_| cursor.finish()).map_err(malformed)?;
        Ok(None)
    }
}

/// Digits of a number that is read here: every such number is a double.
const SHORT_DIGITS: usize = 15;

/// Goes on to the value of the first member of this name of the object that comes next; false if there is none.
fn go_into_member(cursor: &mut Cursor<'_>, depth: usize, name: &str) -> Result<bool, Failure> {
    let mut inside = cursor.enter(depth).map_err(malformed)?;
    while let Some(written) = cursor.next_member(&mut inside).map_err(malformed)? {
        if is_name(&cursor.text()[written], name) {
            return Ok(true);
        }
        cursor.value(depth + 1).map_err(malformed)?;
    }
    Ok(false)
}

/// Goes on to an element of the array that comes next; false if it is shorter.
fn go_into_element(cursor: &mut Cursor<'_>, depth: usize, index: usize) -> Result<bool, Failure> {
    let mut inside = cursor.enter(depth).map_err(malformed)?;
    while let Some(passed) = cursor.next_element(&mut inside).map_err(malformed)? {
        if passed == index {
            return Ok(true);
        }
        cursor.value(depth + 1).map_err(malformed)?;
    }
    Ok(false)
}

/// Whether a name as it is written, with its quotes, is this one.
fn is_name(written: &str, name: &str) -> bool {
    let inner = &written[1..written.len() - 1];
    if inner.contains('\\') {
        return sonic_rs::from_str::<String>(written).is_ok_and(|unescaped| unescaped == name);
    }
    inner == name
}

#[cold]
fn malformed(error: impl fmt::Display) -> Failure {
    let message = error.to_string();
    Failure::reject(format!("malformed JSON: {}", message.lines().next().unwrap_or_default()))
}

/// A JSON pointer (RFC 6901), parsed once: `/properties/mag`, or empty for the whole text. Can be a field of a
/// handler's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    path: Path,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Path {
    /// No token can be an index: one pass finds the place.
    Names(Vec<String>),
    Mixed(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    name: String,
    index: Option<usize>,
}

/// A text that is no JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointerError(String);

impl fmt::Display for PointerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a JSON pointer, such as `/name` or `/names/0`", self.0)
    }
}

impl std::error::Error for PointerError {}

impl Pointer {
    /// Parses a pointer: empty, or `/` before each name or index, with `~1` for `/` and `~0` for `~`.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        let wrong = || PointerError(text.to_owned());
        let mut tokens = text.split('/');
        if tokens.next() != Some("") {
            return Err(wrong());
        }
        let tokens: Vec<Token> =
            tokens.map(|token| Token::parse(token).ok_or_else(wrong)).collect::<Result<_, _>>()?;
        let path = if tokens.iter().any(|token| token.index.is_some()) {
            Path::Mixed(tokens)
        } else {
            Path::Names(tokens.into_iter().map(|token| token.name).collect())
        };
        Ok(Self { text: text.to_owned(), path })
    }

    /// Its last name or index; empty for the whole text.
    pub fn last(&self) -> &str {
        match &self.path {
            Path::Names(names) => names.last().map_or("", String::as_str),
            Path::Mixed(tokens) => tokens.last().map_or("", |token| token.name.as_str()),
        }
    }
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let mut name = String::with_capacity(text.len());
        let mut rest = text.chars();
        while let Some(char) = rest.next() {
            name.push(match char {
                '~' => match rest.next()? {
                    '0' => '~',
                    '1' => '/',
                    _ => return None,
                },
                char => char,
            });
        }
        let is_index =
            name == "0" || (!name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit()));
        let index = if is_index { name.parse().ok() } else { None };
        Some(Self { name, index })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}
