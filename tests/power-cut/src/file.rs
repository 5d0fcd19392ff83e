//! What of one file is not on the disk: the pages as they were before each change that was not synced. Pure: it
//! is shown the file's bytes, and says what to put back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::random::Random;

/// What the page cache writes at once.
pub(crate) const PAGE: u64 = 4096;

/// Pages by number, as they were; shorter than a page if the file ended there.
pub(crate) type Pages = BTreeMap<u64, Vec<u8>>;

/// What a file was before changes that belong to one sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Its length.
    pub(crate) len: u64,
    /// Those of its pages that were changed.
    pub(crate) pages: Pages,
}

/// The changes of a file, oldest first: those whose sync failed, those whose sync is under way, the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct File {
    /// Pages whose sync failed: the cache holds them and will never write them.
    pub(crate) dropped: Pages,
    /// What each sync that is under way will make durable.
    pub(crate) syncing: Vec<(u64, Layer)>,
    /// What came since the last sync began.
    pub(crate) pending: Option<Layer>,
}

/// What a file is after a power cut.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Survivor {
    /// Its length.
    pub(crate) len: u64,
    /// Pages that are as they were before.
    pub(crate) pages: Pages,
    /// Pages that might have been.
    pub(crate) unsynced: u64,
}

impl File {
    /// A file of length `len` is about to change in `bytes`; `read` gives pages as they are.
    pub(crate) fn changes(&mut self, len: u64, bytes: Range<u64>, mut read: impl FnMut(u64) -> Vec<u8>) {
        let pending = self.pending.get_or_insert_with(|| Layer { len, pages: Pages::new() });
        for page in bytes.start / PAGE..bytes.end.div_ceil(PAGE) {
            let dropped = &mut self.dropped;
            let image = || dropped.remove(&page).unwrap_or_else(|| read(page));
            pending.pages.entry(page).or_insert_with(image);
        }
    }

    /// Sync `number` begins: what was changed so far is its work.
    pub(crate) fn sync_begins(&mut self, number: u64) {
        self.syncing.extend(self.pending.take().map(|layer| (number, layer)));
    }

    /// Sync `number` succeeded, and with it all that began before.
    pub(crate) fn sync_succeeds(&mut self, number: u64) {
        self.syncing.retain(|(begun, _)| *begun > number);
    }

    /// Sync `number` failed: the cache takes its pages for written.
    pub(crate) fn sync_fails(&mut self, number: u64) {
        let Some(at) = self.syncing.iter().position(|(begun, _)| *begun == number) else { return };
        let (_, failed) = self.syncing.remove(at);
        for (page, image) in failed.pages {
            self.dropped.entry(page).or_insert(image);
        }
        // The length is no page: it goes with the next sync.
        self.pending.get_or_insert_default().len = failed.len;
    }

    /// Joins what a dying process leaves to the next: nothing is under way any more.
    pub(crate) fn settle(&mut self) {
        for (_, older) in std::mem::take(&mut self.syncing).into_iter().rev() {
            let pending = self.pending.get_or_insert_default();
            pending.len = older.len;
            pending.pages.extend(older.pages);
        }
    }

    /// What is left of a file that has now the length `now`.
    pub(crate) fn survivor(&self, now: u64, random: &mut Random) -> Survivor {
        // Whole files survive or vanish more often than chance would have it page by page.
        let mood = random.below(4);
        let is_lost = |random: &mut Random| mood == 0 || (mood > 1 && random.coin());
        let mut pages = Pages::new();
        let unsynced = self.unsynced_pages();
        for &page in &unsynced {
            // Back in time while what was written there did not reach the disk.
            for image in self.layers().rev().filter_map(|layer| layer.get(&page)) {
                if !is_lost(random) {
                    break;
                }
                pages.insert(page, image.clone());
            }
        }
        let oldest = self.syncing.first().map(|(_, layer)| layer).or(self.pending.as_ref());
        let before = oldest.map_or(now, |layer| layer.len);
        let len = match mood {
            0 => before,
            1 => now,
            _ => between(before, now, random),
        };
        Survivor { len, pages, unsynced: unsynced.len() as u64 }
    }

    fn layers(&self) -> impl DoubleEndedIterator<Item = &Pages> {
        let syncing = self.syncing.iter().map(|(_, layer)| &layer.pages);
        std::iter::once(&self.dropped).chain(syncing).chain(self.pending.iter().map(|layer| &layer.pages))
    }

    fn unsynced_pages(&self) -> BTreeSet<u64> {
        self.layers().flat_map(Pages::keys).copied().collect()
    }
}

/// One of two lengths, or whole pages in between.
fn between(one: u64, other: u64, random: &mut Random) -> u64 {
    let (low, high) = (one.min(other), one.max(other));
    match random.below(3) {
        0 => low,
        1 => high,
        _ => ((low + random.below(high - low + 1)) / PAGE * PAGE).max(low),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(_: u64) -> Vec<u8> {
        vec![1; 4096]
    }

    fn survivors(file: &File, now: u64) -> Vec<Survivor> {
        (0..200).map(|seed| file.survivor(now, &mut Random::new(seed))).collect()
    }

    #[test]
    fn unsynced_pages_survive_in_subsets() {
        let mut file = File::default();
        file.changes(8192, 100..8000, old);
        let found: BTreeSet<Vec<u64>> =
            survivors(&file, 8192).into_iter().map(|left| left.pages.into_keys().collect()).collect();
        assert_eq!(found, BTreeSet::from([vec![], vec![0], vec![1], vec![0, 1]]));
    }

    #[test]
    fn what_was_synced_stays_and_what_came_during_the_sync_may_go_back_to_it() {
        let mut file = File::default();
        file.changes(8192, 0..1, old);
        file.sync_begins(1);
        file.changes(8192, 0..1, |_| vec![2; 4096]);
        file.sync_succeeds(1);
        let images: BTreeSet<_> =
            survivors(&file, 8192).into_iter().map(|left| left.pages.get(&0).map(|image| image[0])).collect();
        assert_eq!(images, BTreeSet::from([None, Some(2)]));
        file.sync_begins(2);
        file.sync_succeeds(2);
        assert_eq!(survivors(&file, 8192)[0].unsynced, 0);
    }

    #[test]
    fn pages_of_a_failed_sync_stay_in_danger_until_they_are_written_again() {
        let mut file = File::default();
        file.changes(8192, 0..8192, old);
        file.sync_begins(1);
        file.sync_fails(1);
        file.sync_begins(2);
        file.sync_succeeds(2);
        assert_eq!(survivors(&file, 8192)[0].unsynced, 2);
        file.changes(8192, 0..1, |_| vec![2; 4096]);
        assert_eq!(file.pending.as_ref().map(|layer| layer.pages[&0][0]), Some(1));
        file.sync_begins(3);
        file.sync_succeeds(3);
        assert_eq!(file.dropped.into_keys().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_file_that_grew_may_have_any_length_in_between() {
        let mut file = File::default();
        file.changes(10, 10..20_000, |_| Vec::new());
        let lens: BTreeSet<_> = survivors(&file, 20_000).into_iter().map(|left| left.len).collect();
        assert!(lens.contains(&10) && lens.contains(&20_000) && lens.contains(&8192), "{lens:?}");
        assert!(lens.iter().all(|&len| (10..=20_000).contains(&len)), "{lens:?}");
    }
}
