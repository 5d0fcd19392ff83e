//! Every bound of the bus, each with its reason.

/// Bytes of a segment, unless the options say otherwise: large enough that a change of segment (a footer, a
/// file prepared) is rare, small enough that retention frees space in even steps.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Bytes of the very first segment: a new store must be ready at once, and zeros take time.
pub const FIRST_SEGMENT_BYTES: u64 = 4 << 20;

/// Bytes of one frame at most: places within a segment are 32 bits wide, and opening holds a frame in memory.
pub const FRAME_BYTES_MAX: u64 = 1 << 30;

/// Bytes of one block at most, header included: what a reader allocates for a length read from disk.
pub const BLOCK_BYTES_MAX: u64 = 64 << 20;

/// Bytes of sealed segments' indexes kept in memory: the partition tables and the block entries that readers
/// are at (about 2 MiB per segment and 1,000 partitions).
pub const INDEX_CACHE_BYTES: usize = 64 << 20;

/// Sealed segments whose file is kept open for readers: well below the usual 1,024 descriptors of a process.
pub const OPEN_SEGMENTS_MAX: usize = 128;

/// A block's body up to this size is copied next to its neighbours: cheaper than six more pieces of a vectored
/// write.
pub const BODY_COPY_BYTES_MAX: usize = 4 << 10;

/// Jobs that wait for the journal's housekeeper: one per segment that is sealed, prepared or released.
pub const HOUSEKEEPING_JOBS_MAX: usize = 64;

/// How long opening waits for the holder of `LOCK` to go, in milliseconds: a restart overlaps with the stop.
pub const LOCK_WAIT_MS: u64 = 5_000;
