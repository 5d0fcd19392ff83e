//! Calls that change bytes, and syncs: the first go through when what they overwrite is remembered, the second
//! make durable, late, or not at all.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::thread;

use crate::file::PAGE;
use crate::kernel::{Call, Done, Kind, cursor};
use crate::ledger::{Ledger, SYNC_TAKES};
use crate::shim::{Visit, over};

/// Which bytes a call changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bytes {
    /// So many at this offset.
    At(u64, u64),
    /// So many where the descriptor stands.
    Here(u64),
    /// The file gets this length.
    Length(u64),
    /// So many at this offset come to be.
    Allocated(u64, u64),
}

impl Bytes {
    fn range(self, fd: i32, len: u64) -> Range<u64> {
        match self {
            Self::At(offset, count) | Self::Allocated(offset, count) => offset..offset.saturating_add(count),
            Self::Here(count) => {
                let offset = cursor(fd).unwrap_or(len);
                offset..offset.saturating_add(count)
            }
            Self::Length(new) => new.min(len)..len,
        }
    }

    /// The end of what was changed by a call that did `count` bytes.
    fn end(self, range: &Range<u64>, count: usize) -> u64 {
        match self {
            Self::At(..) | Self::Here(_) => range.start.saturating_add(count as u64).min(range.end),
            Self::Length(_) | Self::Allocated(..) => range.end,
        }
    }
}

/// A write, or another change of bytes.
pub(crate) fn write(call: Call, fd: i32, bytes: Bytes) -> Done {
    let Some(visit) = Visit::begin() else { return call.run() };
    let Some(stat) = visit.stat(fd).filter(|stat| stat.kind == Kind::File) else { return call.run() };
    let mut ledger = visit.ledger();
    let Some(folder) = ledger.folder_of(stat.inode) else { return call.run() };
    ledger.counts.writes += 1;
    let is_last = ledger.counts_call(&folder);
    let range = bytes.range(fd, stat.len);
    let mut pages = PageReader::new(format!("/proc/self/fd/{fd}"));
    let file = ledger.files.entry(stat.inode).or_default();
    file.changes(stat.len, range.start..range.end.min(stat.len), |page| pages.read(page));
    let done = call.run();
    if let Ok(count) = done {
        // What comes to be beyond the old end was nothing before.
        file.changes(stat.len, range.start.max(stat.len)..bytes.end(&range, count), |_| Vec::new());
    }
    if is_last {
        over(&mut ledger);
    }
    done
}

/// Remembers a whole file that is about to be emptied.
pub(crate) fn save_all(ledger: &mut Ledger, path: &Path) -> io::Result<()> {
    let metadata = path.metadata()?;
    let mut pages = PageReader::new(path.to_string_lossy().into_owned());
    let file = ledger.files.entry(metadata.ino()).or_default();
    file.changes(metadata.len(), 0..metadata.len(), |page| pages.read(page));
    Ok(())
}

/// Reads pages of a file, which is opened when the first is wanted: the caller's descriptor may be for writing.
struct PageReader {
    path: String,
    file: Option<File>,
}

impl PageReader {
    fn new(path: String) -> Self {
        Self { path, file: None }
    }

    fn read(&mut self, page: u64) -> Vec<u8> {
        let path = &self.path;
        let file =
            self.file.get_or_insert_with(|| File::open(path).expect("a file that is open opens again"));
        let mut image = vec![0; usize::try_from(PAGE).unwrap_or_default()];
        let mut filled = 0;
        while filled < image.len() {
            let read = file.read_at(&mut image[filled..], page * PAGE + filled as u64);
            match read.expect("a file that is written reads") {
                0 => break,
                read => filled += read,
            }
        }
        image.truncate(filled);
        image
    }
}

/// `fsync` and `fdatasync`, of a file or a directory.
pub(crate) fn sync(call: Call, fd: i32) -> Done {
    let Some(visit) = Visit::begin() else { return call.run() };
    let Some(stat) = visit.stat(fd) else { return call.run() };
    let mut ledger = visit.ledger();
    let Some(folder) = ledger.folder_of(stat.inode) else { return call.run() };
    let is_directory = stat.kind == Kind::Directory;
    ledger.counts.syncs += u64::from(!is_directory);
    ledger.counts.directory_syncs += u64::from(is_directory);
    if ledger.counts_call(&folder) {
        over(&mut ledger);
    }
    let fails = !is_directory && ledger.sync_is_to_fail(&folder);
    let number = ledger.sync_begins(stat.inode);
    drop(ledger);
    thread::sleep(SYNC_TAKES);
    let mut ledger = visit.ledger();
    if fails {
        if let (Some(number), Some(file)) = (number, ledger.files.get_mut(&stat.inode)) {
            file.sync_fails(number);
        }
        return Err(libc::EIO);
    }
    if let Some(number) = number {
        ledger.sync_succeeds(stat.inode, number).expect("what is durably gone can be removed");
    }
    Ok(0)
}

/// `mmap`: writing through memory is not modelled.
pub(crate) fn map(call: Call, fd: i32, protection: i32, flags: i32) -> Done {
    let is_shared_write = flags & libc::MAP_TYPE == libc::MAP_SHARED && protection & libc::PROT_WRITE != 0;
    if is_shared_write
        && flags & libc::MAP_ANONYMOUS == 0
        && let Some(visit) = Visit::begin()
        && let Some(stat) = visit.stat(fd)
    {
        let known = visit.ledger().folder_of(stat.inode);
        assert!(known.is_none(), "power cut: writing through shared memory is not modelled");
    }
    call.run()
}

/// What only leaves the process: after the end it does not.
pub(crate) fn leave(call: Call) -> Done {
    drop(Visit::begin());
    call.run()
}
