//! An output checked and its events scattered: where each topic leads, and what is refused.

use std::sync::atomic::Ordering::Relaxed;

use tidemill_bus::log::Topic;
use tidemill_bus::transaction::{NewBlock, StateWrites};

use super::Work;
use super::commit::Return;
use crate::driver::Taken;
use crate::handler::Fault;
use crate::limits;
use crate::outcome::{Checked, Emission, Scatter, Target, check};
use crate::output::{Failure, Output, Stop};
use crate::pool::Cell;
use crate::pool::worker::Worker;

impl Work {
    /// Checks an output and scatters its events.
    pub(super) fn judge<'a>(
        &mut self,
        cell: &Cell,
        worker: &mut Worker,
        taken: Taken<'a>,
        mut output: Output,
    ) -> Result<(Return<'a>, Option<Stop>, usize), Fault> {
        let checked = check(&output, taken.batch).map_err(|lie| Fault::Lie(lie.to_string()))?;
        self.find_targets(cell, worker, checked);
        let emission = Emission { output: checked, batch: taken.batch, targets: &worker.targets };
        let refused = Scatter::refused(emission);
        let has_state = !output.state.is_empty();
        if has_state && !refused.is_empty() && taken.batch.len() > 1 {
            // The writes of the refused events cannot be told from the others': they are found one by one.
            return Err(Fault::Lie(refused[0].reason.clone()));
        }
        let blocks = worker.scatter.blocks(emission, &refused, self.driver.key().handler);
        let (state, rejected) = (std::mem::take(&mut output.state), std::mem::take(&mut output.rejected));
        let state = if refused.is_empty() {
            state
        } else {
            // The guest takes its effects for done.
            self.instance = None;
            StateWrites::default()
        };
        let bytes = blocks.iter().map(NewBlock::byte_len).sum::<usize>() + state.byte_len();
        if bytes > limits::TRANSACTION_BYTES {
            return Err(Fault::OutputTooLarge { limit: limits::TRANSACTION_BYTES });
        }
        let rejected = merged(rejected, refused);
        Ok((Return { taken, blocks, rejected, state }, output.stopped, output.settled as usize))
    }

    /// Finds where each topic of the output leads.
    fn find_targets(&self, cell: &Cell, worker: &mut Worker, checked: Checked<'_>) {
        let output = checked.output();
        worker.targets.clear();
        if output.topics.is_empty() && !output.cause_of.is_empty() {
            worker.targets.push(match self.settings.first_output() {
                Some(name) => target(cell, name),
                None => {
                    Target::Refused("emitted without a topic, and the first output is not one".to_owned())
                }
            });
        }
        for name in &output.topics {
            let target = if self.settings.declares(name) {
                target(cell, name)
            } else {
                let name = crate::dead_letter::bounded(name);
                Target::Refused(format!("emitted to the topic {name:?}, which it does not declare"))
            };
            worker.targets.push(target);
        }
    }
}

fn target(cell: &Cell, name: &str) -> Target {
    match topic_named(cell, name) {
        Ok(topic) => Target::Topic { id: topic.id, partitions: topic.partitions },
        Err(reason) => Target::Refused(reason),
    }
}

/// A topic by name as it is now, for its partitions may have been raised. Created if it is not there: those that
/// are declared by name were created at installation, so that comes once for each topic of a glob and after a
/// deletion.
pub(super) fn topic_named(cell: &Cell, name: &str) -> Result<Topic, String> {
    let log = &cell.core().log;
    match log.topic(name) {
        Some(topic) => Ok(topic),
        None if cell.installed().topics_created.load(Relaxed) >= limits::OUTPUT_TOPICS => {
            Err(format!("has created {} topics, which is the limit", limits::OUTPUT_TOPICS))
        }
        None => {
            cell.installed().topics_created.fetch_add(1, Relaxed);
            log.create_topic(name, None).map_err(|error| error.to_string())
        }
    }
}

/// Two ascending lists of rejections as one. No event is in both: what is rejected emits nothing.
fn merged(rejected: Vec<Failure>, refused: Vec<Failure>) -> Vec<Failure> {
    if refused.is_empty() {
        return rejected;
    }
    let mut all = rejected;
    all.extend(refused);
    all.sort_by_key(|failure| failure.index);
    all
}
