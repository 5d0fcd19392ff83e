//! The system below libc: calls as they came, passed on by number, and the little that is asked of it directly.
//! Each function with unsafe code is small, and says who keeps the promise.

#![expect(
    unsafe_code,
    reason = "system calls, made with the arguments of the intercepted functions' callers"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "machine words of the C interface"
)]

use std::ffi::{CStr, OsStr, c_char, c_int, c_long};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What a call gives: a number, or an error number.
pub(crate) type Done = Result<usize, c_int>;

/// A system call with its arguments, to be made once.
#[derive(Debug)]
pub(crate) struct Call {
    number: c_long,
    arguments: [usize; 6],
}

impl Call {
    /// A call that may be made.
    ///
    /// # Safety
    /// The arguments are those that this system call wants, and what they point to stays there until it is made.
    pub(crate) unsafe fn new(number: c_long, arguments: [usize; 6]) -> Self {
        Self { number, arguments }
    }

    /// Makes it.
    pub(crate) fn run(self) -> Done {
        let of = self.arguments;
        // SAFETY: whoever made `self` promised that the call may be made with these arguments.
        let result = unsafe { libc::syscall(self.number, of[0], of[1], of[2], of[3], of[4], of[5]) };
        if result == -1 {
            return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO));
        }
        Ok(result as usize)
    }
}

/// What a C function returns for it: the number, or -1 with `errno` set.
pub(crate) fn answer(done: Done) -> isize {
    match done {
        Ok(number) => number as isize,
        Err(error) => {
            // SAFETY: libc promises a valid pointer to this thread's own `errno`.
            unsafe { *libc::__errno_location() = error };
            -1
        }
    }
}

/// A path as a C caller has it; only such a caller makes one.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct CPath(*const c_char);

impl CPath {
    /// The address, for the call itself.
    pub(crate) fn address(self) -> usize {
        self.0 as usize
    }

    /// The path.
    pub(crate) fn to_path(self) -> PathBuf {
        if self.0.is_null() {
            return PathBuf::new();
        }
        // SAFETY: the caller of the C function promised a string that ends with 0.
        let bytes = unsafe { CStr::from_ptr(self.0) }.to_bytes();
        PathBuf::from(OsStr::from_bytes(bytes))
    }
}

/// Pieces of a vectored write as a C caller has them; only such a caller makes one.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct CPieces(*const libc::iovec);

impl CPieces {
    /// The address, for the call itself.
    pub(crate) fn address(self) -> usize {
        self.0 as usize
    }

    /// Bytes of the first `count` pieces.
    pub(crate) fn byte_len(self, count: c_int) -> u64 {
        let Ok(count @ 1..) = usize::try_from(count) else { return 0 };
        // SAFETY: the caller of the C function promised `count` pieces.
        let pieces = unsafe { std::slice::from_raw_parts(self.0, count) };
        pieces.iter().map(|piece| piece.iov_len as u64).sum()
    }
}

/// An offset as a C caller has it, or nothing; only such a caller makes one.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct COffset(*mut i64);

impl COffset {
    /// The address, for the call itself.
    pub(crate) fn address(self) -> usize {
        self.0 as usize
    }

    /// The offset, if there is one.
    pub(crate) fn get(self) -> Option<u64> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: the caller of the C function promised a null pointer or a valid one.
        Some(unsafe { *self.0 } as u64)
    }
}

/// What a descriptor is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
}

/// What is known of a descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) len: u64,
    pub(crate) kind: Kind,
}

/// What a descriptor is, if it is a file or a directory.
pub(crate) fn stat(fd: c_int) -> Option<Stat> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills the structure that it is given when it answers 0, and only then it is read.
    let stat = unsafe { (libc::fstat(fd, stat.as_mut_ptr()) == 0).then(|| stat.assume_init()) }?;
    let kind = match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => Kind::File,
        libc::S_IFDIR => Kind::Directory,
        _ => return None,
    };
    Some(Stat { device: stat.st_dev, inode: stat.st_ino, len: stat.st_size as u64, kind })
}

/// Where the next write of a descriptor goes; `None` if that is the end of the file.
pub(crate) fn cursor(fd: c_int) -> Option<u64> {
    // SAFETY: neither call takes a pointer; a wrong descriptor is an error, no more.
    let (flags, offset) = unsafe { (libc::fcntl(fd, libc::F_GETFL), libc::lseek(fd, 0, libc::SEEK_CUR)) };
    if flags & libc::O_APPEND != 0 { None } else { u64::try_from(offset).ok() }
}

/// Ends the process at once.
pub(crate) fn die() -> ! {
    // SAFETY: neither call takes a pointer; the signal cannot be caught.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    loop {
        std::thread::park();
    }
}
