//! Calls that change names: they go through, and are remembered.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::kernel::{Call, Done};
use crate::ledger::Ledger;
use crate::shim::{Visit, over};
use crate::tree::{Entry, Operation, Place, folder};
use crate::writes::save_all;

/// A name as a call has it: relative to a directory's descriptor.
pub(crate) type Name = (i32, PathBuf);

/// A name in the data directory.
struct Target {
    /// From the data directory on.
    inner: PathBuf,
    path: PathBuf,
    at: Place,
}

impl Target {
    /// `None` if the directory that it would be in is not there.
    fn of(ledger: &Ledger, inner: PathBuf) -> Option<Self> {
        assert!(
            !inner.as_os_str().as_bytes().ends_with(b".."),
            "power cut: {} is not modelled",
            inner.display()
        );
        let path = ledger.plan.data.join(&inner);
        let directory = fs::metadata(path.parent()?).ok()?.ino();
        Some(Self { at: (directory, inner.file_name()?.to_owned()), inner, path })
    }

    fn found(&self) -> Option<Metadata> {
        fs::symlink_metadata(&self.path).ok()
    }
}

/// Makes a change of names: `before` it goes through, and `after` it succeeded.
fn change(
    name: &Name,
    call: Call,
    before: impl FnOnce(&mut Ledger, &Target),
    after: impl FnOnce(&mut Ledger, Target),
) -> Done {
    let Some(visit) = Visit::begin() else { return call.run() };
    let Some(inner) = visit.path(name.0, &name.1) else { return call.run() };
    let mut ledger = visit.ledger();
    let Some(target) = Target::of(&ledger, inner) else { return call.run() };
    let is_last = ledger.counts_call(&folder(&target.inner));
    before(&mut ledger, &target);
    let done = call.run();
    if done.is_ok() {
        after(&mut ledger, target);
    }
    if is_last {
        over(&mut ledger);
    }
    done
}

/// Keeps the file that is about to lose this name, if there is one.
fn keep(ledger: &mut Ledger, target: &Target) {
    if target.found().is_some() {
        ledger.set_aside(&target.path).expect("a file that loses its name can be kept");
    }
}

fn entry_of(metadata: &Metadata) -> Entry {
    if metadata.is_dir() { Entry::Directory(metadata.ino()) } else { Entry::File(metadata.ino()) }
}

fn put(ledger: &mut Ledger, target: Target) {
    let metadata = target.found().expect("what was made just now is there");
    ledger.put(&target.inner, target.at, entry_of(&metadata));
}

/// `open` in all its forms.
pub(crate) fn open(call: Call, name: &Name, flags: i32) -> Done {
    if flags & (libc::O_CREAT | libc::O_TRUNC) == 0 && flags & libc::O_TMPFILE != libc::O_TMPFILE {
        return call.run();
    }
    let is_new = std::cell::Cell::new(false);
    let before = |ledger: &mut Ledger, target: &Target| {
        assert!(flags & libc::O_TMPFILE != libc::O_TMPFILE, "power cut: files without name are not modelled");
        let found = target.found();
        is_new.set(found.is_none());
        if flags & libc::O_TRUNC != 0 && found.is_some_and(|found| found.is_file()) {
            save_all(ledger, &target.path).expect("a file that is about to be emptied can be read");
        }
    };
    change(name, call, before, |ledger, target| {
        if is_new.get() {
            put(ledger, target);
        }
    })
}

/// `mkdir`.
pub(crate) fn make_directory(call: Call, name: &Name) -> Done {
    change(name, call, |_, _| {}, put)
}

/// `link`: another name of a file.
pub(crate) fn link(call: Call, name: &Name) -> Done {
    change(name, call, |_, _| {}, put)
}

/// `unlink` and `rmdir`.
pub(crate) fn remove(call: Call, name: &Name) -> Done {
    change(name, call, keep, |ledger, target| ledger.change(Operation::Remove(target.at)))
}

/// `rename` in all its forms.
pub(crate) fn rename(call: Call, from: &Name, to: &Name, flags: u32) -> Done {
    let from = {
        let Some(visit) = Visit::begin() else { return call.run() };
        let from = visit.path(from.0, &from.1);
        let into = visit.path(to.0, &to.1);
        assert_eq!(from.is_some(), into.is_some(), "power cut: a rename across the border is not modelled");
        from
    };
    let Some(from) = from else { return call.run() };
    assert!(flags & libc::RENAME_EXCHANGE == 0, "power cut: an exchange of names is not modelled");
    change(to, call, keep, |ledger, target| {
        let directory = ledger.plan.data.join(&from);
        let directory = directory.parent().and_then(|parent| fs::metadata(parent).ok());
        let directory = directory.expect("a directory that was renamed from is there").ino();
        let name = from.file_name().expect("what was renamed has a name").to_owned();
        ledger.change(Operation::Move((directory, name), target.at));
    })
}

/// What is not modelled, if it is about the data directory.
pub(crate) fn refuse(call: Call, name: &Name, what: &str) -> Done {
    if let Some(visit) = Visit::begin() {
        let inner: Option<PathBuf> = visit.path(name.0, Path::new(&name.1));
        assert!(inner.is_none(), "power cut: {what} is not modelled");
    }
    call.run()
}
