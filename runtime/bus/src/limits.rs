//! Every bound of the bus, each with its reason. A test names for each of them the test that drives it to full.

use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Bytes of a segment, unless the options say otherwise: large enough that a change of segment (a footer, a
/// file prepared) is rare, small enough that retention frees space in even steps.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Bytes of the very first segment: a new store must be ready at once, and zeros take time.
pub const FIRST_SEGMENT_BYTES: u64 = 4 << 20;

/// Bytes of one frame at most: places within a segment are 32 bits wide, and opening holds a frame in memory.
pub const FRAME_BYTES_MAX: u64 = 1 << 30;

/// Bytes of a segment at most, whatever the options say: places within one are 32 bits wide, and a frame of its
/// own size must still fit.
pub const SEGMENT_BYTES_MAX: u64 = 2 << 30;

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

/// Longest name of a topic or handler: Kafka's limit, so that topics can be mirrored.
pub const NAME_BYTES_MAX: usize = 249;
/// Partitions of a topic unless told: enough for the cores of a small machine.
pub const PARTITIONS_DEFAULT: u32 = 4;
/// Most partitions of one topic: each costs memory for its readable end and its tail.
pub const PARTITIONS_MAX: u32 = 10_000;

/// Most bytes of the body of a block that is committed: a reader takes a block as a whole.
pub const NEW_BLOCK_BYTES_MAX: usize = 8 * MIB;
/// Bytes of a body below which it is not compressed: the names that events repeat fill more than that.
pub const COMPRESSED_BYTES_MIN: usize = 512;
/// Most bytes of a transaction: it must fit a frame, and a frame a segment.
pub const TRANSACTION_BYTES_MAX: usize = 32 * MIB;
/// Bytes after which a group is closed: what waits is then synced without it. Sixteen syncs' worth of the
/// 1 MiB at which a disk reaches its throughput would only add latency.
pub const GROUP_BYTES_MAX: usize = 4 * MIB;

/// Most bytes noted of a handler: some numbers and the name of a version.
pub const NOTE_BYTES_MAX: usize = 4 * KIB;

/// Longest state key: it is part of a tree's key.
pub const STATE_KEY_BYTES_MAX: usize = 4 * KIB;
/// Longest state value: it is copied into a guest as a whole.
pub const STATE_VALUE_BYTES_MAX: usize = MIB;

/// Longest idempotency key: HTTP clients send UUIDs; it is part of a tree's key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_AGE_MAX: Duration = Duration::from_hours(24);

/// Longest name of a producer that numbers its publishes; it is part of a tree's key.
pub const PRODUCER_BYTES_MAX: usize = 256;
/// Publishes of a producer whose offsets are remembered: more than one has in flight.
pub const PRODUCER_SEQUENCES_KEPT: usize = 16;
/// How long a producer is remembered after its last publish: longer than events are kept by default.
pub const PRODUCER_AGE_MAX: Duration = Duration::from_hours(8 * 24);

/// Bytes of publishes that wait for their commit; beyond it publishers are told to come again.
pub const PUBLISHERS_BYTES_MAX: usize = 64 * MIB;
/// Bytes of drivers' transactions that wait for their commit: a backstop, for the flow has its own budget.
pub const DRIVERS_BYTES_MAX: usize = 256 * MIB;
/// Transactions that wait, of drivers or publishers each: empty ones take memory, too.
pub const QUEUE_LEN_MAX: usize = 64 * KIB;

/// Bytes of recent blocks, of all partitions together, that readers get without the disk.
pub const TAILS_BYTES_MAX: usize = 128 * MIB;
/// Bytes of blocks read from the disk that are kept, so that small reads of a large block read it once.
pub const READ_CACHE_BYTES_MAX: usize = 32 * MIB;

/// Bytes of deltas in memory at which a checkpoint begins.
pub const OVERLAY_BYTES_CHECKPOINT: usize = 64 * MIB;
/// Bytes of deltas in memory at which commits wait for a checkpoint.
pub const OVERLAY_BYTES_MAX: usize = 256 * MIB;
/// Bytes of replayed changes that are gathered at an opening before they are sorted, half of what memory may hold of
/// them at most: each merge builds what is in memory anew, so there should be few, and this much is held beside it.
pub const REPLAY_BYTES_GATHERED: usize = 128 * MIB;
/// Threads that sort them: more wait for memory.
pub const REPLAY_THREADS_MAX: usize = 4;

/// Bytes of journal not yet in the tables at which commits wait: it bounds the time to open.
pub const UNPERSISTED_BYTES_MAX: u64 = 4 << 30;
/// Longest time between two checkpoints while there is something to flush.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// Time between two looks for segments that are worth being rewritten: each reads the index of all of them.
pub const SETTLE_INTERVAL: Duration = Duration::from_mins(1);

/// Bytes of segments that are rewritten in one look, or little more: checkpoints wait meanwhile, for a second or so.
pub const SETTLE_BYTES_MAX: u64 = 256 << 20;
/// Segments that are joined at a time: each is an open file.
pub const JOIN_SEGMENTS_MAX: usize = 32;

/// How long an event without a value is kept in a compacted topic, so that readers learn that its key is gone.
pub const TOMBSTONE_AGE: Duration = Duration::from_hours(24);
/// Bytes of keys that one look for superseded events holds, by estimate: what has more is compacted piece by piece.
pub const COMPACTION_KEYS_BYTES_MAX: usize = 64 * MIB;

/// Segments that still fit on the disk when publishers are refused: handlers go on and free what they have read.
pub const ROOM_PUBLISHERS_STOP: u64 = 4;
/// Segments that still fit when only the handlers go on that hold the oldest segment.
pub const ROOM_HANDLERS_STOP: u64 = 2;
/// Segments that still fit when these stop, too: what is left is for operators' changes and for the tables.
pub const ROOM_HOLDERS_STOP: u64 = 1;

/// How far the wall clock may jump ahead of the monotonic one and still be followed.
pub const CLOCK_LEAP_MAX: Duration = Duration::from_hours(1);
/// Notices that are kept until somebody asks for them; older ones go.
pub const NOTICES_MAX: usize = 64;
