//! The lock of a data directory: one process at a time. Its file's presence alone means nothing.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

/// How often a held lock is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// The right to use a data directory, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a data directory could not be locked.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is in use by process {holder}", path.display())]
    Held {
        /// The data directory.
        path: PathBuf,
        /// Its process id, as it wrote it into the file.
        holder: String,
    },
    /// The file cannot be created or locked.
    #[error("locking {} failed: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Lock {
    /// Locks the data directory `path`, which must exist, by its file `LOCK`; waits up to `wait` for another
    /// process to let it go.
    pub fn acquire(path: &Path, wait: Duration) -> Result<Self, LockError> {
        let file_path = path.join("LOCK");
        let failed = |source| LockError::Io { path: file_path.clone(), source };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file_path)
            .map_err(failed)?;
        let give_up = Instant::now() + wait;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => std::thread::sleep(RETRY_AFTER),
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held { path: path.to_owned(), holder: holder(&mut file) });
                }
            }
        }
        sign(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Writes this process's id into the file, for whoever finds it locked.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(32).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "(unknown)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::acquire(directory.path(), Duration::ZERO).unwrap();
        let error = Lock::acquire(directory.path(), Duration::ZERO).unwrap_err();
        assert!(error.to_string().ends_with(&format!("in use by process {}", std::process::id())), "{error}");
        drop(first);
        Lock::acquire(directory.path(), Duration::ZERO).unwrap();
    }

    #[test]
    fn a_file_left_behind_locks_nothing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("LOCK"), "1\n").unwrap();
        Lock::acquire(directory.path(), Duration::ZERO).unwrap();
    }

    #[test]
    fn a_directory_that_is_missing_is_named() {
        let error = Lock::acquire(Path::new("/nonexistent/data"), Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/data/LOCK"), "{error}");
    }
}
