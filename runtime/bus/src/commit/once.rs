//! What is known of an idempotency key before its publish waits: looked up in the tree by whoever hands it in, so
//! that the committer never waits for the disk to read. What came since is in memory.

use super::view::View;
use crate::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::log::Abort;
use crate::tables::{OnceRow, Owner, TableId};

/// What the tables knew of a key, and when.
pub(crate) struct Known {
    /// The row, or why it could not be read.
    row: Result<Option<OnceRow>, Abort>,
    /// Every frame up to this one was looked at.
    applied: u64,
}

impl View {
    /// Looks a key up. May wait for the disk.
    pub(crate) fn look_up(&self, key: &str) -> Known {
        let applied = self.tables.applied();
        // A longer one will be refused.
        let row = if key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            Ok(None)
        } else {
            let row = self.tables.get(Owner::store(TableId::Once), key.as_bytes());
            row.map_err(|error| Abort::Tables(error.to_string().into()))
                .and_then(|row| decode(row.as_deref()))
        };
        Known { row, applied }
    }

    /// The row of a key of which `known` was known when it was handed in. Never waits: if it waited so long that
    /// what came meanwhile has left the memory, it is to come again.
    pub(crate) fn once(&self, key: &str, known: Option<Known>) -> Result<Option<OnceRow>, Abort> {
        let recent = self.tables.recent(Owner::store(TableId::Once), key.as_bytes());
        match (recent.newest, known) {
            (Some(newest), _) => decode(newest.as_deref()),
            (None, Some(known)) if known.applied >= recent.after => known.row,
            (None, _) => Err(Abort::Busy),
        }
    }
}

fn decode(row: Option<&[u8]>) -> Result<Option<OnceRow>, Abort> {
    let broken = || Abort::Tables("the row of an idempotency key is broken or of a newer version".into());
    row.map(|row| OnceRow::decode(row).ok_or_else(broken)).transpose()
}
