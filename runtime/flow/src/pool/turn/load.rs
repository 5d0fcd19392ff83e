//! Where a driver begins: the epoch and the progress that the log has of it, or the start of a new group.

use tidemill_bus::log::ReadError;
use tidemill_bus::transaction::Progress;
use tidemill_bus::{TopicId, TopicPartition};

use super::Work;
use crate::config;
use crate::driver::Start;
use crate::pool::Cell;

impl Work {
    /// Reads epoch and progress.
    pub(super) fn load(&mut self, cell: &Cell) {
        let log = &cell.core().log;
        let key = self.driver.key();
        let epoch = log.epoch(key);
        let mut progress = Vec::new();
        for input in self.driver.inputs() {
            let start = match log.progress(key, input.topic.id) {
                Ok(Some(progress)) => Ok((progress, Start::Known)),
                Ok(None) => self.start(cell, input.topic.id, input.source),
                Err(error) => return self.driver.unloadable(&error.to_string()),
            };
            match start {
                Ok(start) => progress.push(start),
                Err(ReadError::Unknown(source)) => return self.driver.drop_input(source.topic),
                Err(error) => return self.driver.unloadable(&error.to_string()),
            }
        }
        self.driver.loaded(epoch, &progress, &self.settings.config.retry);
    }

    /// Where a new group begins.
    fn start(
        &self,
        cell: &Cell,
        topic: TopicId,
        source: TopicPartition,
    ) -> Result<(Progress, Start), ReadError> {
        let log = &cell.core().log;
        let configured = self.settings.first_inputs.contains(&topic);
        let start = if configured { self.settings.config.start } else { config::Start::Earliest };
        let (next, start) = match start {
            config::Start::Earliest => (log.range(source)?.start, Start::Known),
            config::Start::Latest => (log.range(source)?.end, Start::New),
            config::Start::Time(time_ms) => (log.position_at(source, time_ms)?, Start::New),
        };
        Ok((Progress { next, ..Progress::default() }, start))
    }
}
