//! Which versions were seen, tried and taken: decides what to load and what to drop. Pure: time and listings are
//! arguments.

use std::collections::BTreeMap;
use std::time::Instant;

use super::files::Version;
use crate::limits::STABLE_AFTER;

/// What is to be done with a plugin, by the stem of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Load(String),
    Remove(String),
}

/// What is known of the plugins of a directory.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    plugins: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// What was there when it was last looked at; `None` when nothing was.
    seen: Option<Version>,
    /// Since when exactly that was there.
    since: Instant,
    /// The version that was last tried, with or without success.
    tried: Option<Version>,
    /// The handler that it is, if a version of it was taken.
    handler: Option<String>,
}

impl Ledger {
    /// Takes the first listing, all of it as complete: there is nothing yet to compare it with.
    pub(super) fn adopt(&mut self, listing: BTreeMap<String, Version>, now: Instant) -> Vec<Step> {
        let stems: Vec<String> = listing.keys().cloned().collect();
        for (stem, version) in listing {
            let entry = Entry { seen: Some(version), since: now, tried: Some(version), handler: None };
            self.plugins.insert(stem, entry);
        }
        stems.into_iter().map(Step::Load).collect()
    }

    /// Takes a later listing: what is to be loaded or removed because it has been as it is for long enough.
    /// Removals come first, so that a name they free can be taken.
    pub(super) fn step(&mut self, listing: &BTreeMap<String, Version>, now: Instant) -> Vec<Step> {
        for stem in listing.keys() {
            self.plugins.entry(stem.clone()).or_insert(Entry {
                seen: None,
                since: now,
                tried: None,
                handler: None,
            });
        }
        let (mut removed, mut loads) = (Vec::new(), Vec::new());
        for (stem, entry) in &mut self.plugins {
            let there = listing.get(stem).copied();
            if entry.seen != there {
                (entry.seen, entry.since) = (there, now);
            }
            if now.saturating_duration_since(entry.since) < STABLE_AFTER {
                continue;
            }
            match there {
                None => removed.push(stem.clone()),
                Some(version) if entry.tried != Some(version) => {
                    entry.tried = Some(version);
                    loads.push(Step::Load(stem.clone()));
                }
                Some(_) => {}
            }
        }
        removed.into_iter().map(Step::Remove).chain(loads).collect()
    }

    /// Whether something changed that is not yet settled: to be looked at again soon.
    pub(super) fn is_waiting(&self) -> bool {
        self.plugins.values().any(|entry| entry.seen.is_none() || entry.seen != entry.tried)
    }

    /// The handler that the plugin `stem` is, if a version of it was taken.
    pub(super) fn handler(&self, stem: &str) -> Option<&str> {
        self.plugins.get(stem)?.handler.as_deref()
    }

    /// The other plugin that is the handler `name` already.
    pub(super) fn rival(&self, stem: &str, name: &str) -> Option<&str> {
        let is_rival =
            |(other, entry): &(&String, &Entry)| *other != stem && entry.handler.as_deref() == Some(name);
        self.plugins.iter().find(is_rival).map(|(other, _)| other.as_str())
    }

    /// Notes that a version of `stem` was taken, as the handler `name`. Returns the name that it had before, if
    /// that was another: a handler that is gone.
    pub(super) fn taken(&mut self, stem: &str, name: &str) -> Option<String> {
        let entry = self.plugins.get_mut(stem)?;
        let before = entry.handler.replace(name.to_owned()).filter(|before| before != name);
        if before.is_some() {
            self.try_again();
        }
        before
    }

    /// Forgets the plugin `stem`. Returns the handler that it was.
    pub(super) fn forget(&mut self, stem: &str) -> Option<String> {
        let handler = self.plugins.remove(stem)?.handler;
        self.try_again();
        handler
    }

    /// A name was freed: what was never taken is tried again, for it may have wanted that name.
    fn try_again(&mut self) {
        for entry in self.plugins.values_mut().filter(|entry| entry.handler.is_none()) {
            entry.tried = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::files::Stamp;

    fn listing(plugins: &[(&str, u64)]) -> BTreeMap<String, Version> {
        let version = |bytes| Version { component: Stamp::made_up(bytes), settings: None };
        plugins.iter().map(|&(stem, bytes)| (stem.to_owned(), version(bytes))).collect()
    }

    fn load(stem: &str) -> Step {
        Step::Load(stem.to_owned())
    }

    #[test]
    fn a_growing_file_is_taken_once_it_is_stable() {
        let (mut ledger, start) = (Ledger::default(), Instant::now());
        let half = STABLE_AFTER / 2;
        for (turn, bytes) in [(0, 1), (1, 2), (2, 3), (3, 3)] {
            let now = start + half * turn;
            assert_eq!(ledger.step(&listing(&[("a", bytes)]), now), []);
            assert!(ledger.is_waiting());
        }
        let now = start + half * 4;
        assert_eq!(ledger.step(&listing(&[("a", 3)]), now), [load("a")]);
        assert!(!ledger.is_waiting());
        assert_eq!(ledger.step(&listing(&[("a", 3)]), now + STABLE_AFTER), []);
    }

    #[test]
    fn what_is_there_at_first_is_taken_at_once() {
        let mut ledger = Ledger::default();
        let steps = ledger.adopt(listing(&[("a", 1), ("b", 1)]), Instant::now());
        assert_eq!(steps, [load("a"), load("b")]);
        assert!(!ledger.is_waiting());
    }

    #[test]
    fn a_file_that_is_only_away_for_a_moment_is_replaced_and_not_removed() {
        let (mut ledger, start) = (Ledger::default(), Instant::now());
        ledger.adopt(listing(&[("a", 1)]), start);
        assert_eq!(ledger.step(&listing(&[]), start), []);
        assert_eq!(ledger.step(&listing(&[("a", 2)]), start + STABLE_AFTER / 2), []);
        assert_eq!(ledger.step(&listing(&[("a", 2)]), start + STABLE_AFTER * 2), [load("a")]);
    }

    #[test]
    fn a_file_that_stays_away_is_removed() {
        let (mut ledger, start) = (Ledger::default(), Instant::now());
        ledger.adopt(listing(&[("a", 1)]), start);
        ledger.taken("a", "handler");
        assert_eq!(ledger.step(&listing(&[]), start), []);
        assert!(ledger.is_waiting());
        let steps = ledger.step(&listing(&[]), start + STABLE_AFTER);
        assert_eq!(steps, [Step::Remove("a".to_owned())]);
        assert_eq!(ledger.forget("a").as_deref(), Some("handler"));
        assert!(!ledger.is_waiting());
    }

    #[test]
    fn a_name_that_is_freed_is_offered_to_who_wanted_it() {
        let (mut ledger, start) = (Ledger::default(), Instant::now());
        let both = listing(&[("a", 1), ("b", 1)]);
        ledger.adopt(both.clone(), start);
        assert_eq!(ledger.taken("a", "same"), None);
        assert_eq!(ledger.rival("b", "same"), Some("a"));
        assert_eq!(ledger.step(&both, start + STABLE_AFTER), []);
        assert_eq!(ledger.taken("a", "other").as_deref(), Some("same"));
        assert_eq!(ledger.rival("b", "same"), None);
        assert_eq!(ledger.step(&both, start + STABLE_AFTER), [load("b")]);
    }
}
