//! One file of the fake disk: what the running system reads, what is on the disk, and what lies between.

use std::collections::BTreeMap;

use super::Random;

/// What the page cache writes at once.
const PAGE: usize = 4096;
/// What a disk writes at once.
const SECTOR: usize = 512;

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Every image that a page had since the last sync, oldest first: the cache may have written any of them.
    unsynced: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Images that a failed sync dropped: written to the disk or not, but never again.
    dropped: BTreeMap<usize, Vec<Vec<u8>>>,
}

impl Inode {
    pub(super) fn zeros(len: u64) -> Self {
        let len = usize::try_from(len).expect("files of tests fit in memory");
        let unsynced = (0..len.div_ceil(PAGE)).map(|page| (page, vec![vec![0; PAGE]])).collect();
        Self { cached: vec![0; len], unsynced, ..Self::default() }
    }

    pub(super) fn durable(bytes: &[u8]) -> Self {
        Self { cached: bytes.to_vec(), durable: bytes.to_vec(), ..Self::default() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.cached
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let start = usize::try_from(offset).expect("files of tests fit in memory");
        let end = start + bytes.len();
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[start..end].copy_from_slice(bytes);
        for page in start / PAGE..end.div_ceil(PAGE) {
            let image = page_of(&self.cached, page);
            self.unsynced.entry(page).or_default().push(image);
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.cached.len(), 0);
        for page in std::mem::take(&mut self.unsynced).into_keys() {
            let range = page * PAGE..((page + 1) * PAGE).min(self.cached.len());
            self.durable[range.clone()].copy_from_slice(&self.cached[range]);
            self.dropped.remove(&page);
        }
    }

    pub(super) fn drop_unsynced(&mut self) {
        for (page, images) in std::mem::take(&mut self.unsynced) {
            self.dropped.entry(page).or_default().extend(images);
        }
    }

    /// The file after a power cut: each page that is not known to be on the disk is old, new or torn.
    pub(super) fn survivor(&self, random: &mut Random) -> Self {
        let mut bytes = self.durable.clone();
        if bytes.len() < self.cached.len() && !random.one_in(4) {
            bytes.resize(self.cached.len(), 0);
        }
        // Whole files survive or vanish more often than chance would have it page by page.
        let mood = random.below(4);
        for (page, images) in self.dropped.iter().chain(&self.unsynced) {
            let image = &images[usize::try_from(random.below(images.len() as u64)).unwrap_or(0)];
            let latest = images.last().unwrap_or(image);
            match (mood, random.below(4)) {
                (1, _) => put(&mut bytes, *page, latest, |_| true),
                (0, _) | (_, 0) => {}
                (_, 1) => {
                    let mut torn = random.clone();
                    put(&mut bytes, *page, image, |_| torn.one_in(2));
                }
                _ => put(&mut bytes, *page, image, |_| true),
            }
        }
        Self::durable(&bytes)
    }
}

fn page_of(bytes: &[u8], page: usize) -> Vec<u8> {
    let mut image = bytes[page * PAGE..((page + 1) * PAGE).min(bytes.len())].to_vec();
    image.resize(PAGE, 0);
    image
}

/// Puts the chosen sectors of a page's image in place, as far as the file reaches.
fn put(bytes: &mut [u8], page: usize, image: &[u8], mut chosen: impl FnMut(usize) -> bool) {
    for (index, sector) in image.chunks(SECTOR).enumerate() {
        let start = page * PAGE + index * SECTOR;
        let end = (start + SECTOR).min(bytes.len());
        if chosen(index) && start < end {
            bytes[start..end].copy_from_slice(&sector[..end - start]);
        }
    }
}
