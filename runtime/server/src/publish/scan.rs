//! Checks JSON text in one pass and finds the places that are wanted. Makes no values.
//!
//! Ours because it has to be exact, bounded and fast at once: the skipping readers of sonic-rs neither
//! check `\u` escapes nor bound their recursion, and `serde_json` would need a second pass for the places.

use std::ops::Range;

use super::pointer::Pointer;
use crate::limits::JSON_DEPTH_MAX;

/// Where the text stops being JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScanError {
    /// The byte.
    pub(super) at: usize,
    /// What is wrong there.
    pub(super) what: &'static str,
}

/// Places looked for at once: key, time and headers.
pub(super) const WANTED_MAX: usize = 3;

/// Where the wanted places lie in the text, in the order of the pointers.
pub(super) type Found = [Option<Range<usize>>; WANTED_MAX];

/// A reader of one JSON text.
pub(super) struct Scan<'a, 'p> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    wanted: &'p [Pointer],
    found: Found,
}

/// The places that are still possible on the way down, one bit each.
type Active = u8;

impl<'a, 'p> Scan<'a, 'p> {
    /// A reader of `text` that looks for `wanted`, at most [`WANTED_MAX`] pointers.
    pub(super) fn new(text: &'a str, wanted: &'p [Pointer]) -> Self {
        debug_assert!(wanted.len() <= WANTED_MAX);
        Self { text, bytes: text.as_bytes(), at: 0, wanted, found: Found::default() }
    }

    /// Checks that the whole text is one value with nothing after it.
    pub(super) fn whole(mut self) -> Result<Found, ScanError> {
        let (_, found) = self.next_value()?;
        self.finish()?;
        Ok(found)
    }

    /// Checks that nothing but white space is left.
    pub(super) fn finish(mut self) -> Result<(), ScanError> {
        self.skip_space();
        if self.at < self.bytes.len() { self.refuse("expected the end of the text") } else { Ok(()) }
    }

    /// Reads one value, and returns where it lies with the places found in it.
    pub(super) fn next_value(&mut self) -> Result<(Range<usize>, Found), ScanError> {
        let all = (1 << self.wanted.len()) - 1;
        self.found = Found::default();
        self.skip_space();
        let start = self.at;
        self.value(0, all)?;
        Ok((start..self.at, std::mem::take(&mut self.found)))
    }

    /// Skips white space, then `byte` if it comes next; tells whether it did.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// An error at the place reached.
    pub(super) fn refuse<T>(&self, what: &'static str) -> Result<T, ScanError> {
        let what = if self.at == self.bytes.len() { "the text ends within a value" } else { what };
        Err(ScanError { at: self.at, what })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize, active: Active) -> Result<(), ScanError> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => {
                self.string()?;
            }
            Some(b'{') => self.object(depth, active)?,
            Some(b'[') => self.array(depth, active)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal("true")?,
            Some(b'f') => self.literal("false")?,
            Some(b'n') => self.literal("null")?,
            _ => return self.refuse("expected a value"),
        }
        if active != 0 {
            self.keep(depth, active, start);
        }
        Ok(())
    }

    /// Keeps the value that began at `start` for the pointers that end here.
    fn keep(&mut self, depth: usize, active: Active, start: usize) {
        for (bit, pointer) in self.wanted.iter().enumerate() {
            if active & (1 << bit) != 0 && pointer.depth() == depth {
                self.found[bit] = Some(start..self.at);
            }
        }
    }

    fn object(&mut self, depth: usize, active: Active) -> Result<(), ScanError> {
        self.enter(depth)?;
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return self.refuse("expected a member's name in double quotes");
            }
            let name = self.string()?;
            if !self.eat(b':') {
                return self.refuse("expected a colon after a member's name");
            }
            let inner = if active == 0 { 0 } else { self.members(depth, active, name) };
            self.skip_space();
            self.value(depth + 1, inner)?;
            if self.eat(b'}') {
                return Ok(());
            }
            if !self.eat(b',') {
                return self.refuse("expected a comma or a closing brace");
            }
        }
    }

    fn array(&mut self, depth: usize, active: Active) -> Result<(), ScanError> {
        self.enter(depth)?;
        if self.eat(b']') {
            return Ok(());
        }
        for index in 0.. {
            let inner = if active == 0 { 0 } else { self.elements(depth, active, index) };
            self.skip_space();
            self.value(depth + 1, inner)?;
            if self.eat(b']') {
                return Ok(());
            }
            if !self.eat(b',') {
                return self.refuse("expected a comma or a closing bracket");
            }
        }
        Ok(())
    }

    fn enter(&mut self, depth: usize) -> Result<(), ScanError> {
        if depth == JSON_DEPTH_MAX {
            return self.refuse("nested more than 128 levels deep");
        }
        self.at += 1;
        Ok(())
    }

    /// The places that lead on through the member `name` (its range includes the quotes). Of members with
    /// the same name the last one counts, as for most readers.
    fn members(&mut self, depth: usize, active: Active, name: Range<usize>) -> Active {
        let raw = &self.text[name.start + 1..name.end - 1];
        let unescaped: Option<String> =
            raw.contains('\\').then(|| serde_json::from_str(&self.text[name]).ok()).flatten();
        let name: &str = unescaped.as_deref().unwrap_or(raw);
        let wanted = self.wanted;
        self.lead_on(active, |bit| wanted[bit].names(depth, name))
    }

    fn elements(&mut self, depth: usize, active: Active, index: usize) -> Active {
        let wanted = self.wanted;
        self.lead_on(active, |bit| wanted[bit].indexes(depth, index))
    }

    fn lead_on(&mut self, active: Active, leads: impl Fn(usize) -> bool) -> Active {
        let mut inner = 0;
        for bit in 0..self.wanted.len() {
            if active & (1 << bit) != 0 && leads(bit) {
                inner |= 1 << bit;
                self.found[bit] = None;
            }
        }
        inner
    }

    /// Reads a string and returns where it lies, quotes included.
    fn string(&mut self) -> Result<Range<usize>, ScanError> {
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
        while let Some(eight) = self.bytes[self.at..].first_chunk() {
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

    fn escape(&mut self) -> Result<(), ScanError> {
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

    fn number(&mut self) -> Result<(), ScanError> {
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

    fn digits(&mut self) -> Result<(), ScanError> {
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

    fn literal(&mut self, literal: &str) -> Result<(), ScanError> {
        if !self.bytes[self.at..].starts_with(literal.as_bytes()) {
            return self.refuse("expected true, false or null");
        }
        self.at += literal.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pointers(texts: &[&str]) -> Vec<Pointer> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn found<'a>(text: &'a str, pointer: &str) -> Option<&'a str> {
        let wanted = pointers(&[pointer]);
        let found = Scan::new(text, &wanted).whole().unwrap();
        found[0].clone().map(|range| &text[range])
    }

    fn is_json(text: &str) -> bool {
        Scan::new(text, &[]).whole().is_ok()
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

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::btree_map("[a-c/~\"\\\\]{1,2}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Every place of a value with the pointer that leads there.
    fn places(value: &serde_json::Value, path: &str, into: &mut Vec<(String, String)>) {
        into.push((path.to_owned(), value.to_string()));
        match value {
            serde_json::Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    places(value, &format!("{path}/{index}"), into);
                }
            }
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    places(value, &format!("{path}/{name}"), into);
                }
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn accepts_exactly_what_serde_json_accepts(text in nearly_json()) {
            prop_assert_eq!(is_json(&text), serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok());
        }

        #[test]
        fn finds_every_place_of_a_value(value in value()) {
            let text = value.to_string();
            let mut all = Vec::new();
            places(&value, "", &mut all);
            for (pointer, expected) in all {
                prop_assert_eq!(found(&text, &pointer), Some(&*expected), "{}", pointer);
            }
        }
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        assert_eq!(found(r#"{"a":1,"a":2}"#, "/a"), Some("2"));
        assert_eq!(found(r#"{"a":{"b":1},"a":{}}"#, "/a/b"), None);
        assert_eq!(found(r#"{"\u0061":1}"#, "/a"), Some("1"));
    }

    #[test]
    fn an_error_tells_its_byte() {
        for (text, at, what) in [
            (r#"{"a":}"#, 5, "expected a value"),
            (r#"{"a" 1}"#, 5, "expected a colon after a member's name"),
            (r#"{"a":1"#, 6, "the text ends within a value"),
            ("1 2", 2, "expected the end of the text"),
            ("[1,]", 3, "expected a value"),
            ("\"abcdefghijk\u{7}\"", 12, "a control character within a string must be escaped"),
        ] {
            assert_eq!(Scan::new(text, &[]).whole(), Err(ScanError { at, what }), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(is_json(&nested(JSON_DEPTH_MAX)));
        assert!(!is_json(&nested(JSON_DEPTH_MAX + 1)));
        assert!(!is_json(&"[".repeat(1 << 20)));
    }
}
