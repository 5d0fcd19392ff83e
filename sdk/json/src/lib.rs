//! JSON text (RFC 8259) checked and gone through step by step, without making values. Allocates nothing, bounds its depth,
//! and knows neither pointers nor events: whoever looks for a place says at each member whether to go on into it.
//!
//! Ours because it has to be exact, bounded and fast at once, natively and in a guest: `serde_json` makes values or
//! needs a pass for each place, and the skipping readers of sonic-rs 0.5 neither check `\u` escapes nor bound their
//! recursion, and call a function for each byte where there is none of the instructions that they are made for.

use std::fmt;
use std::ops::Range;

/// Levels that a value may be nested: as deep as people write, and a stack takes it.
pub const DEPTH_MAX: usize = 128;

/// Where a text stops being JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The byte, from 0.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for Malformed {}

/// A place in a text that is gone through from its start.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The start of `text`.
    #[inline]
    pub fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0 }
    }

    /// The whole text.
    #[inline]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The byte that comes next, from 0.
    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// What comes next, white space included; `None` at the end.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Goes over white space.
    #[inline]
    pub fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Goes over white space, and over `byte` if it comes next; tells whether it did.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// An error at this place.
    #[cold]
    pub fn refuse<T>(&self, what: &'static str) -> Result<T, Malformed> {
        let what = if self.at == self.bytes.len() { "the text ends within a value" } else { what };
        Err(Malformed { at: self.at, what })
    }

    /// Checks that nothing but white space is left.
    pub fn finish(mut self) -> Result<(), Malformed> {
        self.skip_space();
        if self.at < self.bytes.len() { self.refuse("expected the end of the text") } else { Ok(()) }
    }

    /// Goes over white space and one value that lies `depth` levels deep, and returns where it lies.
    pub fn value(&mut self, depth: usize) -> Result<Range<usize>, Malformed> {
        self.skip_space();
        let start = self.at;
        match self.peek() {
            Some(b'"') => {
                self.string()?;
            }
            Some(b'{') => {
                let mut members = self.enter(depth)?;
                while self.next_member(&mut members)?.is_some() {
                    self.value(depth + 1)?;
                }
            }
            Some(b'[') => {
                let mut elements = self.enter(depth)?;
                while self.next_element(&mut elements)?.is_some() {
                    self.value(depth + 1)?;
                }
            }
            _ => self.scalar()?,
        }
        Ok(start..self.at)
    }

    /// Goes over a number, `true`, `false` or `null`, which must come next.
    pub fn scalar(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.refuse("expected a value"),
        }
    }

    /// Goes into the object or array that lies `depth` levels deep and whose brace or bracket comes next.
    pub fn enter(&mut self, depth: usize) -> Result<Inside, Malformed> {
        if depth == DEPTH_MAX {
            return self.refuse("nested more than 128 levels deep");
        }
        self.at += 1;
        Ok(Inside { passed: 0 })
    }

    /// Goes on from the brace or the last member's value to the next one's, and returns where its name lies, quotes
    /// included; `None` after the closing brace.
    pub fn next_member(&mut self, inside: &mut Inside) -> Result<Option<Range<usize>>, Malformed> {
        if self.eat(b'}') {
            return Ok(None);
        }
        if inside.passed > 0 && !self.eat(b',') {
            return self.refuse("expected a comma or a closing brace");
        }
        inside.passed += 1;
        self.skip_space();
        if self.peek() != Some(b'"') {
            return self.refuse("expected a member's name in double quotes");
        }
        let name = self.string()?;
        if !self.eat(b':') {
            return self.refuse("expected a colon after a member's name");
        }
        self.skip_space();
        Ok(Some(name))
    }

    /// Goes on from the bracket or the last element to the next one, and returns its index; `None` after the closing
    /// bracket.
    pub fn next_element(&mut self, inside: &mut Inside) -> Result<Option<usize>, Malformed> {
        if self.eat(b']') {
            return Ok(None);
        }
        if inside.passed > 0 && !self.eat(b',') {
            return self.refuse("expected a comma or a closing bracket");
        }
        inside.passed += 1;
        self.skip_space();
        Ok(Some(inside.passed - 1))
    }

    /// Goes over a string, whose quote comes next, and returns where it lies, quotes included.
    pub fn string(&mut self) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        self.at += 1;
        loop {
            self.skip_plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(start..self.at);
                }
                Some(b'\\') => self.escape()?,
                Some(0x20..) => self.at += 1,
                _ => return self.refuse("a control character within a string must be escaped"),
            }
        }
    }

    /// Goes on to the next quote, backslash or control character, eight bytes at a time, or to within eight
    /// bytes of the end.
    fn skip_plain(&mut self) {
        const LOW: u64 = u64::from_le_bytes([1; 8]);
        const HIGH: u64 = LOW << 7;
        let zeros = |word: u64| word.wrapping_sub(LOW) & !word;
        while let Some(eight) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_le_bytes(*eight);
            let control = word.wrapping_sub(LOW * 0x20) & !word;
            let quote = zeros(word ^ (LOW * u64::from(b'"')));
            let backslash = zeros(word ^ (LOW * u64::from(b'\\')));
            // The lowest bit is exact; those above it may come from a borrow.
            let special = (control | quote | backslash) & HIGH;
            if special != 0 {
                self.at += special.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return self.refuse("expected four hexadecimal digits");
                    }
                    self.at += 1;
                }
            }
            _ => return self.refuse("unknown escape"),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Malformed> {
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return self.refuse("expected a digit"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return self.refuse("expected a digit");
        }
        self.skip_digits();
        Ok(())
    }

    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn literal(&mut self, literal: &str) -> Result<(), Malformed> {
        if !self.bytes[self.at..].starts_with(literal.as_bytes()) {
            return self.refuse("expected true, false or null");
        }
        self.at += literal.len();
        Ok(())
    }
}

/// How far a cursor has come in an object or array that it went into.
#[derive(Clone, Copy, Debug)]
pub struct Inside {
    passed: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(text);
        cursor.value(0)?;
        cursor.finish()
    }

    /// JSON as people write it, and text that is nearly JSON.
    fn nearly_json() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(","),
            Just(":"),
            Just("\"a\""),
            Just("\"\\u00e9\""),
            Just("\"\\u0g\""),
            Just("\"\\x\""),
            Just("\"long enough for words\""),
            Just("\"\u{1}\""),
            Just("0"),
            Just("-1.5e+3"),
            Just("01"),
            Just("1."),
            Just("-"),
            Just("true"),
            Just("nul"),
            Just("null"),
            Just(" "),
            Just("\n"),
            Just("\""),
            Just("é"),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_serde_json_accepts_is_accepted_and_nothing_else(text in nearly_json()) {
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(whole(&text).is_ok(), is_json);
        }
    }

    #[test]
    fn an_error_tells_its_byte() {
        for (text, at, what) in [
            (r#"{"a":}"#, 5, "expected a value"),
            (r#"{"a" 1}"#, 5, "expected a colon after a member's name"),
            (r#"{"a":1"#, 6, "the text ends within a value"),
            (r#"{"a":1,}"#, 7, "expected a member's name in double quotes"),
            ("1 2", 2, "expected the end of the text"),
            ("[1,]", 3, "expected a value"),
            ("\"abcdefghijk\u{7}\"", 12, "a control character within a string must be escaped"),
        ] {
            assert_eq!(whole(text), Err(Malformed { at, what }), "{text}");
        }
    }

    #[test]
    fn a_value_is_nested_up_to_the_bound() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(whole(&nested(DEPTH_MAX)), Ok(()));
        let what = "nested more than 128 levels deep";
        assert_eq!(whole(&nested(DEPTH_MAX + 1)), Err(Malformed { at: DEPTH_MAX, what }));
    }
}
