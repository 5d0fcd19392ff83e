//! The end of the process: what was not synced goes back in part, or is left to the next process.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::file::{PAGE, Survivor};
use crate::kernel;
use crate::ledger::{Ledger, names_in};
use crate::plan::End;
use crate::random::Random;
use crate::saved;
use crate::tree::Entry;

/// What the end did.
#[derive(Default)]
struct Losses {
    pages: u64,
    pages_lost: u64,
    operations: u64,
    operations_lost: u64,
}

/// Ends the process. The caller holds the ledger for good, so that no change is made any more.
pub(crate) fn end(ledger: &mut Ledger) -> ! {
    if let Err(error) = finish(ledger) {
        eprintln!("power cut: the end failed: {error}");
    }
    kernel::die()
}

fn finish(ledger: &mut Ledger) -> io::Result<()> {
    // A change that was not seen: whatever the harness finds after that proves nothing.
    let agrees = names_in(&ledger.plan.data)? == ledger.tree.live;
    let losses = match ledger.plan.end {
        End::Cut => cut(ledger)?,
        End::Kill => {
            ledger.files.values_mut().for_each(crate::file::File::settle);
            fs::write(ledger.state.join("saved"), saved::encode(&ledger.tree, &ledger.files))?;
            Losses::default()
        }
    };
    let counts = ledger.counts;
    let lines = [
        ("calls", counts.calls),
        ("writes", counts.writes),
        ("syncs", counts.syncs),
        ("directory-syncs", counts.directory_syncs),
        ("failed-syncs", counts.failed_syncs),
        ("pages", losses.pages),
        ("pages-lost", losses.pages_lost),
        ("operations", losses.operations),
        ("operations-lost", losses.operations_lost),
        ("unseen", u64::from(!agrees)),
    ];
    let report = lines.map(|(name, value)| format!("{name}={value}\n")).concat();
    fs::write(ledger.state.join("report"), report)
}

/// Makes the directory what the power cut left of it.
fn cut(ledger: &Ledger) -> io::Result<Losses> {
    let mut random = Random::new(ledger.plan.seed);
    let (names, operations_lost) = ledger.tree.survivor(&mut random);
    let operations = ledger.tree.unsynced.len() as u64;
    let mut losses = Losses { operations, operations_lost, ..Losses::default() };
    let target = ledger.tree.paths(&names);
    rename_all(ledger, &target)?;
    let survivors: BTreeMap<u64, &PathBuf> = target
        .iter()
        .filter_map(|(path, entry)| if let Entry::File(inode) = entry { Some((*inode, path)) } else { None })
        .collect();
    for (inode, path) in survivors {
        let path = ledger.plan.data.join(path);
        let Some(file) = ledger.files.get(&inode) else { continue };
        let survivor = file.survivor(fs::metadata(&path)?.len(), &mut random);
        losses.pages += survivor.unsynced;
        losses.pages_lost += survivor.pages.len() as u64;
        put_back(&path, &survivor)?;
    }
    Ok(losses)
}

/// Gives every file the name that it has on the disk.
fn rename_all(ledger: &Ledger, target: &BTreeMap<PathBuf, Entry>) -> io::Result<()> {
    let live = ledger.tree.paths(&ledger.tree.live);
    let at = |path: &Path| ledger.plan.data.join(path);
    for (path, entry) in &live {
        if let Entry::File(inode) = entry
            && target.get(path) != Some(entry)
        {
            match fs::hard_link(at(path), ledger.aside(*inode)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
    }
    // Paths are in order: what a directory holds comes after it.
    for (path, _) in live.iter().rev().filter(|(path, entry)| target.get(*path) != Some(*entry)) {
        match live[path] {
            Entry::File(_) => fs::remove_file(at(path))?,
            Entry::Directory(_) => fs::remove_dir(at(path))?,
        }
    }
    for (path, entry) in target.iter().filter(|(path, entry)| live.get(*path) != Some(*entry)) {
        match entry {
            Entry::File(inode) => fs::hard_link(ledger.aside(*inode), at(path))?,
            Entry::Directory(_) => fs::create_dir(at(path))?,
        }
    }
    Ok(())
}

fn put_back(path: &Path, survivor: &Survivor) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    for (page, image) in &survivor.pages {
        let mut bytes = image.clone();
        bytes.resize(usize::try_from(PAGE).unwrap_or_default(), 0);
        file.write_all_at(&bytes, page * PAGE)?;
    }
    file.set_len(survivor.len)
}
