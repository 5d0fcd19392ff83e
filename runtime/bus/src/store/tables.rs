//! The tables in a data directory: opened, and made again from the journal when they are broken and the journal
//! still holds all that they were made of. Otherwise whoever is hurt is named.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::OpenError;
use crate::commit::{LoadError, View};
use crate::disk::Disk;
use crate::journal::{self, reaches_back};
use crate::notice::{Notice, Notices};
use crate::tables::{BrokenTable, LsmTables, TreeError, TreeFault, suspect_path};

/// Where the tables of a data directory are.
struct Place {
    tables: PathBuf,
    /// Where they are moved to when they are broken and made again.
    broken: PathBuf,
}

/// Takes the rows of the tables in the data directory `dir` into memory. Tables that are made again are empty as
/// yet: the journal on `disk` is replayed into them from its first frame.
pub(super) fn load(dir: &Path, disk: &dyn Disk, notices: &Notices) -> Result<View, OpenError> {
    let place = Place { tables: dir.join("tables"), broken: dir.join("tables.broken") };
    let fault = match look(&place) {
        Ok((view, broken)) if broken.is_empty() && view.unreadable.is_empty() => return Ok(view),
        Ok((view, broken)) if !reaches_back(disk).map_err(journal::OpenError::Io)? => {
            for table in broken {
                notices.push(Notice::TablesBroken(table));
            }
            for entry in &view.unreadable {
                notices.push(Notice::ProgressBroken { handler: *entry.key(), what: Arc::clone(&entry) });
            }
            return Ok(view);
        }
        Ok((view, broken)) => {
            let unreadable = view.unreadable.iter().next().map(|entry| entry.to_string());
            broken.first().map(ToString::to_string).or(unreadable).unwrap_or_default()
        }
        Err(LoadError::Tree(error))
            if error.fault == TreeFault::Broken && reaches_back(disk).map_err(journal::OpenError::Io)? =>
        {
            error.to_string()
        }
        Err(error) => return Err(place.name_broken(error).into()),
    };
    place.put_aside(dir).map_err(|source| OpenError::Directory { path: dir.to_owned(), source })?;
    notices.push(Notice::TablesRebuilt(fault.into()));
    Ok(View::load(Box::new(LsmTables::open(&place.tables)?))?)
}

/// What the tables hold, and which of their files are broken, if there is a word that some are.
fn look(place: &Place) -> Result<(View, Vec<BrokenTable>), LoadError> {
    let tree = LsmTables::open(&place.tables)?;
    let suspect = suspect_path(&place.tables);
    let mut broken = Vec::new();
    if suspect.exists() {
        broken = tree.broken_tables();
        if broken.is_empty() {
            // What was read as broken reads well now. If the word stays, the next opening looks again.
            let _ = fs::remove_file(&suspect);
        }
    }
    Ok((View::load(Box::new(tree))?, broken))
}

impl Place {
    /// The error with the files that are broken and whose rows they hold, as far as they tell.
    fn name_broken(&self, error: LoadError) -> LoadError {
        let LoadError::Tree(TreeError { attempt, what, fault: TreeFault::Broken }) = error else {
            return error;
        };
        let broken = LsmTables::open(&self.tables).map(|tree| tree.broken_tables()).unwrap_or_default();
        let named = broken.iter().fold(what.to_string(), |named, table| format!("{named}; {table}"));
        LoadError::Tree(TreeError { attempt, what: named.into(), fault: TreeFault::Broken })
    }

    /// Moves broken tables out of the way, for whoever wants to look at them; what was there before goes.
    fn put_aside(&self, dir: &Path) -> io::Result<()> {
        let there = |result: io::Result<()>| match result {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        };
        there(fs::remove_dir_all(&self.broken))?;
        there(fs::rename(&self.tables, &self.broken))?;
        there(fs::remove_file(suspect_path(&self.tables)))?;
        File::open(dir)?.sync_all()
    }
}
