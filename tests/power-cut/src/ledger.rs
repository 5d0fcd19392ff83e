//! What is known of the data directory, and what was counted: the one thing that all threads share.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::file::File;
use crate::plan::{Plan, Syncs};
use crate::saved;
use crate::tree::{Entry, Names, Operation, Place, Tree, folder};

/// How long a sync takes, as those of the disks that this was written for do. The device is spared.
pub(crate) const SYNC_TAKES: Duration = Duration::from_micros(200);

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) writes: u64,
    pub(crate) syncs: u64,
    pub(crate) directory_syncs: u64,
    pub(crate) failed_syncs: u64,
}

/// The ledger.
pub(crate) struct Ledger {
    pub(crate) plan: Plan,
    /// The library's own directory.
    pub(crate) state: PathBuf,
    pub(crate) tree: Tree,
    pub(crate) files: HashMap<u64, File>,
    pub(crate) counts: Counts,
    /// The folder of the data directory that each inode lies in.
    folders: HashMap<u64, String>,
    /// Inodes that another name keeps, because the one they had is not durably gone.
    aside: BTreeSet<u64>,
    calls_counted: u64,
    syncs_counted: u64,
    last_sync: u64,
}

impl Ledger {
    /// Begins with the directory as it is, and with what a killed process left.
    pub(crate) fn open(plan: Plan, state: PathBuf) -> io::Result<Self> {
        let names = names_in(&plan.data)?;
        let root = fs::metadata(&plan.data)?.ino();
        let mut ledger = Self {
            tree: Tree::synced(root, names),
            plan,
            state,
            files: HashMap::new(),
            counts: Counts::default(),
            folders: HashMap::new(),
            aside: BTreeSet::new(),
            calls_counted: 0,
            syncs_counted: 0,
            last_sync: 0,
        };
        fs::create_dir_all(ledger.aside_path())?;
        ledger.take_over()?;
        ledger.folders.insert(root, String::new());
        for (path, entry) in ledger.tree.paths(&ledger.tree.live) {
            ledger.knows(&path, entry);
        }
        Ok(ledger)
    }

    /// What a killed process left, if it was the last that had the directory.
    fn take_over(&mut self) -> io::Result<()> {
        let saved = self.state.join("saved");
        let left = match fs::read(&saved) {
            Ok(bytes) => saved::decode(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some((tree, files)) = left else { return self.clear_aside() };
        fs::remove_file(&saved)?;
        assert_eq!(tree.live, self.tree.live, "power cut: the data directory changed between two processes");
        for entry in fs::read_dir(self.aside_path())? {
            self.aside.insert(entry?.metadata()?.ino());
        }
        self.tree = tree;
        self.files = files;
        Ok(())
    }

    fn clear_aside(&self) -> io::Result<()> {
        fs::read_dir(self.aside_path())?.try_for_each(|entry| fs::remove_file(entry?.path()))
    }

    fn aside_path(&self) -> PathBuf {
        self.state.join("aside")
    }

    /// Where a file is kept that may get its name back.
    pub(crate) fn aside(&self, inode: u64) -> PathBuf {
        self.aside_path().join(inode.to_string())
    }

    fn knows(&mut self, path: &Path, entry: Entry) {
        match entry {
            Entry::File(inode) => {
                self.files.entry(inode).or_default();
                self.folders.insert(inode, folder(path));
            }
            Entry::Directory(inode) => {
                self.folders.insert(inode, folder(&path.join("any")));
            }
        }
    }

    /// Counts a call on something in this folder; true if it is the last.
    pub(crate) fn counts_call(&mut self, folder: &str) -> bool {
        self.counts.calls += 1;
        if self.plan.at > 0 && (self.plan.below.is_empty() || self.plan.below == folder) {
            self.calls_counted += 1;
        }
        self.plan.at > 0 && self.calls_counted == self.plan.at
    }

    /// The folder that an inode lies in, if it is known.
    pub(crate) fn folder_of(&self, inode: u64) -> Option<String> {
        self.folders.get(&inode).cloned()
    }

    /// Something new has this path, or a file has one more.
    pub(crate) fn put(&mut self, path: &Path, at: Place, entry: Entry) {
        if let Entry::File(inode) = entry
            && !self.tree.reachable().contains(&inode)
        {
            // The inode of a file that is gone, used again.
            self.files.remove(&inode);
        }
        self.knows(path, entry);
        self.tree.change(self.last_sync, Operation::Put(at, entry));
    }

    /// Another change of names.
    pub(crate) fn change(&mut self, operation: Operation) {
        self.tree.change(self.last_sync, operation);
    }

    /// Keeps a file that is about to lose a name.
    pub(crate) fn set_aside(&mut self, path: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(path)?;
        if metadata.is_file() && self.aside.insert(metadata.ino()) {
            fs::hard_link(path, self.aside(metadata.ino()))?;
        }
        Ok(())
    }

    /// Begins a sync: its number, or none if it does nothing.
    pub(crate) fn sync_begins(&mut self, inode: u64) -> Option<u64> {
        if self.plan.syncs == Syncs::Drop {
            return None;
        }
        self.last_sync += 1;
        if let Some(file) = self.files.get_mut(&inode) {
            file.sync_begins(self.last_sync);
        }
        Some(self.last_sync)
    }

    /// Whether the sync of a file in this folder is to fail.
    pub(crate) fn sync_is_to_fail(&mut self, folder: &str) -> bool {
        let fails = match &self.plan.syncs {
            Syncs::Keep | Syncs::Drop => false,
            Syncs::FailAlways { below } => below == folder,
            Syncs::FailOnce { below, at } => {
                self.syncs_counted += u64::from(below == folder);
                below == folder && self.syncs_counted == *at
            }
        };
        self.counts.failed_syncs += u64::from(fails);
        fails
    }

    /// Ends a sync that succeeded, of a file or a directory.
    pub(crate) fn sync_succeeds(&mut self, inode: u64, number: u64) -> io::Result<()> {
        if let Some(file) = self.files.get_mut(&inode) {
            file.sync_succeeds(number);
            return Ok(());
        }
        self.tree.synced_through(number, inode);
        let reachable = self.tree.reachable();
        for gone in self.aside.extract_if(.., |inode| !reachable.contains(inode)).collect::<Vec<_>>() {
            self.files.remove(&gone);
            self.folders.remove(&gone);
            fs::remove_file(self.aside(gone))?;
        }
        Ok(())
    }
}

/// All names below a directory.
pub(crate) fn names_in(root: &Path) -> io::Result<Names> {
    let mut names = Names::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let inode = fs::metadata(&directory)?.ino();
        for found in fs::read_dir(&directory)? {
            let found = found?;
            let metadata = found.metadata()?;
            let entry = if metadata.is_dir() {
                directories.push(found.path());
                Entry::Directory(metadata.ino())
            } else {
                Entry::File(metadata.ino())
            };
            names.insert((inode, found.file_name()), entry);
        }
    }
    Ok(names)
}
