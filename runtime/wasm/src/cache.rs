//! Compiled components on disk, so that a restart compiles nothing. Owns the files; knows no handler and no compiler.
//!
//! An entry is the SHA-256 of the machine code, then the machine code. Its name is the SHA-256 of the component
//! and of the engine's settings and version: another engine never finds it.

use std::fs::{self, DirBuilder, Permissions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::compile::Code;
use crate::limits::CACHE_ENTRIES;

const DIGEST_BYTES: usize = 32;

/// A directory of compiled components that only its owner can enter.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    /// Tells apart the temporary files of threads that compile the same component.
    written: AtomicU64,
}

impl Cache {
    /// Opens the cache in `dir`, which is made if it is missing and closed to others (mode 0700) in any case.
    pub fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        Ok(Self { dir: dir.to_owned(), written: AtomicU64::new(0) })
    }

    /// The component that `wasm` was compiled to by an engine with these settings, if it is kept. An entry that
    /// is broken, or that the engine refuses, is as good as none: it is compiled and written anew.
    pub(crate) fn get(&self, engine: &wasmtime::Engine, wasm: &[u8]) -> Option<Component> {
        let path = self.path(engine, wasm);
        let entry = fs::read(&path).ok()?;
        match verified(entry).map(|code| code.component(engine)) {
            Some(Ok(component)) => Some(component),
            Some(Err(error)) => {
                tracing::warn!(path = %path.display(), "compiling anew, the engine refuses the cached code: {error:#}");
                None
            }
            None => {
                tracing::warn!(path = %path.display(), "compiling anew, the cached code is broken");
                None
            }
        }
    }

    /// Keeps what `wasm` was compiled to. Written beside and renamed: a reader sees all of it or none.
    pub(crate) fn put(&self, engine: &wasmtime::Engine, wasm: &[u8], code: &Code) -> io::Result<()> {
        let path = self.path(engine, wasm);
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
        let mut file = fs::File::create(&beside)?;
        file.write_all(&Sha256::digest(code.bytes()))?;
        file.write_all(code.bytes())?;
        drop(file);
        fs::rename(&beside, &path)?;
        self.forget_oldest()
    }

    fn path(&self, engine: &wasmtime::Engine, wasm: &[u8]) -> PathBuf {
        let mut key = KeyHasher(Sha256::new());
        key.0.update(Sha256::digest(wasm));
        engine.precompile_compatibility_hash().hash(&mut key);
        self.dir.join(format!("{}.native", hex(&key.0.finalize())))
    }

    /// Keeps the newest [`CACHE_ENTRIES`], and no temporary file of a process that died.
    fn forget_oldest(&self) -> io::Result<()> {
        let mut entries: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.dir)?
            .map(|entry| entry.and_then(|entry| Ok((entry.metadata()?.modified()?, entry.path()))))
            .collect::<io::Result<_>>()?;
        entries.sort_unstable_by(|one, two| two.cmp(one));
        for (_, path) in entries.iter().skip(CACHE_ENTRIES) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// The machine code of an entry, if it is what was written.
fn verified(mut entry: Vec<u8>) -> Option<Code> {
    let digest: [u8; DIGEST_BYTES] = *entry.first_chunk()?;
    entry.drain(..DIGEST_BYTES);
    (Sha256::digest(&entry)[..] == digest).then(|| Code::from_cache(entry))
}

/// Hashes with SHA-256: the standard library's hasher may differ between its versions.
struct KeyHasher(Sha256);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the digest is taken whole")
    }
}

/// `bytes` in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
