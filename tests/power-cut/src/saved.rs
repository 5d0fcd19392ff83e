//! What a process that was killed leaves to the next: what of its files is not on the disk. Written and read by
//! this library only, within one run of a harness: it has no version.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::file::{File, Layer, Pages};
use crate::tree::{Entry, Names, Operation, Place, Tree};

/// The state as bytes.
pub(crate) fn encode(tree: &Tree, files: &HashMap<u64, File>) -> Vec<u8> {
    let mut out = Writer::default();
    out.number(tree.root);
    out.number(tree.durable.len() as u64);
    for (at, entry) in &tree.durable {
        out.place(at);
        out.entry(*entry);
    }
    out.number(tree.unsynced.len() as u64);
    for (_, operation) in &tree.unsynced {
        out.operation(operation);
    }
    out.number(files.len() as u64);
    for (inode, file) in files {
        out.number(*inode);
        out.pages(&file.dropped);
        out.number(u64::from(file.pending.is_some()));
        if let Some(layer) = &file.pending {
            out.number(layer.len);
            out.pages(&layer.pages);
        }
    }
    out.0
}

/// The state that was encoded; `None` if the bytes are not one.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Tree, HashMap<u64, File>)> {
    let mut from = Reader(bytes);
    let mut tree = Tree::synced(from.number()?, Names::new());
    for _ in 0..from.number()? {
        tree.durable.insert(from.place()?, from.entry()?);
    }
    tree.live = tree.durable.clone();
    for _ in 0..from.number()? {
        tree.change(0, from.operation()?);
    }
    let mut files = HashMap::new();
    for _ in 0..from.number()? {
        let inode = from.number()?;
        let mut file = File { dropped: from.pages()?, ..File::default() };
        if from.number()? == 1 {
            file.pending = Some(Layer { len: from.number()?, pages: from.pages()? });
        }
        files.insert(inode, file);
    }
    from.0.is_empty().then_some((tree, files))
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn place(&mut self, (directory, name): &Place) {
        self.number(*directory);
        self.bytes(name.as_bytes());
    }

    fn entry(&mut self, entry: Entry) {
        let (kind, inode) = match entry {
            Entry::File(inode) => (0, inode),
            Entry::Directory(inode) => (1, inode),
        };
        self.number(kind);
        self.number(inode);
    }

    fn operation(&mut self, operation: &Operation) {
        match operation {
            Operation::Put(at, entry) => {
                self.number(0);
                self.place(at);
                self.entry(*entry);
            }
            Operation::Move(from, to) => {
                self.number(1);
                self.place(from);
                self.place(to);
            }
            Operation::Remove(at) => {
                self.number(2);
                self.place(at);
            }
        }
    }

    fn pages(&mut self, pages: &Pages) {
        self.number(pages.len() as u64);
        for (page, image) in pages {
            self.number(*page);
            self.bytes(image);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes.to_vec())
    }

    fn place(&mut self) -> Option<Place> {
        Some((self.number()?, OsString::from_vec(self.bytes()?)))
    }

    fn entry(&mut self) -> Option<Entry> {
        match self.number()? {
            0 => self.number().map(Entry::File),
            1 => self.number().map(Entry::Directory),
            _ => None,
        }
    }

    fn operation(&mut self) -> Option<Operation> {
        Some(match self.number()? {
            0 => Operation::Put(self.place()?, self.entry()?),
            1 => Operation::Move(self.place()?, self.place()?),
            2 => Operation::Remove(self.place()?),
            _ => return None,
        })
    }

    fn pages(&mut self) -> Option<Pages> {
        (0..self.number()?).map(|_| Some((self.number()?, self.bytes()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        let at = |name: &str| (1, OsString::from(name));
        let names = [(at("one"), Entry::File(5)), (at("folder"), Entry::Directory(2))];
        let mut tree = Tree::synced(1, names.into());
        tree.change(0, Operation::Put(at("two"), Entry::File(6)));
        tree.change(0, Operation::Move(at("two"), at("three")));
        tree.change(0, Operation::Remove(at("one")));
        let mut file = File::default();
        file.changes(8192, 0..8192, |_| vec![7; 4096]);
        file.dropped.insert(9, vec![1]);
        let files = HashMap::from([(5, File::default()), (6, file)]);
        let bytes = encode(&tree, &files);
        assert_eq!(decode(&bytes), Some((tree, files)));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
    }
}
