//! What an operator does to a running handler: look, pause, resume, move.

use std::sync::Arc;

use parking_lot::MutexGuard;
use tidemill_bus::log::{ReadError, Topic};
use tidemill_bus::{Offset, Partition};

use super::{Change, Flow, OperateError, SeekError, Shared};
use crate::installed::Installed;
use crate::note::Note;
use crate::pool::{Cell, Command, Latch};
use crate::status::{HandlerState, HandlerStatus, PartitionStatus};

/// Where a handler is to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seek {
    /// The input; `None` is every one.
    pub topic: Option<String>,
    /// The partition; `None` is every one.
    pub partition: Option<Partition>,
    /// The position.
    pub to: SeekTo,
}

/// A position to go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// The oldest event kept.
    Earliest,
    /// After the newest.
    Latest,
    /// This offset, or the nearest that is kept.
    Offset(Offset),
    /// The first event appended at or after this time, in milliseconds since the Unix epoch.
    Time(i64),
}

impl Flow {
    /// Pauses a handler: calls under way end and are committed, none begins until it is resumed, in this process or
    /// a later one. Waits for the disk.
    pub fn pause(&self, name: &str) -> Result<(), OperateError> {
        self.shared.pause(name)
    }

    /// Lets a paused handler go on, and partitions that stand still try again with all their attempts; a handler whose
    /// group was reset begins anew. Waits for the disk.
    pub fn resume(&self, name: &str) -> Result<(), OperateError> {
        self.shared.resume(name)
    }

    /// Moves a handler; its state stays as it is. Waits until the new position is committed. Works on a
    /// paused handler too.
    pub fn seek(&self, name: &str, seek: &Seek) -> Result<(), SeekError> {
        self.shared.send(name, seek)?.wait();
        let failed = self.shared.find(name)?.failed();
        failed.map_or(Ok(()), |reason| Err(SeekError::Failed { handler: name.to_owned(), reason }))
    }

    /// All handlers, by name.
    pub fn status(&self) -> Vec<HandlerStatus> {
        let handlers: Vec<_> = self.shared.handlers.read().values().map(Arc::clone).collect();
        handlers.iter().map(|installed| self.shared.status(installed)).collect()
    }
}

impl Shared {
    pub(crate) fn pause(&self, name: &str) -> Result<(), OperateError> {
        let now_ms = self.core.log.now_ms();
        let pause = |_: &Installed, note: &mut Note| note.paused_since = note.paused_since.or(Some(now_ms));
        let (_changing, installed) = self.noted(name, pause)?;
        installed.pause();
        Ok(())
    }

    pub(crate) fn resume(&self, name: &str) -> Result<(), OperateError> {
        let installed = self.find(name)?;
        let refused = |source| OperateError::Note { handler: name.to_owned(), source };
        if self.core.log.handler_id(name).map_err(refused)? != installed.id {
            let changing = self.changing.lock();
            return if *changing == Change::Stopped {
                Err(OperateError::Stopped)
            } else {
                Ok(self.renew(&installed)?)
            };
        }
        let (_changing, installed) = self.noted(name, |_, note| note.paused_since = None)?;
        installed.resume();
        if installed.trial.has_failed(installed.generation()) {
            // The former version could not come back, perhaps because the disk was full.
            self.core.errands.conclude(Arc::clone(&installed));
        }
        installed.cells.read().iter().for_each(|cell| cell.command(Command::Resume));
        Ok(())
    }

    /// Changes what the log remembers of a handler. Nobody else changes it before the guard is dropped.
    pub(super) fn noted(
        &self,
        name: &str,
        change: impl FnOnce(&Installed, &mut Note),
    ) -> Result<(MutexGuard<'_, Change>, Arc<Installed>), OperateError> {
        let changing = self.changing.lock();
        if *changing == Change::Stopped {
            return Err(OperateError::Stopped);
        }
        let installed = self.find(name)?;
        let mut note = installed.note();
        change(&installed, &mut note);
        let refused = |source| OperateError::Note { handler: name.to_owned(), source };
        installed.set_note(&*self.core.log, note).map_err(refused)?;
        Ok((changing, installed))
    }

    /// Sends a handler elsewhere; the latch opens when it is there.
    pub(crate) fn send(&self, name: &str, seek: &Seek) -> Result<Arc<Latch>, SeekError> {
        let changing = self.changing.lock();
        if *changing == Change::Stopped {
            return Err(SeekError::Stopped);
        }
        let installed = self.find(name)?;
        let mut moves = Vec::new();
        for input in &installed.settings().config.inputs {
            if seek.topic.as_ref().is_some_and(|topic| topic != input) {
                continue;
            }
            let Some(topic) = self.core.log.topic(input) else { continue };
            for cell in installed.cells.read().iter().take(topic.partitions as usize) {
                if seek.partition.is_none_or(|partition| partition == cell.key().partition) {
                    let to = self.position(&topic, cell, seek.to)?;
                    moves.push((Arc::clone(cell), topic.id, to));
                }
            }
        }
        if moves.is_empty() {
            let topic = seek.topic.as_deref().unwrap_or("any topic");
            let partition = seek.partition.map(|number| format!(" partition {number}")).unwrap_or_default();
            return Err(SeekError::NotRead { handler: name.to_owned(), what: format!("{topic}{partition}") });
        }
        let latch = Latch::new(moves.len());
        for (cell, topic, to) in moves {
            cell.command(Command::Seek(topic, to, Arc::clone(&latch)));
        }
        Ok(latch)
    }

    fn position(&self, topic: &Topic, cell: &Cell, to: SeekTo) -> Result<Offset, ReadError> {
        let source = topic.partition(cell.key().partition);
        let range = self.core.log.range(source)?;
        Ok(match to {
            SeekTo::Earliest => range.start,
            SeekTo::Latest => range.end,
            SeekTo::Offset(offset) => offset.clamp(range.start, range.end),
            SeekTo::Time(time_ms) => self.core.log.position_at(source, time_ms)?,
        })
    }

    pub(crate) fn status(&self, installed: &Installed) -> HandlerStatus {
        let settings = installed.settings();
        let mut status = HandlerStatus {
            name: Arc::clone(&installed.name),
            id: installed.id,
            state: HandlerState::Running,
            version: settings.handler.version().into(),
            in_charge: Some(installed.note().version).filter(|version| !version.is_empty()).map(Into::into),
            on_trial: installed.trial.is_of(settings.generation).then(|| installed.unproved()),
            refused: installed.trial.refused(),
            generation: settings.generation,
            inputs: settings.config.inputs.iter().map(|name| name.as_str().into()).collect(),
            outputs: settings.config.outputs.clone(),
            partitions: Vec::new(),
            counters: installed.tally.counters(),
            instances: 0,
            memory_bytes: 0,
        };
        for cell in &*installed.cells.read() {
            self.add_cell(&mut status, cell);
        }
        let stopped = status.partitions.iter().find_map(|partition| partition.stopped.clone());
        let stopped = installed.unfit().or(stopped).or_else(|| installed.trouble.lock().clone());
        status.state = (installed.failed().map(HandlerState::Failed))
            .or_else(|| stopped.map(HandlerState::Stopped))
            .or_else(|| installed.troubled().map(HandlerState::Retrying))
            .unwrap_or(HandlerState::Running);
        if let Some(since) = installed.paused_since() {
            status.state = HandlerState::Paused { since };
        }
        status
    }

    fn add_cell(&self, status: &mut HandlerStatus, cell: &Cell) {
        let view = cell.view().lock().clone();
        status.instances += view.instances;
        status.memory_bytes += view.memory_bytes;
        for input in view.inputs {
            let Some(topic) = self.core.log.topic_by_id(input.topic) else { continue };
            let Ok(range) = self.core.log.range(topic.partition(cell.key().partition)) else { continue };
            let position = input.committed.next;
            status.partitions.push(PartitionStatus {
                topic: topic.name,
                topic_id: topic.id,
                partition: cell.key().partition,
                position,
                end: range.end,
                lag: range.end.0.saturating_sub(position.0),
                attempts: input.committed.attempts,
                not_before: input.committed.not_before,
                lost: input.lost,
                stopped: input.stopped,
            });
        }
    }
}
