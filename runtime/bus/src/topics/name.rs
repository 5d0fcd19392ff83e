//! The rule for names of topics and handlers. Knows no metadata.

use crate::limits::NAME_BYTES_MAX;
use crate::log::AdminError;

/// Checks a name: 1 to 249 of the letters, digits, `.`, `_` and `-` (as Apache Kafka has it), and neither
/// `.` nor `..`, which would be directories.
pub(crate) fn check_name(name: &str) -> Result<(), AdminError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let rule = if name.is_empty() {
        "a name is not empty"
    } else if name.len() > NAME_BYTES_MAX {
        "a name has at most 249 characters"
    } else if !name.bytes().all(allowed) {
        "a name is made of letters, digits, '.', '_' and '-'"
    } else if name == "." || name == ".." {
        "'.' and '..' are directories"
    } else {
        return Ok(());
    };
    Err(AdminError::InvalidName { name: name.to_owned(), rule })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_of_kafka() {
        for good in ["a", "quakes", "_dead.alerts", "A-1.b_2", &"x".repeat(249)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            assert!(matches!(check_name(bad), Err(AdminError::InvalidName { .. })), "{bad}");
        }
    }
}
