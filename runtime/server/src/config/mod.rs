//! `tidemill.toml`: the runtime's own file, with a default for everything. Knows keys, not what they do.

mod file;

pub use file::{
    CompileConfig, CompileProgram, Config, ConfigError, Hold, HttpConfig, LogConfig, LogFormat,
    RetentionConfig, StoreConfig, SyncConfig,
};
