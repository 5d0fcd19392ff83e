//! Random histories of a journal's life, the same for the same seed, that run until they end or the power does.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_bus::FrameNumber;
use tidemill_bus::disk::Disk;
use tidemill_bus::journal::{Control, Cut, Housekeeping, Journal, JournalOptions, OpenError, Recovery};
use tidemill_bus::testing::{FakeDisk, Fault, Random};

use crate::model::{Frame, check, open};

/// Small segments, and nothing beside the calls of the history.
pub(crate) fn options() -> JournalOptions {
    JournalOptions {
        segment_bytes: 64 << 10,
        first_segment_bytes: 32 << 10,
        index_cache_bytes: 4 << 10,
        housekeeping: Housekeeping::Inline,
        control: Control::Sound,
    }
}

/// A history under way: the journal and what is known of it.
pub(crate) struct History {
    random: Random,
    options: JournalOptions,
    disk: FakeDisk,
    /// Whether a call of the disk is to fail.
    faulty: bool,
    journal: Option<Journal>,
    /// What openings gave up so far.
    cuts: Vec<Cut>,
    /// Every frame that may be found, from frame 1 on.
    pub(crate) frames: Vec<Frame>,
    /// Every frame up to here must be found.
    pub(crate) sure: u64,
    /// How far the tables have come on their own disk.
    pub(crate) persisted: u64,
    tag: u64,
}

/// The disk did not do what it was asked: the power is gone, or the call was one that was to fail.
#[derive(Debug)]
pub(crate) struct DiskFailed;

impl History {
    /// A history on an empty disk.
    pub(crate) fn new(seed: u64, options: JournalOptions) -> Self {
        let disk = FakeDisk::new(seed);
        let random = Random::new(seed);
        let frames = Vec::new();
        Self {
            random,
            options,
            disk,
            faulty: false,
            journal: None,
            cuts: Vec::new(),
            frames,
            sure: 0,
            persisted: 0,
            tag: seed << 32,
        }
    }

    /// The disk.
    pub(crate) fn disk(&self) -> &FakeDisk {
        &self.disk
    }

    /// Lets a call of the disk fail.
    pub(crate) fn fail_at(&mut self, call: u64, fault: Fault) {
        self.faulty = true;
        self.disk.fail_at(call, fault);
    }

    /// Lets `steps` things happen.
    pub(crate) fn run(&mut self, steps: usize) -> Result<(), DiskFailed> {
        self.open()?;
        for _ in 0..steps {
            match self.random.below(20) {
                0 => self.kill()?,
                1 => self.close()?,
                2 => self.release()?,
                3 | 4 => self.persisted = self.sure.max(self.persisted),
                5..=8 => self.sync()?,
                _ => self.append()?,
            }
        }
        Ok(())
    }

    /// Goes on with another disk, as after a power cut, and checks what is found there.
    pub(crate) fn reopen_on(&mut self, disk: FakeDisk) -> Result<(), DiskFailed> {
        self.journal = None;
        self.disk = disk;
        self.open().map(|_| ())
    }

    /// Whether anything was served that a power cut may take away again.
    pub(crate) fn is_lost_on(&self, disk: &FakeDisk) -> bool {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        match open(&disk, self.options, self.persisted) {
            Ok((_, recovery, _)) => recovery.last.0 < self.sure,
            Err(_) => true,
        }
    }

    fn open(&mut self) -> Result<Recovery, DiskFailed> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let opened = open(&disk, self.options, self.persisted);
        if self.disk.crashed() {
            return Err(DiskFailed);
        }
        match opened {
            Ok((journal, recovery, replayed)) => {
                let disk = self.disk.clone();
                disk.unnumbered(|| check(&journal, &recovery, &replayed, &self.frames, self.persisted));
                assert!(recovery.last.0 >= self.sure, "frame {} was synced and is gone", self.sure);
                self.frames.truncate(usize::try_from(recovery.last.0).unwrap());
                self.sure = recovery.last.0;
                self.journal = Some(journal);
                self.cuts.extend(recovery.cut);
                Ok(recovery)
            }
            Err(OpenError::Io(_)) if self.faulty => Err(DiskFailed),
            Err(error) => panic!("the journal does not open: {error}"),
        }
    }

    fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().expect("opened before")
    }

    fn append(&mut self) -> Result<(), DiskFailed> {
        let mut ends = BTreeMap::new();
        for placed in self.frames.iter().flat_map(|frame| &frame.blocks) {
            let end = placed.first.0 + placed.block.columns.len() as u64;
            ends.insert(placed.block.target.partition.0, (end, placed.append_time));
        }
        self.tag += 1;
        let frame = Frame::random(&mut self.random, self.tag, &mut ends);
        self.frames.push(frame.clone());
        frame.append_to(self.journal()).map_err(|_| DiskFailed)?;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DiskFailed> {
        self.sure = self.journal().sync().map_err(|_| DiskFailed)?.0;
        Ok(())
    }

    /// The process dies, the machine lives: what was written is in the page cache, synced or not.
    fn kill(&mut self) -> Result<(), DiskFailed> {
        self.journal = None;
        let appended = self.frames.len() as u64;
        let cuts = self.cuts.clone();
        let recovery = self.open()?;
        // What an earlier opening cut is still there, until frames are written over it.
        assert!(recovery.cut.is_none_or(|cut| cuts.contains(&cut)), "{recovery:?}: nothing was lost");
        assert_eq!(self.sure, appended, "what was written before a kill is found");
        Ok(())
    }

    fn close(&mut self) -> Result<(), DiskFailed> {
        self.frames.push(Frame::default());
        self.journal.take().expect("opened before").close().map_err(|_| DiskFailed)?;
        self.sure = self.frames.len() as u64;
        let recovery = self.open()?;
        assert!(recovery.clean && recovery.cut.is_none(), "a closed journal opens clean: {recovery:?}");
        Ok(())
    }

    fn release(&mut self) -> Result<(), DiskFailed> {
        let persisted = FrameNumber(self.persisted);
        let mut left = self.random.below(3);
        let journal = self.journal.as_mut().expect("opened before");
        let released = journal.release(persisted, &mut |_| {
            left = left.saturating_sub(1);
            left > 0
        });
        released.map(|_| ()).map_err(|_| DiskFailed)
    }
}
