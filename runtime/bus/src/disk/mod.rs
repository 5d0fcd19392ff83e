//! The file-system port: one flat directory of files. Knows no format; its second implementation is a fake
//! that can lose, tear, reorder and fail at any call.

pub(crate) mod fake;
mod lock;
mod real;

use std::io;
use std::sync::Arc;

pub use io::IoSlice;
pub use io::IoSliceMut;
pub use lock::{Lock, LockError};
pub use real::RealDisk;

/// Paces the making of a file: asked before each piece with how many of its bytes are zero so far, says up to which byte
/// to go on now. An error ends the making with that error.
pub type Pace<'a> = dyn FnMut(u64) -> io::Result<u64> + 'a;

/// A directory. Names are plain file names. Changes of the directory last only after
/// [`Disk::sync_directory`], bytes of a file only after [`DiskFile::sync_data`].
pub trait Disk: Send + Sync + 'static {
    /// Creates a file of `len` zeros that are really written, so that later writes into it change no
    /// metadata. Fails if the name is taken.
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.create_paced(name, len, &mut |_| Ok(len))
    }

    /// As [`Disk::create`], at the `pace` of who must not be disturbed by so many writes at once.
    fn create_paced(&self, name: &str, len: u64, pace: &mut Pace<'_>) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of all files with their bytes, in no order.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Gives a file another name, atomically; whatever had that name is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; its bytes go when the last handle does.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Waits until all changes of the directory so far are on the disk.
    fn sync_directory(&self) -> io::Result<()>;

    /// Bytes that can still be allocated.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file. Calls may come from several threads.
pub trait DiskFile: Send + Sync {
    /// Bytes of the file. It never changes while the file is in use, but for what `create` is told.
    fn byte_len(&self) -> io::Result<u64>;

    /// Writes all of `parts`, one after the other, from `offset` on.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Fills all of `parts`, one after the other, from `offset` on; the file's end is an error.
    fn read_at(&self, parts: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<()>;

    /// Waits until everything written so far is on the disk. After a failure nothing is known about the
    /// bytes written since the last success, and repeating it proves nothing.
    fn sync_data(&self) -> io::Result<()>;
}
