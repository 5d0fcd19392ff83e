//! A disk in memory for tests: every call has a number, can be the last before a power cut, and can fail. What
//! was not synced survives in random subsets of pages and directory changes, some pages torn.

mod file;
mod state;

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use self::file::Inode;
use self::state::{DirectoryChange, State};
use super::{Disk, DiskFile, IoSlice, IoSliceMut, Pace};

/// A small deterministic source of numbers (`SplitMix64`, by Steele, Lea and Flood).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers that belong to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `EIO`. A sync that fails so drops the pages: they read back as written, and are lost in a power cut.
    Io,
    /// `ENOSPC`.
    Full,
}

/// The disk. Clones share it.
#[derive(Clone, Debug)]
pub struct FakeDisk {
    state: Arc<Mutex<State>>,
}

impl FakeDisk {
    /// An empty disk; `seed` decides what its tears and subsets look like.
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))) }
    }

    /// Calls made so far; the next one has this number.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Cuts the power in the midst of call `call`: it and all further ones fail.
    pub fn crash_at(&self, call: u64) {
        self.state.lock().crash_at = Some(call);
    }

    /// Whether the power was cut.
    pub fn crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// Lets call `call` fail, and the ones after it succeed.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.state.lock().faults.insert(call, fault);
    }

    /// Lets all files together have so many bytes at most.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity = bytes;
    }

    /// Runs `look`, whose calls have no number and do not fail: the test's own, not those of what it tests.
    pub fn unnumbered<T>(&self, look: impl FnOnce() -> T) -> T {
        self.state.lock().unnumbered = true;
        let seen = look();
        self.state.lock().unnumbered = false;
        seen
    }

    /// The disk as it may be found after a power cut: what was synced, and of the rest whatever `seed` says.
    #[must_use]
    pub fn survivors(&self, seed: u64) -> Self {
        let state = self.state.lock().survivors(seed);
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The bytes of a file as the running system sees them. Not a call.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.state.lock().find(name).ok().map(|inode| inode.bytes().to_vec())
    }

    /// Puts a file in place, synced. Not a call.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.state.lock().put(name, Inode::durable(bytes));
    }

    /// A disk of its own with the same files, all synced. Not a call.
    #[must_use]
    pub fn copy(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        let state = self.state.lock();
        for (name, inode) in state.files() {
            copy.put(name, inode.bytes());
        }
        drop(state);
        copy
    }

    fn handle(&self, inode: u64) -> Arc<dyn DiskFile> {
        Arc::new(FakeFile { state: Arc::clone(&self.state), inode })
    }
}

impl Disk for FakeDisk {
    fn create_paced(&self, name: &str, len: u64, pace: &mut Pace<'_>) -> io::Result<Arc<dyn DiskFile>> {
        let mut paced = 0;
        while paced < len {
            paced = pace(paced)?;
        }
        let mut state = self.state.lock();
        let call = state.call()?;
        if state.find(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if len > state.free_bytes() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = state.add(Inode::zeros(len));
        state.change(DirectoryChange::Create(name.to_owned(), inode));
        call.done()?;
        Ok(self.handle(inode))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.call()?.done()?;
        Ok(self.handle(state.inode_of(name)?))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut state = self.state.lock();
        state.call()?.done()?;
        Ok(state.files().map(|(name, inode)| (name.to_owned(), inode.bytes().len() as u64)).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let call = state.call()?;
        state.inode_of(from)?;
        state.change(DirectoryChange::Rename(from.to_owned(), to.to_owned()));
        call.done()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let call = state.call()?;
        state.inode_of(name)?;
        state.change(DirectoryChange::Remove(name.to_owned()));
        call.done()
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call()?.done()?;
        state.sync_directory();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.call()?.done()?;
        Ok(state.free_bytes())
    }
}

#[derive(Debug)]
struct FakeFile {
    state: Arc<Mutex<State>>,
    inode: u64,
}

impl DiskFile for FakeFile {
    fn byte_len(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.call()?.done()?;
        Ok(state.inode(self.inode).bytes().len() as u64)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let call = state.call()?;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        state.inode_mut(self.inode).write(&bytes, offset);
        call.done()
    }

    fn read_at(&self, parts: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call()?.done()?;
        let bytes = state.inode(self.inode).bytes();
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let mut rest = bytes.get(at..).ok_or(io::ErrorKind::UnexpectedEof)?;
        for part in parts {
            let (head, tail) = rest.split_at_checked(part.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            part.copy_from_slice(head);
            rest = tail;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        match state.call() {
            Ok(call) => call.done()?,
            Err(error) => {
                state.inode_mut(self.inode).drop_unsynced();
                return Err(error);
            }
        }
        state.inode_mut(self.inode).sync();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &dyn DiskFile, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_at(&[IoSlice::new(bytes)], at)
    }

    /// A disk with a synced file of two pages of ones.
    fn disk() -> (FakeDisk, Arc<dyn DiskFile>) {
        let disk = FakeDisk::new(1);
        let file = disk.create("one", 8192).unwrap();
        write(&*file, &[1; 8192], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_directory().unwrap();
        (disk, file)
    }

    #[test]
    fn what_is_synced_survives_every_power_cut() {
        let (disk, _file) = disk();
        assert!((0..50).all(|seed| disk.survivors(seed).bytes("one").unwrap() == [1; 8192]));
    }

    #[test]
    fn unsynced_pages_survive_in_all_subsets_and_torn() {
        let (disk, file) = disk();
        write(&*file, &[2; 8192], 0).unwrap();
        let found: Vec<_> = (0..200).map(|seed| disk.survivors(seed).bytes("one").unwrap()).collect();
        let page = |bytes: &[u8]| match (bytes.contains(&1), bytes.contains(&2)) {
            (true, false) => 'o',
            (false, true) => 'n',
            _ => 't',
        };
        for expected in [('o', 'o'), ('o', 'n'), ('n', 'o'), ('n', 'n'), ('t', 'n'), ('o', 't')] {
            assert!(
                found.iter().any(|bytes| (page(&bytes[..4096]), page(&bytes[4096..])) == expected),
                "{expected:?} was never found"
            );
        }
    }

    #[test]
    fn a_failed_sync_drops_pages_that_still_read_back() {
        let (disk, file) = disk();
        write(&*file, &[2; 8192], 0).unwrap();
        disk.fail_at(disk.calls(), Fault::Io);
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        assert_eq!(disk.bytes("one").unwrap(), [2; 8192]);
        assert!((0..50).any(|seed| disk.survivors(seed).bytes("one").unwrap()[..4096] == [1; 4096]));
    }

    #[test]
    fn unsynced_directory_changes_survive_in_subsets() {
        let (disk, _file) = disk();
        disk.create("two", 4096).unwrap();
        disk.rename("one", "three").unwrap();
        let names = |disk: FakeDisk| disk.list().unwrap().into_iter().map(|(name, _)| name).collect();
        let found: std::collections::BTreeSet<Vec<String>> =
            (0..200).map(|seed| names(disk.survivors(seed))).collect();
        let sets: [&[&str]; 4] = [&["one"], &["one", "two"], &["three"], &["three", "two"]];
        assert!(
            sets.iter().all(|set| found.contains(&set.iter().map(ToString::to_string).collect::<Vec<_>>()))
        );
    }

    #[test]
    fn nothing_works_after_the_crash() {
        let (disk, file) = disk();
        disk.crash_at(disk.calls());
        write(&*file, &[2; 4096], 0).unwrap_err();
        disk.list().unwrap_err();
        assert!(disk.crashed() && !disk.survivors(0).crashed());
    }

    #[test]
    fn the_same_seed_gives_the_same_survivors() {
        let (disk, file) = disk();
        write(&*file, &[2; 8192], 0).unwrap();
        assert!((0..50).all(|seed| disk.survivors(seed).bytes("one") == disk.survivors(seed).bytes("one")));
    }
}
