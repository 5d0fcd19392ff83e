//! The names of things as numbers: each its own type, so that an offset is never taken for a partition.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A topic's life: a topic that is deleted and created again under its name has another id.
    TopicId(u64)
);
number!(
    /// A handler's name as a number, never used again; the key of its group, state and causes.
    HandlerId(u64)
);
number!(
    /// The number of a partition within its topic, from 0.
    Partition(u32)
);
number!(
    /// The place of an event in its partition. Grows; need not be without gaps.
    Offset(u64)
);
number!(
    /// A part of a partition that is processed on its own (`ordering = "key"`); 0 under `partition` ordering.
    Lane(u32)
);
number!(
    /// The place of a frame in the journal, from 1 and without gaps; 0 is before the first.
    FrameNumber(u64)
);

impl FrameNumber {
    /// The frame after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("frame numbers do not overflow in the life of a store"))
    }
}

impl Offset {
    /// The offset `count` places on. Offsets are 64 bits wide: at 10 million a second they last 58,000 years.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0.checked_add(count).expect("offsets do not overflow in the life of a store"))
    }
}

/// One partition of one life of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition of it.
    pub partition: Partition,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {} partition {}", self.topic, self.partition)
    }
}

/// The owner of state and progress: one driver of one handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverKey {
    /// The handler.
    pub handler: HandlerId,
    /// The partition number that it reads of every input topic.
    pub partition: Partition,
    /// The lane within it.
    pub lane: Lane,
}

impl DriverKey {
    /// Nobody's: what belongs to the store itself. Handler ids begin at 1.
    pub const NONE: Self = Self { handler: HandlerId(0), partition: Partition(0), lane: Lane(0) };

    /// Nobody's either: what publishes are remembered by. Kept apart, so that the store goes on if it breaks.
    pub const PUBLISHERS: Self = Self { lane: Lane(1), ..Self::NONE };

    /// All drivers of a handler: what stops it stops each of them.
    #[must_use]
    pub fn all_of(handler: HandlerId) -> Self {
        Self { handler, partition: Partition(u32::MAX), lane: Lane(u32::MAX) }
    }
}

impl fmt::Display for DriverKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::all_of(self.handler) {
            return write!(f, "all partitions of handler {}", self.handler);
        }
        write!(f, "handler {} partition {} lane {}", self.handler, self.partition, self.lane)
    }
}
