//! The versions that a handler is replaced by: how each is put into the plugin directory, and how one sees that the
//! runtime has taken it, or what it made of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::harness::versioned;

/// The handler under test.
pub(super) const HANDLER: &str = "aggregate";

/// What is wrong with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing.
    Good,
    /// It is no component.
    Broken,
    /// It traps at every event.
    Trapping,
    /// It rejects every event.
    Rejecting,
    /// It wants state of another version.
    OtherState,
}

impl Kind {
    /// All that are no good.
    pub(super) const BAD: [Self; 4] = [Self::Broken, Self::Trapping, Self::Rejecting, Self::OtherState];

    /// Its name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Broken => "broken file",
            Self::Trapping => "trapping",
            Self::Rejecting => "rejecting all",
            Self::OtherState => "other state-version",
        }
    }

    /// Whether `entry`, the handler as the API shows it, says that this version was dealt with; `before` is the entry
    /// as it was when the version came.
    pub(super) fn is_done(self, before: &Value, entry: &Value) -> bool {
        match self {
            Self::Good => {
                let is_new = entry["version"] != before["version"];
                is_new
                    && entry["state"] == "running"
                    && entry["inCharge"].is_null()
                    && entry["error"].is_null()
            }
            Self::Broken => !entry["error"].is_null(),
            Self::Trapping | Self::Rejecting => {
                let gone = !entry["refused"].is_null() && entry["refused"] != before["refused"];
                gone && entry["version"] == before["version"]
            }
            Self::OtherState => entry["state"] == "stopped",
        }
    }
}

/// The plugin directory.
pub(super) struct Directory {
    components: PathBuf,
    plugins: PathBuf,
    versions: u64,
}

impl Directory {
    /// A directory below `scratch`, with the first version in it.
    pub(super) fn new(components: &Path, scratch: &Path) -> Result<Self> {
        let plugins = scratch.join("plugins");
        fs::create_dir_all(&plugins)?;
        let mut directory = Self { components: components.to_owned(), plugins, versions: 0 };
        directory.put(Kind::Good)?;
        Ok(directory)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.plugins
    }

    /// Puts a version of this kind in the place of the one that is there.
    pub(super) fn put(&mut self, kind: Kind) -> Result<()> {
        match kind {
            Kind::Good => {
                self.component(HANDLER)?;
                self.settings("[config]\npointer = \"/number\"\n")
            }
            Kind::Broken => self.file(&format!("{HANDLER}.wasm"), b"\0asm, or so it seems"),
            // The settings first: without them this component would do something else than trap.
            Kind::Trapping => {
                self.settings("[config]\nvice = \"trap\"\n")?;
                self.component("vices")
            }
            Kind::Rejecting => self.settings("[config]\npointer = \"/nowhere\"\n"),
            Kind::OtherState => self.settings("state-version = 2\n[config]\npointer = \"/number\"\n"),
        }
    }

    /// Code that no version had before.
    fn component(&mut self, name: &str) -> Result<()> {
        self.versions += 1;
        let bytes = versioned(&self.components.join(format!("{name}.wasm")), self.versions)?;
        self.file(&format!("{HANDLER}.wasm"), &bytes)
    }

    fn settings(&self, more: &str) -> Result<()> {
        let text = format!("inputs = [\"events\"]\noutput = \"counted\"\n{more}");
        self.file(&format!("{HANDLER}.toml"), text.as_bytes())
    }

    /// As an upload does: a complete file, renamed into place. One that is there already is left alone.
    fn file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.plugins.join(name);
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        let draft = self.plugins.join(format!(".{name}.draft"));
        fs::write(&draft, bytes).with_context(|| format!("writing {}", draft.display()))?;
        fs::rename(&draft, &path).with_context(|| format!("renaming {name} into place"))
    }
}
