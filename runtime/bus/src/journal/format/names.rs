//! The names of the journal's files.

/// The file that makes the directory a store.
pub const STORE: &str = "STORE";
/// The same while it is being written.
pub const STORE_NEW: &str = "STORE.new";

const SEGMENT: &str = ".segment";
const NEW: &str = ".new";
const RELEASED: &str = ".old";
const DIGITS: usize = 20;

/// The numbers of the segments that a file stands for: one, or several that were joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentNumbers {
    /// The first.
    pub first: u64,
    /// The last, which may be the same.
    pub last: u64,
}

impl SegmentNumbers {
    /// Those of a segment as it is written.
    pub fn one(number: u64) -> Self {
        Self { first: number, last: number }
    }

    /// Whether it is one of them.
    pub fn contains(self, number: u64) -> bool {
        (self.first..=self.last).contains(&number)
    }

    /// The name of the file when it is complete: in use, or zeros or the bytes of an older life, up to its full length.
    pub fn name(self) -> String {
        let Self { first, last } = self;
        if first == last {
            format!("{first:020}{SEGMENT}")
        } else {
            format!("{first:020}-{last:020}{SEGMENT}")
        }
    }

    /// The name of the file while it is being filled.
    pub fn new_name(self) -> String {
        self.name() + NEW
    }

    /// The name of the file when its segments are released, until it is used again or removed.
    pub fn released_name(self) -> String {
        self.name() + RELEASED
    }

    /// The numbers in the name of a complete file.
    pub fn of_name(name: &str) -> Option<Self> {
        let numbers = name.strip_suffix(SEGMENT)?;
        let Some((first, last)) = numbers.split_once('-') else { return number_of(numbers).map(Self::one) };
        let (first, last) = (number_of(first)?, number_of(last)?);
        (first < last).then_some(Self { first, last })
    }
}

fn number_of(digits: &str) -> Option<u64> {
    let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// Whether the file is what a crash left of something that was never put in place, or is no longer.
pub fn is_leftover(name: &str) -> bool {
    let segment = name.strip_suffix(NEW).or_else(|| name.strip_suffix(RELEASED));
    name == STORE_NEW || segment.and_then(SegmentNumbers::of_name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_known_by_its_name() {
        for (first, last) in [(17, 17), (17, 18), (1, u64::MAX), (u64::MAX, u64::MAX)] {
            let numbers = SegmentNumbers { first, last };
            assert_eq!(SegmentNumbers::of_name(&numbers.name()), Some(numbers));
            assert!(is_leftover(&numbers.new_name()) && is_leftover(&numbers.released_name()));
            assert!(!is_leftover(&numbers.name()));
        }
        let backwards = SegmentNumbers { first: 3, last: 2 }.name();
        let twice = format!("{0:020}-{0:020}.segment", 4);
        for name in [
            "17.segment",
            "000000000000000000x7.segment",
            "99999999999999999999.segment",
            "00000000000000000001-2.segment",
            STORE,
            &backwards,
            &twice,
        ] {
            assert_eq!(SegmentNumbers::of_name(name), None, "{name}");
        }
    }
}
