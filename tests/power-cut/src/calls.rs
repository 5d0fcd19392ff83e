//! The functions of libc that stand between the process and its files. Each only names its system call and says
//! what it changes; those that take more arguments in C than in the list here are variadic there, which is the
//! same to the callee on the machines that we support.

#![expect(unsafe_code, reason = "functions of libc are replaced by their names")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "machine words of the C interface"
)]

use std::ffi::{c_int, c_uint, c_void};

use libc::AT_FDCWD;

use crate::kernel::{COffset, CPath, CPieces, Call, answer};
use crate::names;
use crate::writes::{self, Bytes};

/// Declares functions of libc: signature, system call with its arguments, and where the call is taken.
macro_rules! intercepted {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $out:ty
        { $number:ident($($word:expr),*), $call:ident => $taken:expr })*) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $type),*) -> $out {
                let mut words = [0; 6];
                [$($word as usize),*].into_iter().zip(&mut words).for_each(|(from, to)| *to = from);
                // SAFETY: the words are the caller's own arguments, in the order of the system call that libc's
                // function of this name makes of them; that they are valid is the caller's promise to it.
                let $call = unsafe { Call::new(libc::$number, words) };
                answer($taken) as $out
            }
        )*
    };
}

intercepted! {
    fn open(path: CPath, flags: c_int, mode: c_uint) -> c_int {
        SYS_openat(AT_FDCWD, path.address(), flags, mode),
        call => names::open(call, &(AT_FDCWD, path.to_path()), flags)
    }
    fn open64(path: CPath, flags: c_int, mode: c_uint) -> c_int {
        SYS_openat(AT_FDCWD, path.address(), flags, mode),
        call => names::open(call, &(AT_FDCWD, path.to_path()), flags)
    }
    fn openat(directory: c_int, path: CPath, flags: c_int, mode: c_uint) -> c_int {
        SYS_openat(directory, path.address(), flags, mode),
        call => names::open(call, &(directory, path.to_path()), flags)
    }
    fn openat64(directory: c_int, path: CPath, flags: c_int, mode: c_uint) -> c_int {
        SYS_openat(directory, path.address(), flags, mode),
        call => names::open(call, &(directory, path.to_path()), flags)
    }
    fn creat(path: CPath, mode: c_uint) -> c_int {
        SYS_openat(AT_FDCWD, path.address(), libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, mode),
        call => names::open(call, &(AT_FDCWD, path.to_path()), libc::O_CREAT | libc::O_TRUNC)
    }
    fn creat64(path: CPath, mode: c_uint) -> c_int {
        SYS_openat(AT_FDCWD, path.address(), libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, mode),
        call => names::open(call, &(AT_FDCWD, path.to_path()), libc::O_CREAT | libc::O_TRUNC)
    }
    fn mkdir(path: CPath, mode: c_uint) -> c_int {
        SYS_mkdirat(AT_FDCWD, path.address(), mode),
        call => names::make_directory(call, &(AT_FDCWD, path.to_path()))
    }
    fn mkdirat(directory: c_int, path: CPath, mode: c_uint) -> c_int {
        SYS_mkdirat(directory, path.address(), mode),
        call => names::make_directory(call, &(directory, path.to_path()))
    }
    fn rmdir(path: CPath) -> c_int {
        SYS_unlinkat(AT_FDCWD, path.address(), libc::AT_REMOVEDIR),
        call => names::remove(call, &(AT_FDCWD, path.to_path()))
    }
    fn unlink(path: CPath) -> c_int {
        SYS_unlinkat(AT_FDCWD, path.address(), 0),
        call => names::remove(call, &(AT_FDCWD, path.to_path()))
    }
    fn unlinkat(directory: c_int, path: CPath, flags: c_int) -> c_int {
        SYS_unlinkat(directory, path.address(), flags),
        call => names::remove(call, &(directory, path.to_path()))
    }
    fn rename(from: CPath, to: CPath) -> c_int {
        SYS_renameat2(AT_FDCWD, from.address(), AT_FDCWD, to.address(), 0),
        call => names::rename(call, &(AT_FDCWD, from.to_path()), &(AT_FDCWD, to.to_path()), 0)
    }
    fn renameat(from_directory: c_int, from: CPath, to_directory: c_int, to: CPath) -> c_int {
        SYS_renameat2(from_directory, from.address(), to_directory, to.address(), 0),
        call => names::rename(call, &(from_directory, from.to_path()), &(to_directory, to.to_path()), 0)
    }
    fn renameat2(from_directory: c_int, from: CPath, to_directory: c_int, to: CPath, flags: c_uint) -> c_int {
        SYS_renameat2(from_directory, from.address(), to_directory, to.address(), flags),
        call => names::rename(call, &(from_directory, from.to_path()), &(to_directory, to.to_path()), flags)
    }
    fn link(from: CPath, to: CPath) -> c_int {
        SYS_linkat(AT_FDCWD, from.address(), AT_FDCWD, to.address(), 0),
        call => names::link(call, &(AT_FDCWD, to.to_path()))
    }
    fn linkat(from_directory: c_int, from: CPath, to_directory: c_int, to: CPath, flags: c_int) -> c_int {
        SYS_linkat(from_directory, from.address(), to_directory, to.address(), flags),
        call => names::link(call, &(to_directory, to.to_path()))
    }
    fn symlink(from: CPath, to: CPath) -> c_int {
        SYS_symlinkat(from.address(), AT_FDCWD, to.address()),
        call => names::refuse(call, &(AT_FDCWD, to.to_path()), "a symbolic link")
    }
    fn truncate(path: CPath, len: i64) -> c_int {
        SYS_truncate(path.address(), len),
        call => names::refuse(call, &(AT_FDCWD, path.to_path()), "truncating by path")
    }
    fn truncate64(path: CPath, len: i64) -> c_int {
        SYS_truncate(path.address(), len),
        call => names::refuse(call, &(AT_FDCWD, path.to_path()), "truncating by path")
    }

    fn write(fd: c_int, bytes: *const c_void, count: usize) -> isize {
        SYS_write(fd, bytes, count),
        call => writes::write(call, fd, Bytes::Here(count as u64))
    }
    fn pwrite(fd: c_int, bytes: *const c_void, count: usize, offset: i64) -> isize {
        SYS_pwrite64(fd, bytes, count, offset),
        call => writes::write(call, fd, Bytes::At(offset as u64, count as u64))
    }
    fn pwrite64(fd: c_int, bytes: *const c_void, count: usize, offset: i64) -> isize {
        SYS_pwrite64(fd, bytes, count, offset),
        call => writes::write(call, fd, Bytes::At(offset as u64, count as u64))
    }
    fn writev(fd: c_int, pieces: CPieces, count: c_int) -> isize {
        SYS_writev(fd, pieces.address(), count),
        call => writes::write(call, fd, Bytes::Here(pieces.byte_len(count)))
    }
    fn pwritev(fd: c_int, pieces: CPieces, count: c_int, offset: i64) -> isize {
        SYS_pwritev(fd, pieces.address(), count, offset, 0),
        call => writes::write(call, fd, Bytes::At(offset as u64, pieces.byte_len(count)))
    }
    fn pwritev64(fd: c_int, pieces: CPieces, count: c_int, offset: i64) -> isize {
        SYS_pwritev(fd, pieces.address(), count, offset, 0),
        call => writes::write(call, fd, Bytes::At(offset as u64, pieces.byte_len(count)))
    }
    fn pwritev2(fd: c_int, pieces: CPieces, count: c_int, offset: i64, flags: c_int) -> isize {
        SYS_pwritev2(fd, pieces.address(), count, offset, 0, flags),
        call => writes::write(call, fd, Bytes::At(offset as u64, pieces.byte_len(count)))
    }
    fn pwritev64v2(fd: c_int, pieces: CPieces, count: c_int, offset: i64, flags: c_int) -> isize {
        SYS_pwritev2(fd, pieces.address(), count, offset, 0, flags),
        call => writes::write(call, fd, Bytes::At(offset as u64, pieces.byte_len(count)))
    }
    fn ftruncate(fd: c_int, len: i64) -> c_int {
        SYS_ftruncate(fd, len),
        call => writes::write(call, fd, Bytes::Length(len as u64))
    }
    fn ftruncate64(fd: c_int, len: i64) -> c_int {
        SYS_ftruncate(fd, len),
        call => writes::write(call, fd, Bytes::Length(len as u64))
    }
    fn fallocate(fd: c_int, mode: c_int, offset: i64, len: i64) -> c_int {
        SYS_fallocate(fd, mode, offset, len),
        call => writes::write(call, fd, Bytes::Allocated(offset as u64, len as u64))
    }
    fn fallocate64(fd: c_int, mode: c_int, offset: i64, len: i64) -> c_int {
        SYS_fallocate(fd, mode, offset, len),
        call => writes::write(call, fd, Bytes::Allocated(offset as u64, len as u64))
    }
    fn copy_file_range(from: c_int, at: COffset, to: c_int, into: COffset, count: usize, flags: c_uint) -> isize {
        SYS_copy_file_range(from, at.address(), to, into.address(), count, flags),
        call => writes::write(call, to, into.get().map_or(Bytes::Here(count as u64), |at| {
            Bytes::At(at, count as u64)
        }))
    }
    fn sendfile(to: c_int, from: c_int, at: COffset, count: usize) -> isize {
        SYS_sendfile(to, from, at.address(), count),
        call => writes::write(call, to, Bytes::Here(count as u64))
    }
    fn sendfile64(to: c_int, from: c_int, at: COffset, count: usize) -> isize {
        SYS_sendfile(to, from, at.address(), count),
        call => writes::write(call, to, Bytes::Here(count as u64))
    }

    fn fsync(fd: c_int) -> c_int {
        SYS_fsync(fd),
        call => writes::sync(call, fd)
    }
    fn fdatasync(fd: c_int) -> c_int {
        SYS_fdatasync(fd),
        call => writes::sync(call, fd)
    }

    fn mmap(address: *mut c_void, len: usize, protection: c_int, flags: c_int, fd: c_int, offset: i64) -> isize {
        SYS_mmap(address, len, protection, flags, fd, offset),
        call => writes::map(call, fd, protection, flags)
    }
    fn mmap64(address: *mut c_void, len: usize, protection: c_int, flags: c_int, fd: c_int, offset: i64) -> isize {
        SYS_mmap(address, len, protection, flags, fd, offset),
        call => writes::map(call, fd, protection, flags)
    }

    fn send(fd: c_int, bytes: *const c_void, count: usize, flags: c_int) -> isize {
        SYS_sendto(fd, bytes, count, flags),
        call => writes::leave(call)
    }
    fn sendto(
        fd: c_int,
        bytes: *const c_void,
        count: usize,
        flags: c_int,
        to: *const c_void,
        to_len: c_uint
    ) -> isize {
        SYS_sendto(fd, bytes, count, flags, to, to_len),
        call => writes::leave(call)
    }
    fn sendmsg(fd: c_int, message: *const c_void, flags: c_int) -> isize {
        SYS_sendmsg(fd, message, flags),
        call => writes::leave(call)
    }
}

/// `posix_fallocate` answers an error number.
macro_rules! posix_fallocate {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name(fd: c_int, offset: i64, len: i64) -> c_int {
                // SAFETY: the system call takes no pointer.
                let call = unsafe {
                    Call::new(libc::SYS_fallocate, [fd as usize, 0, offset as usize, len as usize, 0, 0])
                };
                writes::write(call, fd, Bytes::Allocated(offset as u64, len as u64)).err().unwrap_or(0)
            }
        )*
    };
}

posix_fallocate!(posix_fallocate posix_fallocate64);
