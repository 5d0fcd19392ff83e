//! What a topic may be set to, besides its number of partitions. Knows no row and no segment.

/// What becomes of a topic's events in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// They go when retention lets them.
    #[default]
    Delete,
    /// Retention leaves them. Of the events with one key in a partition the newest stays, for ever; one without a value
    /// goes, too, after [a day](crate::limits::TOMBSTONE_AGE). Events without a key stay.
    Compact,
}

impl Policy {
    /// The policy of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Delete, Self::Compact].into_iter().find(|policy| policy.name() == name)
    }

    /// Its name, as clients see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
        }
    }
}

/// How the blocks of a topic are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// Compressed with LZ4, each block by itself; those that do not become smaller as they are.
    Lz4,
}

impl Compression {
    /// The compression of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::None, Self::Lz4].into_iter().find(|compression| compression.name() == name)
    }

    /// Its name, as clients see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
        }
    }
}

/// The settings of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicSettings {
    /// What becomes of its events in time.
    pub policy: Policy,
    /// How blocks are stored that are written from now on.
    pub compression: Compression,
}
