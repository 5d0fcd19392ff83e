//! Whether a transaction may be committed: its size, the life of what it names, its driver's epoch. Knows no
//! journal and writes nothing.

use super::view::View;
use crate::Transaction;
use crate::limits::{
    IDEMPOTENCY_KEY_BYTES_MAX, NEW_BLOCK_BYTES_MAX, PRODUCER_BYTES_MAX, STATE_KEY_BYTES_MAX,
    STATE_VALUE_BYTES_MAX, TRANSACTION_BYTES_MAX,
};
use crate::log::Abort;

/// Checks everything but the idempotency key's memory.
pub(super) fn check(view: &View, transaction: &Transaction, bytes: usize) -> Result<(), Abort> {
    check_sizes(transaction, bytes)?;
    if let Some(driver) = transaction.driver {
        let epoch = view.groups.epoch(driver);
        let stopped = view.stopped_at(driver).is_some();
        if transaction.epoch != epoch || stopped || !view.catalog.handler_lives(driver.handler) {
            return Err(Abort::Fenced(driver));
        }
    }
    if let Some(update) = &transaction.progress
        && view.catalog.partitions(update.topic).is_none()
    {
        return Err(Abort::TopicGone(update.topic));
    }
    let mut checked = None;
    for block in &transaction.blocks {
        // Blocks of one topic mostly stand together.
        if checked.is_none_or(|(topic, _)| topic != block.target.topic) {
            let partitions = view.catalog.partitions(block.target.topic);
            checked = partitions.map(|partitions| (block.target.topic, partitions));
        }
        if checked.is_none_or(|(_, partitions)| block.target.partition.0 >= partitions) {
            return Err(Abort::TopicGone(block.target.topic));
        }
    }
    Ok(())
}

fn check_sizes(transaction: &Transaction, bytes: usize) -> Result<(), Abort> {
    let within = |bytes: usize, limit: usize| {
        if bytes > limit { Err(Abort::TooLarge { bytes, limit }) } else { Ok(()) }
    };
    within(bytes, TRANSACTION_BYTES_MAX)?;
    for block in &transaction.blocks {
        within(block.byte_len(), NEW_BLOCK_BYTES_MAX)?;
    }
    let state = &transaction.state;
    for &len in &state.key_lens {
        within(len as usize, STATE_KEY_BYTES_MAX)?;
    }
    for &len in &state.value_lens {
        within(usize::try_from(len).unwrap_or(0), STATE_VALUE_BYTES_MAX)?;
    }
    if let Some(publish) = &transaction.producer {
        within(publish.producer.len(), PRODUCER_BYTES_MAX)?;
    }
    match &transaction.once {
        Some(once) => within(once.key.len(), IDEMPOTENCY_KEY_BYTES_MAX),
        None => Ok(()),
    }
}
