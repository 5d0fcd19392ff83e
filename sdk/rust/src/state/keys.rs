//! The keys of a batch, each once: a small number stands for a key. No allocation once its room has grown.

/// The number that stands for a key in this batch.
pub(super) type KeyId = usize;

/// Keys and their numbers, in the order of their first appearance.
#[derive(Default)]
pub(super) struct Keys {
    /// Open addressing: a key's number plus one, or 0. Its length is a power of two, at least twice the keys.
    table: Vec<u32>,
    /// For each key where it ends in `bytes`, and whether it is null.
    ends: Vec<(usize, Null)>,
    bytes: Vec<u8>,
    null: Option<KeyId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Null {
    Yes,
    No,
}

const TABLE_MIN: usize = 64;

impl Keys {
    pub(super) fn clear(&mut self) {
        self.table.fill(0);
        self.ends.clear();
        self.bytes.clear();
        self.null = None;
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The key that `id` stands for.
    pub(super) fn get(&self, id: KeyId) -> Option<&[u8]> {
        let start = if id == 0 { 0 } else { self.ends[id - 1].0 };
        let (end, null) = self.ends[id];
        (null == Null::No).then(|| &self.bytes[start..end])
    }

    /// The number of `key`, which is taken up if it is new.
    pub(super) fn intern(&mut self, key: Option<&[u8]>) -> KeyId {
        let Some(key) = key else {
            if self.null.is_none() {
                self.null = Some(self.ends.len());
                self.ends.push((self.bytes.len(), Null::Yes));
            }
            return self.null.unwrap_or_default();
        };
        if self.table.len() < 2 * (self.ends.len() + 1) {
            self.grow();
        }
        let mut at = self.place(key);
        loop {
            match self.table[at] {
                0 => break,
                found if self.get(found as usize - 1) == Some(key) => return found as usize - 1,
                _ => at = (at + 1) & (self.table.len() - 1),
            }
        }
        self.bytes.extend_from_slice(key);
        self.ends.push((self.bytes.len(), Null::No));
        self.table[at] = number(self.ends.len());
        self.ends.len() - 1
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(TABLE_MIN);
        self.table.clear();
        self.table.resize(size, 0);
        for id in 0..self.ends.len() {
            let Some(key) = self.get(id) else { continue };
            let mut at = self.place(key);
            while self.table[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            self.table[at] = number(id + 1);
        }
    }

    /// Where a key's search begins.
    fn place(&self, key: &[u8]) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits are used")]
        let hash = hash(key) as usize;
        hash & (self.table.len() - 1)
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("a batch has fewer than 2^32 keys: they would not fit in memory")
}

/// Multiply and rotate, eight bytes at a time (as in rustc's `FxHasher`), with a last mix so that the low bits
/// depend on all. A batch bounds what colliding keys can cost.
fn hash(key: &[u8]) -> u64 {
    const K: u64 = 0x517c_c1b7_2722_0a95;
    let fold = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(K);
    let (words, rest) = key.as_chunks::<8>();
    let hash = words.iter().fold(key.len() as u64, |hash, word| fold(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = fold(hash, u64::from_le_bytes(last));
    hash ^ (hash >> 32)
}
