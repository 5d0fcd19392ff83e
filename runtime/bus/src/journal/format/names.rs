//! The names of the journal's files.

/// The file that makes the directory a store.
pub const STORE: &str = "STORE";
/// The same while it is being written.
pub const STORE_NEW: &str = "STORE.new";

const SEGMENT: &str = ".segment";
const NEW: &str = ".new";

/// The name of a segment that is complete: zeros, or the bytes of an older life, up to its full length.
pub fn segment_name(number: u64) -> String {
    format!("{number:020}{SEGMENT}")
}

/// The name of a segment that is still being filled with zeros.
pub fn new_segment_name(number: u64) -> String {
    format!("{number:020}{SEGMENT}{NEW}")
}

/// The number of the segment that has this name.
pub fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT)?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Whether the file is what a crash left of something that was never put in place.
pub fn is_leftover(name: &str) -> bool {
    name == STORE_NEW || name.strip_suffix(NEW).and_then(segment_number).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_known_by_its_name() {
        assert_eq!(segment_number(&segment_name(17)), Some(17));
        assert_eq!(segment_number(&segment_name(u64::MAX)), Some(u64::MAX));
        assert!(is_leftover(&new_segment_name(17)) && !is_leftover(&segment_name(17)));
        for name in ["17.segment", "000000000000000000x7.segment", "99999999999999999999.segment", STORE] {
            assert_eq!(segment_number(name), None);
        }
    }
}
