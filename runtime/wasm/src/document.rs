//! Reading a TOML document into a struct: an error names the line, and the nearest key that is known. Used for
//! plugin files and for the runtime's own file; knows the keys of neither.

use serde::de::DeserializeOwned;
use thiserror::Error;

/// A document that does not say what it should.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {message}")]
pub struct DocumentError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong there, with a suggestion where there is one.
    pub message: String,
}

/// Reads `text`. `T` denies unknown fields (`#[serde(deny_unknown_fields)]`): they are errors with a suggestion.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, DocumentError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        DocumentError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: explained(error.message()),
        }
    })
}

/// The message, with the nearest known key instead of the list of all where a key or a word is unknown.
///
/// Serde's message is "unknown field `x`, expected one of `a`, `b`": what it puts in backticks is taken as it is.
fn explained(message: &str) -> String {
    let message = message.trim_end();
    let Some(rest) =
        message.strip_prefix("unknown field ").or_else(|| message.strip_prefix("unknown variant "))
    else {
        return message.to_owned();
    };
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let Some(found) = quoted.next() else { return message.to_owned() };
    let what = if message.starts_with("unknown field") { "key" } else { "value" };
    match suggestion(found, quoted) {
        Some(nearest) => format!("unknown {what} `{found}`, did you mean `{nearest}`?"),
        None => message.replacen("unknown field", "unknown key", 1).replacen(
            "unknown variant",
            "unknown value",
            1,
        ),
    }
}

/// The one of `known` that `found` most likely means, if any is near: at most a third of it differs.
pub fn suggestion<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(found, known), known))
        .filter(|(distance, known)| *distance <= found.len().max(known.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Document {
        #[expect(dead_code, reason = "only read by serde")]
        max_events: Option<u32>,
        #[expect(dead_code, reason = "only read by serde")]
        inputs: Option<Vec<String>>,
    }

    fn error(text: &str) -> String {
        parse::<Document>(text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line_and_a_suggestion() {
        assert_eq!(
            error("inputs = []\n\nmax_events = 3\n"),
            "line 3, column 1: unknown key `max_events`, did you mean `max-events`?"
        );
    }

    #[test]
    fn a_key_like_no_other_lists_what_is_known() {
        let error = error("colour = 1");
        assert!(error.contains("unknown key `colour`") && error.contains("`max-events`"), "{error}");
    }

    #[test]
    fn a_wrong_type_names_what_was_expected() {
        let error = error("max-events = \"many\"");
        assert!(
            error.starts_with("line 1, column 14: invalid type: string \"many\", expected u32"),
            "{error}"
        );
    }

    #[test]
    fn text_that_is_no_toml_names_its_line() {
        assert!(error("inputs = [\n\"a\"\n").starts_with("line "));
    }
}
