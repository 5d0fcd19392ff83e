//! A transaction made of what a call came to, dead letters included, and handed in.

use std::sync::Arc;

use tidemill_bus::block::body_crc;
use tidemill_bus::log::Answer;
use tidemill_bus::transaction::{Cause, NewBlock, Progress, ProgressUpdate, StateWrites};
use tidemill_bus::{Partition, Transaction};

use super::Work;
use super::judge::topic_named;
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::driver::{Effects, Ending, Settlement, Taken};
use crate::handler::Fault;
use crate::output::Failure;
use crate::pool::Cell;
use crate::pool::mail::Launched;

/// A call that came back whole, and what it comes to.
pub(super) struct Return<'a> {
    pub(super) taken: Taken<'a>,
    pub(super) blocks: Vec<NewBlock>,
    pub(super) rejected: Vec<Failure>,
    pub(super) state: StateWrites,
}

impl Work {
    /// Makes a transaction of what a call came to. `failed` is the event that it stopped at, the kind of its
    /// failure and the reason.
    pub(super) fn commit(
        &mut self,
        cell: &Arc<Cell>,
        back: Return<'_>,
        settlement: Settlement,
        failed: (usize, &str, &str),
    ) {
        let Return { taken, mut blocks, rejected, state } = back;
        let events_out: usize = blocks.iter().map(|block| block.columns.len()).sum();
        let attempt = |index: usize| if index == 0 { taken.plan.attempt } else { 1 };
        let mut letters: Vec<DeadLetter<'_>> = Vec::new();
        letters.extend(rejected.iter().map(|failure| {
            let index = failure.index as usize;
            DeadLetter { index, kind: "rejected", reason: &failure.reason, attempts: attempt(index) }
        }));
        let (index, kind, reason) = failed;
        let gone = match settlement.ending {
            Ending::DeadLetter => {
                letters.push(DeadLetter { index, kind, reason, attempts: settlement.attempts });
                1
            }
            Ending::Drop => 1,
            Ending::Retry => {
                cell.installed().tally.retry();
                0
            }
            Ending::Clean | Ending::Halt | Ending::Refused => 0,
        };
        if !letters.is_empty()
            && let Err(fault) = self.add_letters(cell, taken, &letters, &mut blocks)
        {
            // The dead-letter topic cannot be had: the call is as if it never was.
            return self.put_off(cell, taken, &fault, &fault.to_string());
        }
        let settled = if settlement.ending == Ending::Clean { taken.batch.len() } else { index + gone };
        let effects = Effects {
            events_in: settled as u64,
            events_out: events_out as u64,
            dead_letters: letters.len() as u64,
            dropped: u64::from(settlement.ending == Ending::Drop),
        };
        let transaction = Transaction { blocks, state, ..Transaction::default() };
        let launch = (transaction, settlement.progress, effects);
        self.launch(cell, taken.plan.input, launch, taken.plan.limit.bytes);
    }

    fn add_letters(
        &mut self,
        cell: &Cell,
        taken: Taken<'_>,
        letters: &[DeadLetter<'_>],
        blocks: &mut Vec<NewBlock>,
    ) -> Result<(), Fault> {
        let topic = topic_named(cell, &self.settings.config.dead_letter_topic()).map_err(Fault::Host)?;
        let source = taken.batch.source;
        let dead = DeadLetters {
            handler: &self.settings.config.name,
            topic: &self.driver.inputs()[taken.plan.input].topic.name,
            now_ms: cell.core().log.now_ms(),
        };
        let base = taken.batch.base_offset;
        for (columns, causes) in dead.runs(taken.batch, letters) {
            let delta = |index: u32| {
                let delta = taken.batch.offset(index as usize).0 - base.0;
                u32::try_from(delta).expect("a batch spans fewer than 2^32 offsets")
            };
            let events: Vec<u32> = causes.into_iter().map(delta).collect();
            let handler = self.driver.key().handler;
            blocks.push(NewBlock {
                target: topic.partition(Partition(source.partition.0 % topic.partitions)),
                body_crc: body_crc(&columns, Some(&events)),
                columns: Arc::new(columns),
                cause: Some(Arc::new(Cause { handler, source, first: base, events })),
            });
        }
        Ok(())
    }

    /// Hands a transaction in that brings an input to a progress, with its effects; `reserved` bytes of the
    /// budget are held for it.
    pub(super) fn launch(
        &mut self,
        cell: &Arc<Cell>,
        input: usize,
        (mut transaction, progress, effects): (Transaction, Progress, Effects),
        reserved: usize,
    ) {
        let core = cell.core();
        let bytes = transaction.byte_len();
        core.budget.correct(reserved, bytes);
        core.launched();
        transaction.driver = Some(self.driver.key());
        transaction.epoch = self.driver.epoch();
        let topic = self.driver.inputs()[input].topic.id;
        transaction.progress = Some(ProgressUpdate { topic, progress });
        let token = self.driver.launch(input, progress, effects);
        if !transaction.state.is_empty() {
            self.layers.push(token, transaction.state.clone());
        }
        cell.mailbox().lock().launched.push_back(Launched { token, bytes, at: core.clock.now() });
        core.log.submit(transaction, Answer { to: Arc::clone(cell) as _, token });
    }
}
