//! The plugin directory of the run: the handlers, how each is set up, and how another version of one is put in place.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::publish::{FILTER_BELOW, INPUT};
use crate::harness::versioned;

/// The handlers, which are named as their components, with their output and more of their settings.
fn handlers() -> [(&'static str, &'static str, String); 5] {
    [
        ("passthrough", "passed", String::new()),
        ("aggregate", "counted", "[config]\npointer = \"/number\"\n".to_owned()),
        (
            "json-filter",
            "filtered",
            format!(
                "[config]\npointer = \"/number\"\ncomparison = \"less\"\nvalue = \"{FILTER_BELOW}\"\n\
                 fields = [\"/seq\", \"/number\"]\n"
            ),
        ),
        ("flaky", "flaky", "[retry]\nattempts = 3\nbackoff = \"5ms\"\n".to_owned()),
        ("sessions", "sessions", String::new()),
    ]
}

/// The names of the handlers.
pub(super) const HANDLERS: [&str; 5] = ["passthrough", "aggregate", "json-filter", "flaky", "sessions"];

/// The plugin directory.
pub(super) struct Directory {
    components: PathBuf,
    plugins: PathBuf,
    versions: u64,
}

impl Directory {
    /// A directory below `scratch`, with the first version of each handler in it.
    pub(super) fn new(components: &Path, scratch: &Path) -> Result<Self> {
        let plugins = scratch.join("plugins");
        fs::create_dir_all(&plugins)?;
        let mut directory = Self { components: components.to_owned(), plugins, versions: 0 };
        for (name, output, more) in handlers() {
            let text = format!("inputs = [\"{INPUT}\"]\noutput = \"{output}\"\n{more}");
            fs::write(directory.plugins.join(format!("{name}.toml")), text)?;
            directory.renew(name)?;
        }
        Ok(directory)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.plugins
    }

    /// Puts a version of a handler in place that was not there before.
    pub(super) fn renew(&mut self, handler: &str) -> Result<()> {
        self.versions += 1;
        let bytes = versioned(&self.components.join(format!("{handler}.wasm")), self.versions)?;
        self.put(handler, &bytes)
    }

    /// Puts a file in place that is no component.
    pub(super) fn break_file(&self, handler: &str) -> Result<()> {
        self.put(handler, b"\0asm, or so it seems")
    }

    /// As an upload does: a complete file, renamed into place.
    fn put(&self, handler: &str, bytes: &[u8]) -> Result<()> {
        let draft = self.plugins.join(format!(".{handler}.draft"));
        fs::write(&draft, bytes)?;
        fs::rename(&draft, self.plugins.join(format!("{handler}.wasm")))
            .with_context(|| format!("renaming {handler} into place"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_handler_is_set_up() {
        assert_eq!(handlers().map(|(name, ..)| name), HANDLERS);
    }
}
