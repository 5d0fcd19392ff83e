//! JSON pointers (RFC 6901): the place in an event of its key, time or headers. Knows no event.

use std::str::FromStr;

use thiserror::Error;

use crate::limits::POINTER_BYTES_MAX;

/// A parsed JSON pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointer {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    name: String,
    index: Option<usize>,
}

/// Text that is no JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no JSON pointer: {rule}")]
pub struct PointerError {
    text: String,
    rule: &'static str,
}

impl Pointer {
    /// Number of steps from the whole value down to the place.
    pub(super) fn depth(&self) -> usize {
        self.tokens.len()
    }

    /// Whether the step at `depth` is the member `name`.
    pub(super) fn names(&self, depth: usize, name: &str) -> bool {
        self.tokens.get(depth).is_some_and(|token| token.name == name)
    }

    /// Whether the step at `depth` is the element `index`.
    pub(super) fn indexes(&self, depth: usize, index: usize) -> bool {
        self.tokens.get(depth).is_some_and(|token| token.index == Some(index))
    }
}

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        let refused = |rule| PointerError { text: text.chars().take(80).collect(), rule };
        if text.len() > POINTER_BYTES_MAX {
            return Err(refused("it is longer than 1,024 bytes"));
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        let rest = text.strip_prefix('/').ok_or_else(|| refused("it must begin with /"))?;
        let tokens = rest.split('/').map(token).collect::<Option<_>>();
        Ok(Self { tokens: tokens.ok_or_else(|| refused("~ must be followed by 0 or 1"))? })
    }
}

/// Undoes the escapes of a step; `None` if there is an unknown one.
fn token(text: &str) -> Option<Token> {
    let mut name = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        name.push(match char {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    let plain = name == "0" || !name.starts_with(['0', '+']);
    let index = name.parse().ok().filter(|_| plain);
    Some(Token { name, index })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_unescaped_and_told_apart_from_indexes() {
        let pointer: Pointer = "/a~1b/m~0n/0/01".parse().unwrap();
        assert_eq!(pointer.depth(), 4);
        assert!(pointer.names(0, "a/b") && pointer.names(1, "m~n"));
        assert!(pointer.indexes(2, 0) && pointer.names(2, "0"));
        assert!(!pointer.indexes(3, 1) && pointer.names(3, "01"));
    }

    #[test]
    fn what_is_no_pointer_is_refused_with_its_rule() {
        for (text, rule) in [("id", "begin with /"), ("/a~2", "~ must be"), ("/a~", "~ must be")] {
            let error = text.parse::<Pointer>().unwrap_err().to_string();
            assert!(error.contains(rule), "{error}");
        }
        let long = |bytes: usize| format!("/{}", "x".repeat(bytes - 1)).parse::<Pointer>();
        assert!(long(POINTER_BYTES_MAX).is_ok());
        assert!(long(POINTER_BYTES_MAX + 1).unwrap_err().to_string().contains("1,024 bytes"));
        assert_eq!("".parse::<Pointer>().unwrap().depth(), 0);
    }
}
