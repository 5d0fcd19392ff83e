//! An offline look at a data directory: every byte that something covers is read, and what is not as it was
//! written is named, with whose it is. Changes nothing of the journal; the tables' engine removes its leftovers,
//! as at every opening.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::commit::View;
use crate::disk::{Lock, LockError, RealDisk};
use crate::journal::{self, JournalSummary, Place, check_journal};
use crate::store::open_tables;
use crate::tables::Copy;
use crate::{DriverKey, FrameNumber, HandlerId, Offset, TopicId, TopicPartition};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the journal holds.
    pub journal: JournalSummary,
    /// The frame up to which everything is in the tables; `None` if they cannot be opened.
    pub persisted: Option<FrameNumber>,
    /// Everything that is broken. Empty: the store is sound.
    pub faults: Vec<Fault>,
    topics: HashMap<TopicId, Arc<str>>,
    handlers: HashMap<HandlerId, Arc<str>>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in the journal; `None` is in the tables.
    pub place: Option<Place>,
    /// What it is.
    pub what: String,
    /// Whom it hurts.
    pub whose: Whose,
}

/// Whom a fault hurts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Events of a partition: they cannot be read.
    Events {
        /// The partition.
        source: TopicPartition,
        /// The first offset.
        first: Offset,
        /// The offset after the last.
        end: Offset,
    },
    /// A driver, if its change is not in the tables yet: it stops as it was before.
    Driver(DriverKey),
    /// What publishes are remembered by: one of them that is sent again may be done twice.
    Publishes,
    /// The store itself: its opening is refused, unless the change is in the tables.
    Store,
    /// Rows of the tables, from one owner to another.
    Rows {
        /// Whose the first row is.
        from: String,
        /// Whose the last row is.
        to: String,
    },
    /// Whatever lay between two frames.
    Unknown {
        /// The last frame before it.
        after: FrameNumber,
        /// The first frame after it.
        before: FrameNumber,
    },
    /// Whatever lay between two blocks of a frame, or from there on in a settled segment (frame 0).
    UnknownIn(FrameNumber),
    /// Nobody: it is made again from what is sound.
    Nobody,
}

/// Why a data directory could not be looked at.
#[derive(Debug, Error)]
pub enum CheckError {
    /// A process uses it, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The directory cannot be read, or there is no store in it.
    #[error("{} cannot be checked: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The journal is of a newer version, or the disk failed.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
}

/// Checks the store in the data directory `dir`, which no process may use meanwhile. Takes time by its size.
pub fn check(dir: &Path) -> Result<Report, CheckError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CheckError::Directory { path, source }
    };
    let journal_dir = dir.join("journal");
    std::fs::read_dir(&journal_dir).map_err(failed(&journal_dir))?;
    let _lock = Lock::acquire(dir, Duration::ZERO)?;
    let disk = RealDisk::open(&journal_dir).map_err(failed(&journal_dir))?;
    let mut report = Report::default();
    report.look_at_tables(&dir.join("tables"), &disk);
    let persisted = report.persisted.unwrap_or(FrameNumber(0));
    report.journal = check_journal(&disk, persisted, &mut report.faults)?;
    report.compare();
    Ok(report)
}

impl Report {
    /// Whether nothing is broken.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// A fault in one line, with the names of topics and handlers as far as they are known.
    pub fn describe(&self, fault: &Fault) -> String {
        let place = fault.place.map_or_else(|| "tables".to_owned(), |place| place.to_string());
        format!("{place}: {} ({})", fault.what, self.whose(&fault.whose))
    }

    fn whose(&self, whose: &Whose) -> String {
        match whose {
            Whose::Events { source, first, end } => {
                let topic = self.topics.get(&source.topic);
                let topic = topic.map_or_else(|| format!("topic {}", source.topic), ToString::to_string);
                format!(
                    "{topic} partition {}, offsets {first} to {}",
                    source.partition,
                    end.0.saturating_sub(1)
                )
            }
            Whose::Driver(driver) => {
                let name = self.handlers.get(&driver.handler);
                let name = name.map_or_else(|| format!("handler {}", driver.handler), ToString::to_string);
                format!("{name} partition {} lane {}", driver.partition, driver.lane)
            }
            Whose::Publishes => "what publishes are remembered by".to_owned(),
            Whose::Store => "the store's own".to_owned(),
            Whose::Rows { from, to } => format!("from {from} to {to}"),
            Whose::Unknown { after, before } => format!("unknown, between frames {after} and {before}"),
            Whose::UnknownIn(FrameNumber(0)) => "unknown, up to the end of the segment".to_owned(),
            Whose::UnknownIn(frame) => format!("unknown, between two blocks of frame {frame}"),
            Whose::Nobody => "nobody's: it is made again from what is sound".to_owned(),
        }
    }

    fn look_at_tables(&mut self, path: &Path, disk: &RealDisk) {
        let fault = |what: String, whose| Fault { place: None, what, whose };
        let copy = Copy::read(path);
        if let Err(error) = &copy {
            self.faults.push(fault(error.to_string(), Whose::Nobody));
        }
        let (tree, unplaced) = match open_tables(path, disk) {
            Ok(opened) => opened,
            Err(error) => return self.faults.push(fault(error.to_string(), Whose::Store)),
        };
        if let Some(error) = unplaced {
            self.faults.push(fault(error.to_string(), Whose::Nobody));
        }
        for table in tree.broken_tables() {
            let whose = Whose::Rows { from: table.from.clone(), to: table.to.clone() };
            self.faults.push(fault(table.to_string(), whose));
        }
        match View::load(Box::new(tree)) {
            Ok(view) => {
                self.persisted = Some(FrameNumber(view.tables.persisted()));
                self.topics = view.catalog.topics().into_iter().map(|topic| (topic.id, topic.name)).collect();
                self.handlers = view.catalog.handlers().into_iter().map(|(name, id)| (id, name)).collect();
                for (rows, what) in &view.copied {
                    self.faults.push(fault(format!("rows of {rows}: {what}"), Whose::Nobody));
                }
                for entry in &view.unreadable {
                    let whose = Whose::Driver(DriverKey::all_of(*entry.key()));
                    self.faults.push(fault(entry.to_string(), whose));
                }
            }
            Err(error) => self.faults.push(fault(error.to_string(), Whose::Store)),
        }
    }

    /// Whether the tables and the journal belong together.
    fn compare(&mut self) {
        let Some(persisted) = self.persisted else { return };
        let JournalSummary { first, last, .. } = self.journal;
        let what = if persisted > last {
            format!("the tables end at frame {persisted}, the journal at frame {last}")
        } else if persisted.next() < first {
            format!("the tables end at frame {persisted}, the journal begins at frame {first}")
        } else {
            return;
        };
        self.faults.push(Fault { place: None, what, whose: Whose::Store });
    }
}
