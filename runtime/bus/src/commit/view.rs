//! What is committed, as every thread sees it: catalog, ends, groups and tables, kept in step by following
//! the rows of each frame, when it is committed and when it is replayed alike.

use std::sync::Arc;

use dashmap::DashMap;

use super::groups::Groups;
use super::tails::Tails;
use crate::block::BlockHeader;
use crate::tables::{
    BrokenRow, Checkpoint, DeltaError, Deltas, EndRow, Gathered, HandlerRow, NextId, Owner, ProgressRow,
    RowError, TableId, Tables, TopicRow, Tree, TreeError, TreeFault, partition_of, partition_rest, topic_of,
};
use crate::topics::Catalog;
use crate::{DriverKey, FrameNumber, HandlerId};

pub(crate) struct View {
    pub(crate) catalog: Catalog,
    pub(crate) tails: Tails,
    pub(crate) groups: Groups,
    pub(crate) tables: Tables,
    /// Drivers of whom a change was found broken, and the frame of it: they stop as they were before it, until
    /// they are restored or their group is reset.
    pub(crate) broken: DashMap<DriverKey, FrameNumber>,
    /// Handlers whose rows that are held in memory could not be read, and why: only a reset helps.
    pub(crate) unreadable: DashMap<HandlerId, Arc<str>>,
    /// What was taken from the copy beside the tables, for it could not be read there, and why.
    pub(crate) copied: Vec<(Owner, Arc<str>)>,
}

/// The tables that are held in memory as a whole. What names an id comes after what says whether it lives.
const LOADED: [TableId; 6] =
    [TableId::NextIds, TableId::Topics, TableId::Handlers, TableId::Ends, TableId::Progress, TableId::Broken];

/// Why the tables' rows could not be taken into memory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Row(#[from] RowError),
}

impl View {
    /// What the tables hold.
    pub(crate) fn load(tree: Box<dyn Tree>) -> Result<Self, LoadError> {
        let mut view = Self {
            catalog: Catalog::default(),
            tails: Tails::default(),
            groups: Groups::default(),
            tables: Tables::new(tree),
            broken: DashMap::new(),
            unreadable: DashMap::new(),
            copied: Vec::new(),
        };
        for table in LOADED {
            match view.load_rows(&[table as u8]) {
                Err(LoadError::Tree(error)) if error.fault == TreeFault::Broken && table.is_drivers() => {
                    view.load_by_handler(table)?;
                }
                Err(LoadError::Tree(error)) if error.fault == TreeFault::Broken => {
                    view.load_copy(table, error)?;
                }
                loaded => loaded?,
            }
        }
        Ok(view)
    }

    /// Follows the copied rows of a table that is broken somewhere. They may be newer than the tables: what is replayed
    /// after the tables' frame leads to the same.
    fn load_copy(&mut self, table: TableId, error: TreeError) -> Result<(), LoadError> {
        let Some(rows) = self.tables.copied(&[table as u8]) else { return Err(error.into()) };
        let owner = Owner::store(table);
        for (key, value) in rows {
            let (of, rest) = Owner::split(&key).ok_or(RowError { table })?;
            self.follow(of, rest, Some(&value))?;
        }
        self.copied.push((owner, error.to_string().into()));
        Ok(())
    }

    /// Follows the rows whose keys begin so.
    fn load_rows(&self, prefix: &[u8]) -> Result<(), LoadError> {
        let mut broken = Ok(());
        self.tables.scan_tree(prefix, |owner, rest, value| {
            if let (Ok(()), Err(error)) = (&broken, self.follow(owner, rest, Some(value))) {
                broken = Err(error);
            }
        })?;
        Ok(broken?)
    }

    /// Follows the rows of a table that is broken somewhere, and stops the handlers that are hurt. The tables do not
    /// remember it: they tell it again.
    fn load_by_handler(&self, table: TableId) -> Result<(), LoadError> {
        for (_, handler) in self.catalog.handlers() {
            match self.load_rows(&Owner::prefix_of(table, handler)) {
                Err(LoadError::Tree(error)) if error.fault == TreeFault::Broken => {
                    self.broken.insert(DriverKey::all_of(handler), FrameNumber(self.tables.persisted()));
                    self.unreadable.insert(handler, error.to_string().into());
                }
                loaded => loaded?,
            }
        }
        Ok(())
    }

    /// Applies a section of deltas of `driver` to the tables and follows its rows. What a driver that is stopped
    /// did later was built on the change that is broken: it is passed over, up to the section that lifts the stop.
    pub(crate) fn apply(&self, driver: DriverKey, section: &[u8]) -> Result<(), Arc<str>> {
        self.follow_all((driver, section), |row| self.tables.apply(driver, section, row))
    }

    /// Follows the rows of a section that is replayed, as [`View::apply`] does, and leaves them in `gathered`.
    pub(crate) fn gather(
        &self,
        driver: DriverKey,
        section: &[u8],
        gathered: &mut Gathered,
    ) -> Result<(), Arc<str>> {
        self.follow_all((driver, section), |row| self.tables.gather((driver, section), gathered, row))
    }

    /// Follows the rows that `read` reads of a section, unless its driver is stopped.
    fn follow_all(
        &self,
        (driver, section): (DriverKey, &[u8]),
        read: impl FnOnce(&mut dyn FnMut(Owner, &[u8], Option<&[u8]>)) -> Result<(), DeltaError>,
    ) -> Result<(), Arc<str>> {
        if self.stopped_at(driver).is_some() && !Deltas::lifts_stop(section) {
            return Ok(());
        }
        let mut followed = Ok(());
        let applied = read(&mut |owner, rest, value| {
            if let (Ok(()), Err(error)) = (&followed, self.follow(owner, rest, value)) {
                followed = Err(error);
            }
        });
        applied.map_err(|error| error.to_string())?;
        followed.map_err(|error| error.to_string().into())
    }

    /// Stops a driver of whom a change in `frame` cannot be read. The tables remember it, for they go on beyond
    /// that frame.
    pub(crate) fn stop(&self, driver: DriverKey, frame: FrameNumber) {
        if self.catalog.handler_lives(driver.handler) {
            let first = *self.broken.entry(driver).or_insert(frame);
            self.tables.put(Owner { table: TableId::Broken, driver }, b"", &BrokenRow(first).encode());
        }
    }

    /// The frame of the change that is broken, if it stops the driver, or all of its handler.
    pub(crate) fn stopped_at(&self, driver: DriverKey) -> Option<FrameNumber> {
        let stopped = |driver| self.broken.get(&driver).map(|frame| *frame);
        stopped(driver).or_else(|| stopped(DriverKey::all_of(driver.handler)))
    }

    /// Leaves ids out that `count` frames may have given to topics and handlers.
    pub(crate) fn skip_ids(&self, count: u64) {
        for kind in [NextId::Topic, NextId::Handler] {
            let next = self.catalog.next_id(kind) + count;
            self.catalog.set_next_id(kind, next);
            self.tables.put(Owner::store(TableId::NextIds), &[kind as u8], &NextId::encode(next));
        }
    }

    /// The drivers of a handler that are stopped, each with the frame of the change that is broken.
    pub(crate) fn stopped(&self, handler: HandlerId) -> Vec<(DriverKey, FrameNumber)> {
        let of_handler = self.broken.iter().filter(|entry| entry.key().handler == handler);
        let mut stopped: Vec<_> = of_handler.map(|entry| (*entry.key(), *entry.value())).collect();
        stopped.sort_unstable();
        stopped
    }

    /// Closes the overlay, for a checkpoint; `None` if there is nothing to flush. Nothing is applied meanwhile.
    pub(crate) fn seal(&self, now_ms: i64) -> Option<Checkpoint> {
        if self.tables.applied() > self.tables.persisted() {
            self.tails.take_dirty(|source, row| {
                self.tables.put(Owner::store(TableId::Ends), &partition_rest(source), &row.encode());
            });
        }
        let living = self.catalog.living(now_ms);
        Some(Checkpoint { sealed: self.tables.seal()?, living })
    }

    /// Flushes what was replayed before `frame`: nobody opens a store with a longer tail than memory may hold, but
    /// tables that are made again are replayed from the first frame.
    pub(crate) fn flush_before(&self, frame: FrameNumber) -> Result<(), TreeError> {
        let before = frame.0 - 1;
        if before <= self.tables.applied() {
            return Ok(());
        }
        self.tables.set_applied(before);
        match self.seal(self.tails.newest_ms().unwrap_or(0)) {
            Some(checkpoint) => self.tables.flush(&checkpoint.sealed, checkpoint.living),
            None => Ok(()),
        }
    }

    /// Takes note of blocks that a replayed frame holds.
    pub(crate) fn recover(&self, headers: &[BlockHeader]) {
        for header in headers {
            if self.catalog.partitions(header.target.topic).is_some() {
                let end = header.first.plus(header.count.into());
                let row = EndRow { end, append_time_ms: header.append_time };
                self.tails.recover(header.target, row, true);
            }
        }
    }

    /// Follows one row. Rows of ids that do not live are left to be cleared away.
    fn follow(&self, owner: Owner, rest: &[u8], value: Option<&[u8]>) -> Result<(), RowError> {
        let broken = RowError { table: owner.table };
        match owner.table {
            TableId::Topics => {
                let id = topic_of(rest).ok_or(broken)?;
                let row = value.map(|row| TopicRow::decode(row).ok_or(broken)).transpose()?;
                if row.is_none() {
                    self.tails.remove(id);
                    self.groups.remove_topic(id);
                }
                self.catalog.set_topic(id, row);
            }
            TableId::Handlers => {
                let id = topic_of(rest).map(|id| HandlerId(id.0)).ok_or(broken)?;
                let row = value.map(|row| HandlerRow::decode(row).ok_or(broken)).transpose()?;
                if row.is_none() {
                    self.groups.remove_handler(id);
                    self.broken.retain(|driver, _| driver.handler != id);
                    self.unreadable.remove(&id);
                }
                self.catalog.set_handler(id, row);
            }
            TableId::NextIds => {
                let kind = [NextId::Topic, NextId::Handler].into_iter().find(|&kind| rest == [kind as u8]);
                let next = value.and_then(NextId::decode).ok_or(broken)?;
                self.catalog.set_next_id(kind.ok_or(broken)?, next);
            }
            TableId::Ends => {
                let source = partition_of(rest).ok_or(broken)?;
                let row = value.and_then(EndRow::decode).ok_or(broken)?;
                if self.catalog.partitions(source.topic).is_some() {
                    self.tails.recover(source, row, false);
                }
            }
            TableId::Progress => {
                let topic = topic_of(rest).ok_or(broken)?;
                let row = value.map(|row| ProgressRow::decode(row).ok_or(broken)).transpose()?;
                let lives = self.catalog.handler_lives(owner.driver.handler)
                    && self.catalog.partitions(topic).is_some();
                if lives {
                    self.groups.set(owner.driver, topic, row.map(|row| row.0));
                }
            }
            TableId::Broken => {
                let row = value.map(|row| BrokenRow::decode(row).ok_or(broken)).transpose()?;
                match row {
                    Some(row) if self.catalog.handler_lives(owner.driver.handler) => {
                        self.broken.insert(owner.driver, row.0);
                        if row == BrokenRow::EVERYTHING {
                            let what = "all its rows were lost with the tables".into();
                            self.unreadable.insert(owner.driver.handler, what);
                        }
                    }
                    Some(_) => {}
                    None => drop(self.broken.remove(&owner.driver)),
                }
            }
            TableId::Meta | TableId::Once | TableId::Producers | TableId::State | TableId::Notes => {}
        }
        Ok(())
    }
}
