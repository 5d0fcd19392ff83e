//! Any bytes as a change, a key or a row: what is understood, written again. For the fuzzer, which holds it to
//! the bytes that it gave.

use super::delta::Deltas;
use super::key::{Owner, TableId};
use super::rows::{BrokenRow, EndRow, HandlerRow, NextId, OnceRow, ProducerRow, ProgressRow, TopicRow};
use crate::DriverKey;

/// A change of tables as one that has a group for each row; `None` if it is broken.
pub fn reread_change(section: &[u8]) -> Option<Vec<u8>> {
    let mut again = Vec::new();
    let read = Deltas::read(DriverKey::NONE, section, |owner, rest, value| {
        Deltas::push(&mut again, owner.table, rest, value);
    });
    read.ok().map(|()| again)
}

/// A key of a row; `None` if it is none.
pub fn reread_key(key: &[u8]) -> Option<Vec<u8>> {
    Owner::split(key).map(|(owner, rest)| owner.key(rest))
}

/// A row of the table of that number; `None` if it is broken, of another version, or the table's rows are not
/// the store's own.
pub fn reread_row(table: u8, row: &[u8]) -> Option<Vec<u8>> {
    match TableId::from_byte(table)? {
        TableId::Topics => TopicRow::decode(row).map(|row| row.encode()),
        TableId::Handlers => HandlerRow::decode(row).map(|row| row.encode()),
        TableId::NextIds => NextId::decode(row).map(NextId::encode),
        TableId::Ends => EndRow::decode(row).map(|row| row.encode().to_vec()),
        TableId::Once => OnceRow::decode(row).map(|row| row.encode()),
        TableId::Producers => ProducerRow::decode(row).map(|row| row.encode()),
        TableId::Progress => ProgressRow::decode(row).map(|row| row.encode().to_vec()),
        TableId::Broken => BrokenRow::decode(row).map(BrokenRow::encode),
        TableId::Meta | TableId::State | TableId::Notes => None,
    }
}
