//! Finds the places that are wanted in JSON text, in the pass that checks it. Makes no values.

use std::ops::Range;

use tidemill_json::{Cursor, Malformed};

use super::pointer::Pointer;

/// Places looked for at once: key, time and headers.
pub(super) const WANTED_MAX: usize = 3;

/// Where the wanted places lie in the text, in the order of the pointers.
pub(super) type Found = [Option<Range<usize>>; WANTED_MAX];

/// A reader of one JSON text.
pub(super) struct Scan<'a, 'p> {
    cursor: Cursor<'a>,
    wanted: &'p [Pointer],
    found: Found,
}

/// The places that are still possible on the way down, one bit each.
type Active = u8;

impl<'a, 'p> Scan<'a, 'p> {
    /// A reader of `text` that looks for `wanted`, at most [`WANTED_MAX`] pointers.
    pub(super) fn new(text: &'a str, wanted: &'p [Pointer]) -> Self {
        debug_assert!(wanted.len() <= WANTED_MAX);
        Self { cursor: Cursor::new(text), wanted, found: Found::default() }
    }

    /// Checks that the whole text is one value with nothing after it.
    pub(super) fn whole(mut self) -> Result<Found, Malformed> {
        let (_, found) = self.next_value()?;
        self.finish()?;
        Ok(found)
    }

    /// Checks that nothing but white space is left.
    pub(super) fn finish(self) -> Result<(), Malformed> {
        self.cursor.finish()
    }

    /// Reads one value, and returns where it lies with the places found in it.
    pub(super) fn next_value(&mut self) -> Result<(Range<usize>, Found), Malformed> {
        let all = (1 << self.wanted.len()) - 1;
        self.found = Found::default();
        self.cursor.skip_space();
        let place = self.value(0, all)?;
        Ok((place, std::mem::take(&mut self.found)))
    }

    /// Skips white space, then `byte` if it comes next; tells whether it did.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        self.cursor.eat(byte)
    }

    /// An error at the place reached.
    pub(super) fn refuse<T>(&self, what: &'static str) -> Result<T, Malformed> {
        self.cursor.refuse(what)
    }

    fn value(&mut self, depth: usize, active: Active) -> Result<Range<usize>, Malformed> {
        if active == 0 {
            return self.cursor.value(depth);
        }
        let start = self.cursor.at();
        match self.cursor.peek() {
            Some(b'{') => self.object(depth, active)?,
            Some(b'[') => self.array(depth, active)?,
            _ => {
                self.cursor.value(depth)?;
            }
        }
        let place = start..self.cursor.at();
        self.keep(depth, active, &place);
        Ok(place)
    }

    /// Keeps the value at `place` for the pointers that end here.
    fn keep(&mut self, depth: usize, active: Active, place: &Range<usize>) {
        for (bit, pointer) in self.wanted.iter().enumerate() {
            if active & (1 << bit) != 0 && pointer.depth() == depth {
                self.found[bit] = Some(place.clone());
            }
        }
    }

    fn object(&mut self, depth: usize, active: Active) -> Result<(), Malformed> {
        let mut inside = self.cursor.enter(depth)?;
        while let Some(name) = self.cursor.next_member(&mut inside)? {
            let inner = self.members(depth, active, name);
            self.value(depth + 1, inner)?;
        }
        Ok(())
    }

    fn array(&mut self, depth: usize, active: Active) -> Result<(), Malformed> {
        let mut inside = self.cursor.enter(depth)?;
        while let Some(index) = self.cursor.next_element(&mut inside)? {
            let inner = self.elements(depth, active, index);
            self.value(depth + 1, inner)?;
        }
        Ok(())
    }

    /// The places that lead on through the member `name` (its range includes the quotes). Of members with
    /// the same name the last one counts, as for most readers.
    fn members(&mut self, depth: usize, active: Active, name: Range<usize>) -> Active {
        let text = self.cursor.text();
        let raw = &text[name.start + 1..name.end - 1];
        let unescaped: Option<String> =
            raw.contains('\\').then(|| serde_json::from_str(&text[name]).ok()).flatten();
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
}
