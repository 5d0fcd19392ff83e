//! The plugin directory: `NAME.wasm`, and beside it `NAME.toml` if the defaults do not do. Watched, so that a
//! file dropped in becomes a handler, a file replaced a new version of it, and a file removed its end. A broken
//! file changes nothing but is told. Knows how to load a plugin, not what becomes of it.

mod check;
mod files;
mod kept;
mod ledger;
mod watch;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::plugin::{LoadError, Plugin};
use crate::plugin_file::PluginFileError;

pub use check::{Checked, check_directory};
pub use kept::Kept;
pub use watch::PluginDirectory;

/// What happened in the directory.
pub enum Change {
    /// A handler, or a new version of one: it takes over with the next batch.
    Loaded(Arc<Plugin>),
    /// The file of a handler is gone, and so is the handler. Its group and its state stay.
    Removed {
        /// The handler's name.
        name: String,
    },
    /// A file could not be taken. If there is a version before it, that one goes on.
    Failed {
        /// The name of the handler in charge, or the one that the file would have had.
        name: String,
        /// Why.
        error: PluginError,
    },
}

/// Told of every change, one after the other, from the thread that watches the directory; those of the first
/// reading from the thread that opens it.
pub trait Listener: Send + Sync + 'static {
    /// Takes a change. The next one waits for it to return.
    fn changed(&self, change: Change);
}

/// A plugin that could not be taken.
#[derive(Debug, Error)]
pub enum PluginError {
    /// A file could not be read.
    #[error("reading {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A link leads out of the directory.
    #[error("{} is a link to {}, outside of the plugin directory: copy the file", path.display(), target.display())]
    Outside {
        /// The link.
        path: PathBuf,
        /// Where it leads to.
        target: PathBuf,
    },
    /// The component is larger than any that is made on purpose.
    #[error("{} has {bytes} bytes, the limit is {}", path.display(), crate::limits::PLUGIN_BYTES)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, in bytes.
        bytes: u64,
    },
    /// There is a plugin file, and no plugin.
    #[error("there is {}, but no component of that name beside it", path.display())]
    NoComponent {
        /// The plugin file.
        path: PathBuf,
    },
    /// The plugin file does not say what it should.
    #[error("{}: {error}", path.display())]
    PluginFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: PluginFileError,
    },
    /// Another file is that handler already.
    #[error("the handler {name} comes from {} already", path.display())]
    NameTaken {
        /// The name.
        name: String,
        /// The file in charge.
        path: PathBuf,
    },
    /// The component is no handler, or cannot be run.
    #[error("{}: {error}", path.display())]
    Load {
        /// The component.
        path: PathBuf,
        /// What is wrong with it.
        error: LoadError,
    },
}
