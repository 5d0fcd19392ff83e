//! What is known of a publish that may be sent again, before it waits: looked up in the tree by whoever hands it in,
//! so that the committer never waits for the disk to read. What came since is in memory.

use super::view::View;
use crate::Transaction;
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, PRODUCER_BYTES_MAX};
use crate::log::Abort;
use crate::tables::{OnceRow, Owner, ProducerRow, TableId};

/// What the tables knew of a publish, and when.
pub(crate) struct Known {
    /// The rows, or why they could not be read.
    once: Result<Option<OnceRow>, Abort>,
    producer: Result<Option<ProducerRow>, Abort>,
    /// Every frame up to this one was looked at.
    applied: u64,
}

impl View {
    /// Looks up what a transaction is remembered by; `None` if it is by nothing. May wait for the disk.
    pub(crate) fn look_up(&self, transaction: &Transaction) -> Option<Known> {
        let (once, producer) = (&transaction.once, &transaction.producer);
        if once.is_none() && producer.is_none() {
            return None;
        }
        let applied = self.tables.applied();
        let get = |table, key: &str| {
            let row = self.tables.get(Owner::store(table), key.as_bytes());
            row.map_err(|error| Abort::Tables(error.to_string().into()))
        };
        // What is longer than it may be will be refused.
        let key =
            once.as_ref().map(|once| once.key.as_str()).filter(|key| key.len() <= IDEMPOTENCY_KEY_BYTES_MAX);
        let name = producer.as_ref().map(|publish| publish.producer.as_str());
        let name = name.filter(|name| name.len() <= PRODUCER_BYTES_MAX);
        let once = key.map_or(Ok(None), |key| decode(get(TableId::Once, key)?.as_deref(), OnceRow::decode));
        let producer = name
            .map_or(Ok(None), |name| decode(get(TableId::Producers, name)?.as_deref(), ProducerRow::decode));
        Some(Known { once, producer, applied })
    }

    /// The row of an idempotency key of which `known` was known when it was handed in. Never waits: if it waited so
    /// long that what came meanwhile has left the memory, it is to come again.
    pub(crate) fn once(&self, key: &str, known: Option<&Known>) -> Result<Option<OnceRow>, Abort> {
        self.remembered((TableId::Once, key), OnceRow::decode, known, |known| known.once.clone())
    }

    /// The row of a producer, likewise.
    pub(crate) fn producer(&self, name: &str, known: Option<&Known>) -> Result<Option<ProducerRow>, Abort> {
        self.remembered((TableId::Producers, name), ProducerRow::decode, known, |known| {
            known.producer.clone()
        })
    }

    fn remembered<R>(
        &self,
        (table, key): (TableId, &str),
        row: impl Fn(&[u8]) -> Option<R>,
        known: Option<&Known>,
        then: impl Fn(&Known) -> Result<Option<R>, Abort>,
    ) -> Result<Option<R>, Abort> {
        let recent = self.tables.recent(Owner::store(table), key.as_bytes());
        match (recent.newest, known) {
            (Some(newest), _) => decode(newest.as_deref(), row),
            (None, Some(known)) if known.applied >= recent.after => then(known),
            (None, _) => Err(Abort::Busy),
        }
    }
}

fn decode<R>(row: Option<&[u8]>, decode: impl Fn(&[u8]) -> Option<R>) -> Result<Option<R>, Abort> {
    let broken = || Abort::Tables("what a publish is remembered by is broken or of a newer version".into());
    row.map(|row| decode(row).ok_or_else(broken)).transpose()
}
