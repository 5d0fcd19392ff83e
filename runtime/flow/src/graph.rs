//! Which handler feeds which, by the topics that they declare: known before anything runs. Pure.

use crate::config::HandlerConfig;

/// Whether `topic` is meant by `pattern`, in which `*` stands for any text.
pub(crate) fn matches(pattern: &str, topic: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = topic.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

/// A way from `handler` over `others` back to it, as names of topics and handlers in turn, if there is one that
/// no handler on it allows.
pub(crate) fn cycle<'a>(
    handler: &'a HandlerConfig,
    others: impl IntoIterator<Item = &'a HandlerConfig>,
) -> Option<Vec<String>> {
    if handler.allow_cycle {
        return None;
    }
    let mut unseen: Vec<&HandlerConfig> = others.into_iter().filter(|other| !other.allow_cycle).collect();
    // A path is the handlers on it with the topic by which each was reached.
    let mut paths: Vec<Vec<(String, &HandlerConfig)>> = vec![vec![(String::new(), handler)]];
    while let Some(path) = paths.pop() {
        let (_, last) = path.last().expect("a path is never empty");
        if let Some(topic) = feeds(last, handler) {
            return Some(told(&path, topic));
        }
        unseen.retain(|next| {
            let Some(topic) = feeds(last, next) else { return true };
            let mut path = path.clone();
            path.push((topic.to_owned(), next));
            paths.push(path);
            false
        });
    }
    None
}

/// A topic that `from` may emit to and `to` reads. Its dead letters count: they are events too.
fn feeds<'a>(from: &HandlerConfig, to: &'a HandlerConfig) -> Option<&'a str> {
    let dead = from.dead_letter_topic();
    let fed = |input: &&String| **input == dead || from.outputs.iter().any(|pattern| matches(pattern, input));
    to.inputs.iter().find(fed).map(String::as_str)
}

fn told(path: &[(String, &HandlerConfig)], topic: &str) -> Vec<String> {
    let mut names = vec![topic.to_owned()];
    for (reached_by, handler) in path {
        if !reached_by.is_empty() {
            names.push(reached_by.clone());
        }
        names.push(handler.name.clone());
    }
    names.push(topic.to_owned());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(name: &str, inputs: &[&str], outputs: &[&str]) -> HandlerConfig {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        HandlerConfig { inputs: owned(inputs), outputs: owned(outputs), ..HandlerConfig::bare(name) }
    }

    #[test]
    fn a_glob_matches_what_it_says() {
        for (pattern, topic, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("*", "anything", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
            ("ab*b", "ab", false),
            ("*.out", "x.out", true),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn a_cycle_is_named_from_topic_to_topic() {
        let (one, two) = (handler("one", &["a"], &["b"]), handler("two", &["b"], &["c", "a*"]));
        assert_eq!(cycle(&one, [&two]).unwrap(), ["a", "one", "b", "two", "a"]);
        assert_eq!(cycle(&two, [&one]).unwrap(), ["b", "two", "a", "one", "b"]);
    }

    #[test]
    fn a_handler_that_feeds_itself_is_a_cycle() {
        assert_eq!(cycle(&handler("h", &["a"], &["a"]), []).unwrap(), ["a", "h", "a"]);
        assert_eq!(cycle(&handler("h", &["_dead.h"], &["a"]), []).unwrap(), ["_dead.h", "h", "_dead.h"]);
    }

    #[test]
    fn a_line_is_no_cycle_and_an_allowed_cycle_is_none() {
        let (one, two) = (handler("one", &["a"], &["b"]), handler("two", &["b"], &["c"]));
        assert_eq!(cycle(&one, [&two]), None);
        let back = HandlerConfig { allow_cycle: true, ..handler("back", &["b"], &["a"]) };
        assert_eq!(cycle(&one, [&back]), None);
        assert_eq!(cycle(&back, [&one]), None);
    }

    #[test]
    fn many_handlers_between_the_same_topics_are_searched_once() {
        let many: Vec<_> = (0..200).map(|n| handler(&format!("h{n}"), &["a"], &["b*", "a2"])).collect();
        let next: Vec<_> = (0..200).map(|n| handler(&format!("n{n}"), &["b1"], &["c"])).collect();
        let first = handler("first", &["z"], &["a"]);
        assert_eq!(cycle(&first, many.iter().chain(&next)), None);
    }
}
