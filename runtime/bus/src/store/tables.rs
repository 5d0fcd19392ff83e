//! The tables in a data directory: opened, and made again when they are broken: from the journal where it still holds
//! all that they were made of, else from the copy of the store's own rows. Whoever is hurt is named.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::OpenError;
use crate::commit::{LoadError, View};
use crate::disk::Disk;
use crate::journal::{self, oldest_frame, reaches_back};
use crate::notice::{Notice, Notices};
use crate::tables::{
    BrokenRow, BrokenTable, Copy, Entry, LsmTables, Owner, TableId, Tree, TreeError, TreeFault, suspect_path,
};
use crate::{DriverKey, FrameNumber, HandlerId};

/// Where the tables of a data directory are.
struct Place {
    tables: PathBuf,
    /// Where they are moved to when they are broken and made again.
    broken: PathBuf,
}

/// Tables as they were found.
struct Found {
    view: View,
    /// The files that are broken, if there is a word that some are.
    broken: Vec<BrokenTable>,
    /// Why how far they have come was taken from the copy.
    unplaced: Option<TreeError>,
}

/// Takes the rows of the tables in the data directory `dir` into memory. Tables that are made again are empty as
/// yet: the journal on `disk` is replayed into them from its first frame.
pub(super) fn load(dir: &Path, disk: &dyn Disk, notices: &Notices) -> Result<View, OpenError> {
    let place = Place { tables: dir.join("tables"), broken: dir.join("tables.broken") };
    let reaches_back = || reaches_back(disk).map_err(journal::OpenError::Io);
    let fault = match look(&place, disk) {
        Ok(found) if found.is_sound() => return Ok(found.view),
        Ok(found) if !reaches_back()? => return Ok(found.tell(notices)),
        Ok(found) => found.fault(),
        Err(LoadError::Tree(error)) if error.fault != TreeFault::Io => {
            if !reaches_back()? {
                return place.make_from_copy(dir, &error, notices);
            }
            error.to_string()
        }
        Err(error) => return Err(error.into()),
    };
    let aside = place.put_aside(dir).and_then(|()| Copy::remove(&place.tables));
    aside.map_err(|source| OpenError::Directory { path: dir.to_owned(), source })?;
    notices.push(Notice::TablesRebuilt(fault.into()));
    Ok(View::load(Box::new(LsmTables::open(&place.tables)?))?)
}

/// Opens the tables at `path`; if only how far they have come cannot be read, it is told by their copy, with the error.
pub(crate) fn open(path: &Path, disk: &dyn Disk) -> Result<(LsmTables, Option<TreeError>), TreeError> {
    let error = match LsmTables::open(path) {
        Err(error) if error.fault == TreeFault::Unplaced => error,
        opened => return Ok((opened?, None)),
    };
    let Ok(Some(copy)) = Copy::read(path) else { return Err(error) };
    // The flush after the copy may not be done. Where all that it may lack can be replayed, it is, for that changes
    // nothing if it was; a segment is only given up when it was.
    let oldest = oldest_frame(disk).map_err(|error| TreeError {
        attempt: "look at the journal",
        what: error.to_string().into(),
        fault: TreeFault::Io,
    })?;
    let can_replay = oldest.is_none_or(|oldest| oldest.0 <= copy.before + 1);
    let frame = if can_replay { copy.before } else { copy.frame };
    Ok((LsmTables::open_at(path, frame)?, Some(error)))
}

/// What the tables hold, and which of their files are broken, if there is a word that some are.
fn look(place: &Place, disk: &dyn Disk) -> Result<Found, LoadError> {
    let (tree, unplaced) = open(&place.tables, disk)?;
    let suspect = suspect_path(&place.tables);
    let mut broken = Vec::new();
    if suspect.exists() {
        broken = tree.broken_tables();
        if broken.is_empty() {
            // What was read as broken reads well now. If the word stays, the next opening looks again.
            let _ = fs::remove_file(&suspect);
        }
    }
    Ok(Found { view: View::load(Box::new(tree))?, broken, unplaced })
}

impl Found {
    fn is_sound(&self) -> bool {
        let rows = self.view.unreadable.is_empty() && self.view.copied.is_empty();
        rows && self.broken.is_empty() && self.unplaced.is_none()
    }

    /// The first thing that is broken.
    fn fault(&self) -> String {
        let unplaced = self.unplaced.iter().map(ToString::to_string);
        let broken = self.broken.iter().map(ToString::to_string);
        let copied = self.view.copied.iter().map(|(_, what)| what.to_string());
        let unreadable = self.view.unreadable.iter().next().map(|entry| entry.to_string());
        unplaced.chain(broken).chain(copied).chain(unreadable).next().unwrap_or_default()
    }

    /// Goes on with what can be read, and says what cannot.
    fn tell(self, notices: &Notices) -> View {
        let Self { view, broken, unplaced } = self;
        if let Some(error) = unplaced {
            let frame = FrameNumber(view.tables.persisted());
            notices.push(Notice::FrameCopied { frame, what: error.to_string().into() });
        }
        for table in broken {
            notices.push(Notice::TablesBroken(table));
        }
        for (rows, what) in &view.copied {
            notices.push(Notice::RowsCopied { rows: rows.to_string(), what: Arc::clone(what) });
        }
        for entry in &view.unreadable {
            notices.push(Notice::ProgressBroken { handler: *entry.key(), what: Arc::clone(&entry) });
        }
        view
    }
}

impl Place {
    /// Makes tables that nobody can open again from the copy of the store's own rows. Every handler stands still, for
    /// nobody knows how far it has come, and what its state is.
    fn make_from_copy(&self, dir: &Path, error: &TreeError, notices: &Notices) -> Result<View, OpenError> {
        let copy = match Copy::read(&self.tables) {
            Ok(Some(copy)) => copy,
            Ok(None) => return Err(self.refusal(error, "is missing")),
            Err(_) => return Err(self.refusal(error, "cannot be read either")),
        };
        let failed = |source| OpenError::Directory { path: dir.to_owned(), source };
        let new = dir.join("tables.new");
        there(fs::remove_dir_all(&new)).map_err(failed)?;
        LsmTables::open_at(&new, copy.frame)?.persist(copy.frame, &mut without_handlers(&copy))?;
        self.put_aside(dir).map_err(failed)?;
        let moved = fs::rename(&new, &self.tables).and_then(|()| File::open(dir)?.sync_all());
        moved.map_err(failed)?;
        notices.push(Notice::TablesLost(error.to_string().into()));
        let view = View::load(Box::new(LsmTables::open(&self.tables)?))?;
        Ok(Found { view, broken: Vec::new(), unplaced: None }.tell(notices))
    }

    /// Why nothing can go on, with the files that are broken and whose rows they hold, as far as they tell, and what
    /// to do.
    fn refusal(&self, error: &TreeError, copy: &str) -> OpenError {
        let broken = LsmTables::open_at(&self.tables, 0).map(|tree| tree.broken_tables()).unwrap_or_default();
        let named = broken.iter().fold(error.to_string(), |named, table| format!("{named}; {table}"));
        OpenError::TablesGone { path: self.tables.clone(), what: named.into(), copy: copy.into() }
    }

    /// Moves broken tables out of the way, for whoever wants to look at them; what was there before goes.
    fn put_aside(&self, dir: &Path) -> io::Result<()> {
        there(fs::remove_dir_all(&self.broken))?;
        there(fs::rename(&self.tables, &self.broken))?;
        there(fs::remove_file(suspect_path(&self.tables)))?;
        File::open(dir)?.sync_all()
    }
}

/// The rows of a copy, and for each handler one that says that all others of it are lost; in their order.
fn without_handlers(copy: &Copy) -> impl Iterator<Item = Entry> {
    let own = copy.rows.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
    let handlers = copy.rows.keys().filter_map(|key| match Owner::split(key)? {
        (Owner { table: TableId::Handlers, .. }, rest) => crate::tables::topic_of(rest),
        _ => None,
    });
    own.chain(handlers.map(|id| {
        let driver = DriverKey::all_of(HandlerId(id.0));
        (Owner { table: TableId::Broken, driver }.key(b""), Some(BrokenRow::EVERYTHING.encode()))
    }))
}

/// That a file is not there is as good.
fn there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
