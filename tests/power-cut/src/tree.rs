//! The names below the data directory: as the process sees them, as they are on the disk, and what lies between.
//! Pure: directories and files are inode numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::random::Random;

/// A name in a directory, which is named by its inode.
pub(crate) type Place = (u64, OsString);

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A file, by its inode.
    File(u64),
    /// A directory, by its inode.
    Directory(u64),
}

/// A change of names; each belongs to the directory of its last place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Something new, or another name of a file.
    Put(Place, Entry),
    /// A rename.
    Move(Place, Place),
    /// A removal.
    Remove(Place),
}

impl Operation {
    fn directory(&self) -> u64 {
        match self {
            Self::Put(at, _) | Self::Move(_, at) | Self::Remove(at) => at.0,
        }
    }
}

/// Names and what they are names of.
pub(crate) type Names = BTreeMap<Place, Entry>;

/// All names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    /// The data directory's inode.
    pub(crate) root: u64,
    /// As the process sees them.
    pub(crate) live: Names,
    /// As they are on the disk.
    pub(crate) durable: Names,
    /// What lies between, with the number of the sync after which it came.
    pub(crate) unsynced: Vec<(u64, Operation)>,
}

impl Tree {
    /// All on the disk as it is.
    pub(crate) fn synced(root: u64, names: Names) -> Self {
        Self { root, live: names.clone(), durable: names, unsynced: Vec::new() }
    }

    /// A change, made after sync `number` began and before the next.
    pub(crate) fn change(&mut self, number: u64, operation: Operation) {
        apply(&mut self.live, &operation);
        self.unsynced.push((number, operation));
    }

    /// Sync `number`, of a directory, succeeded.
    pub(crate) fn synced_through(&mut self, number: u64, directory: u64) {
        let done =
            |(since, operation): &mut (u64, Operation)| *since < number && operation.directory() == directory;
        for (_, operation) in self.unsynced.extract_if(.., done) {
            apply(&mut self.durable, &operation);
        }
    }

    /// Files that have a name, had one, or may have one again after a power cut.
    pub(crate) fn reachable(&self) -> BTreeSet<u64> {
        let put = self.unsynced.iter().filter_map(|(_, operation)| match operation {
            Operation::Put(_, entry) => Some(entry),
            _ => None,
        });
        let entries = self.live.values().chain(self.durable.values()).chain(put);
        entries.filter_map(|entry| if let Entry::File(inode) = entry { Some(*inode) } else { None }).collect()
    }

    /// The names after a power cut, and how many changes are lost.
    pub(crate) fn survivor(&self, random: &mut Random) -> (Names, u64) {
        let mut names = self.durable.clone();
        let mood = random.below(4);
        let prefix = random.below(self.unsynced.len() as u64 + 1);
        let mut lost = 0;
        for (index, (_, operation)) in (0..).zip(&self.unsynced) {
            let survives = match mood {
                0 => false,
                1 => true,
                // A file system with a journal keeps the order, another need not.
                2 => index < prefix,
                _ => random.coin(),
            };
            if survives {
                apply(&mut names, operation);
            } else {
                lost += 1;
            }
        }
        (names, lost)
    }

    /// The paths from the root that names make; what hangs in a directory that is gone is gone.
    pub(crate) fn paths(&self, names: &Names) -> BTreeMap<PathBuf, Entry> {
        let mut paths = BTreeMap::new();
        let mut directories = vec![(self.root, PathBuf::new())];
        while let Some((inode, path)) = directories.pop() {
            for ((_, name), entry) in
                names.range((inode, OsString::new())..).take_while(|((at, _), _)| *at == inode)
            {
                let path = path.join(name);
                if let Entry::Directory(inode) = entry {
                    directories.push((*inode, path.clone()));
                }
                paths.insert(path, *entry);
            }
        }
        paths
    }
}

/// Makes a change; one that has nothing to change is passed over (its own cause may not have survived).
fn apply(names: &mut Names, operation: &Operation) {
    match operation {
        Operation::Put(at, entry) => {
            names.insert(at.clone(), *entry);
        }
        Operation::Move(from, to) => {
            if let Some(entry) = names.remove(from) {
                names.insert(to.clone(), entry);
            }
        }
        Operation::Remove(at) => {
            names.remove(at);
        }
    }
}

/// The folder that a path from the root lies in; empty for the root itself.
pub(crate) fn folder(path: &Path) -> String {
    let mut parts = path.components();
    let first = parts.next().map(|part| part.as_os_str().to_string_lossy().into_owned());
    first.filter(|_| parts.next().is_some()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str) -> Place {
        (1, name.into())
    }

    fn found(tree: &Tree) -> BTreeSet<Vec<(String, Entry)>> {
        let names = |seed| tree.survivor(&mut Random::new(seed)).0;
        (0..300)
            .map(|seed| {
                tree.paths(&names(seed))
                    .into_iter()
                    .map(|(path, entry)| (path.to_string_lossy().into_owned(), entry))
                    .collect()
            })
            .collect()
    }

    impl PartialOrd for Entry {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }

    impl Ord for Entry {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            format!("{self:?}").cmp(&format!("{other:?}"))
        }
    }

    #[test]
    fn a_rename_onto_a_file_leaves_one_of_the_two() {
        let mut tree = Tree::synced(1, [(at("one"), Entry::File(5))].into());
        tree.change(0, Operation::Put(at("new"), Entry::File(6)));
        tree.synced_through(1, 1);
        tree.change(1, Operation::Move(at("new"), at("one")));
        let before = vec![("new".to_owned(), Entry::File(6)), ("one".to_owned(), Entry::File(5))];
        let after = vec![("one".to_owned(), Entry::File(6))];
        assert_eq!(found(&tree), BTreeSet::from([before, after.clone()]));
        assert!(tree.reachable().contains(&5));
        tree.synced_through(2, 1);
        assert_eq!(found(&tree), BTreeSet::from([after]));
        assert!(!tree.reachable().contains(&5));
    }

    #[test]
    fn a_sync_is_of_one_directory_and_of_what_came_before_it_began() {
        let mut tree = Tree::synced(1, [(at("folder"), Entry::Directory(2))].into());
        tree.change(0, Operation::Put((2, "inner".into()), Entry::File(5)));
        tree.change(1, Operation::Put(at("late"), Entry::File(6)));
        tree.synced_through(1, 1);
        assert_eq!(tree.unsynced.len(), 2);
        tree.synced_through(2, 2);
        assert_eq!(tree.unsynced.len(), 1);
    }

    #[test]
    fn what_lies_in_a_directory_that_did_not_survive_is_gone() {
        let mut tree = Tree::synced(1, Names::new());
        tree.change(0, Operation::Put(at("folder"), Entry::Directory(2)));
        tree.change(0, Operation::Put((2, "inner".into()), Entry::File(5)));
        tree.synced_through(1, 2);
        assert!(found(&tree).contains(&Vec::new()));
    }
}
