//! What the tree's files say of each other and the engine does not check itself: that the list of its files is
//! the one that `current` names, and that each file is as it was written. Knows the engine's formats, no row.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use lsm_tree::{AbstractTree, AnyTree};
use xxhash_rust::xxh3::Xxh3;

use super::key::Owner;
use super::tree::{TreeError, TreeFault};

/// The file that names the newest list of files: its number (`u64`), the list's XXH3-128 (`u128`), and what kind
/// of checksum that is (`u8`, 0); little-endian.
const CURRENT: &str = "current";
const CURRENT_BYTES: usize = 25;

/// A file of the tree that is not as it was written, and which rows may be in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tables' file {file} is broken: {what}; it holds rows from {from} to {to}")]
pub struct BrokenTable {
    /// The file's number, its name in `tables/tables`.
    pub file: u64,
    /// What was found.
    pub what: String,
    /// Whose its first row is.
    pub from: String,
    /// Whose its last row is.
    pub to: String,
}

/// Checks the list of files before the engine, which trusts it, reads it.
pub(super) fn check_list(tree: &Path) -> Result<(), TreeError> {
    let current = match std::fs::read(tree.join(CURRENT)) {
        Ok(current) => current,
        Err(error) if error.kind() == ErrorKind::NotFound => return check_empty(tree),
        Err(error) => return Err(unreadable(&error)),
    };
    let Ok(current) = <[u8; CURRENT_BYTES]>::try_from(current) else {
        return Err(broken("the file `current` has another length than it should".to_owned()));
    };
    let (number, rest) = current.split_first_chunk::<8>().expect("25 bytes begin with 8");
    let (checksum, kind) = rest.split_first_chunk::<16>().expect("17 bytes begin with 16");
    let name = format!("v{}", u64::from_le_bytes(*number));
    match hash_of(&tree.join(&name)) {
        Ok(found) if found == u128::from_le_bytes(*checksum) && kind == [0] => Ok(()),
        Ok(_) => Err(broken(format!("the list of files {name} is not the one that `current` names"))),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(broken(format!("{name} is missing"))),
        Err(error) => Err(unreadable(&error)),
    }
}

/// Without a list there must be no tables: the engine would begin anew and remove them.
fn check_empty(tree: &Path) -> Result<(), TreeError> {
    match std::fs::read_dir(tree.join("tables")) {
        Ok(mut tables) => match tables.next() {
            Some(_) => Err(broken("the file `current` is missing, and there are tables".to_owned())),
            None => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unreadable(&error)),
    }
}

/// Reads every file of the tree, and tells which are not as they were written.
pub(super) fn broken_tables(tree: &AnyTree) -> Vec<BrokenTable> {
    let mut found = Vec::new();
    for table in tree.current_version().iter_tables() {
        let what = match hash_of(&table.path) {
            Ok(hash) if hash == table.checksum().into_u128() => continue,
            Ok(_) => "its checksum is another".to_owned(),
            Err(error) => error.to_string(),
        };
        let range = &table.metadata.key_range;
        let [from, to] = [range.min(), range.max()].map(|key| describe(key));
        found.push(BrokenTable { file: table.id(), what, from, to });
    }
    found.sort_unstable_by_key(|table| table.file);
    found
}

fn describe(key: &[u8]) -> String {
    Owner::split(key).map_or_else(|| "unknown".to_owned(), |(owner, _)| owner.to_string())
}

fn hash_of(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let (mut hash, mut chunk) = (Xxh3::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hash.digest128()),
            len => hash.update(&chunk[..len]),
        }
    }
}

fn broken(what: String) -> TreeError {
    TreeError { attempt: "open", what: what.into(), fault: TreeFault::Broken }
}

fn unreadable(error: &io::Error) -> TreeError {
    TreeError { attempt: "open", what: error.to_string().into(), fault: TreeFault::Io }
}
