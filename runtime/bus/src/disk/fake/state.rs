//! The fake disk as a whole: its directory, its counter of calls, and what is to go wrong.

use std::collections::BTreeMap;
use std::io;

use super::file::Inode;
use super::{Fault, Random};

/// A change of the directory that is not yet on the disk.
#[derive(Clone, Debug)]
pub(super) enum DirectoryChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

type Directory = BTreeMap<String, u64>;

#[derive(Debug)]
pub(super) struct State {
    seed: u64,
    pub(super) calls: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
    pub(super) unnumbered: bool,
    pub(super) faults: BTreeMap<u64, Fault>,
    /// Bytes that all files may have together.
    pub(super) capacity: u64,
    inodes: BTreeMap<u64, Inode>,
    directory: Directory,
    durable_directory: Directory,
    unsynced: Vec<DirectoryChange>,
}

/// A call under way, which the power cut may hit: its effect may be found afterwards, its caller gets an error.
#[must_use]
pub(super) struct Call {
    last: bool,
}

impl Call {
    pub(super) fn done(self) -> io::Result<()> {
        if self.last { Err(power_cut()) } else { Ok(()) }
    }
}

fn power_cut() -> io::Error {
    io::Error::other("the power was cut")
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            calls: 0,
            crash_at: None,
            crashed: false,
            unnumbered: false,
            faults: BTreeMap::new(),
            capacity: u64::MAX / 2,
            inodes: BTreeMap::new(),
            directory: Directory::new(),
            durable_directory: Directory::new(),
            unsynced: Vec::new(),
        }
    }

    /// Bytes that can still be allocated.
    pub(super) fn free_bytes(&self) -> u64 {
        let used: u64 = self.files().map(|(_, inode)| inode.bytes().len() as u64).sum();
        self.capacity.saturating_sub(used)
    }

    /// Counts a call, and fails it if it is to fail.
    pub(super) fn call(&mut self) -> io::Result<Call> {
        if self.unnumbered && !self.crashed {
            return Ok(Call { last: false });
        }
        let number = self.calls;
        self.calls += 1;
        if self.crashed {
            return Err(power_cut());
        }
        self.crashed = self.crash_at == Some(number);
        match self.faults.get(&number) {
            Some(Fault::Io) => Err(io::Error::other("an input/output error that the test asked for")),
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            None => Ok(Call { last: self.crashed }),
        }
    }

    pub(super) fn inode_of(&self, name: &str) -> io::Result<u64> {
        self.directory.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn find(&self, name: &str) -> io::Result<&Inode> {
        Ok(self.inode(self.inode_of(name)?))
    }

    pub(super) fn inode(&self, inode: u64) -> &Inode {
        &self.inodes[&inode]
    }

    pub(super) fn inode_mut(&mut self, inode: u64) -> &mut Inode {
        self.inodes.get_mut(&inode).expect("inodes stay as long as the disk")
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &Inode)> {
        self.directory.iter().map(|(name, inode)| (name.as_str(), &self.inodes[inode]))
    }

    pub(super) fn add(&mut self, inode: Inode) -> u64 {
        let number = self.inodes.len() as u64;
        self.inodes.insert(number, inode);
        number
    }

    pub(super) fn put(&mut self, name: &str, inode: Inode) {
        let number = self.add(inode);
        self.directory.insert(name.to_owned(), number);
        self.durable_directory.insert(name.to_owned(), number);
    }

    pub(super) fn change(&mut self, change: DirectoryChange) {
        apply(&mut self.directory, &change);
        self.unsynced.push(change);
    }

    pub(super) fn sync_directory(&mut self) {
        self.unsynced.clear();
        self.durable_directory.clone_from(&self.directory);
    }

    pub(super) fn survivors(&self, seed: u64) -> Self {
        let mut random = Random::new(self.seed ^ seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut directory = self.durable_directory.clone();
        let mood = random.below(3);
        for change in &self.unsynced {
            if mood == 1 || (mood == 2 && random.one_in(2)) {
                apply(&mut directory, change);
            }
        }
        let mut survivors = Self::new(random.draw());
        for (name, inode) in &directory {
            survivors.put(name, self.inodes[inode].survivor(&mut random));
        }
        survivors
    }
}

/// Changes the directory; what has nothing to change is passed over (its own cause may not have survived).
fn apply(directory: &mut Directory, change: &DirectoryChange) {
    match change {
        DirectoryChange::Create(name, inode) => {
            directory.insert(name.clone(), *inode);
        }
        DirectoryChange::Rename(from, to) => {
            if let Some(inode) = directory.remove(from) {
                directory.insert(to.clone(), inode);
            }
        }
        DirectoryChange::Remove(name) => {
            directory.remove(name);
        }
    }
}
