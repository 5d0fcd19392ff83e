//! Every bound of the server, each with its reason.

use std::time::Duration;

/// Bytes of a request's body. One publish is one transaction, and the store takes blocks of 8 MiB.
pub const BODY_BYTES_MAX: usize = 8 << 20;

/// Bytes that are read of a body above the limit before it is refused, so that a client that sends without
/// asking gets to read why. Beyond that its connection breaks.
pub const DISCARDED_BYTES_MAX: usize = 8 * BODY_BYTES_MAX;

/// Bytes of an event: key, headers and value. Half of a block, so that a block always takes one.
pub const EVENT_BYTES_MAX: usize = 4 << 20;

/// Bytes of a block's columns. The store's own limit.
pub const BLOCK_BYTES_MAX: usize = 8 << 20;

/// Bytes of columns of a publish. Tiny events take more as columns (20 bytes each) than as lines; this is
/// the store's limit of a transaction.
pub const PUBLISH_COLUMN_BYTES_MAX: usize = 32 << 20;

/// Depth of nested JSON. The same as that of the readers which handlers use; it bounds our recursion too.
pub const JSON_DEPTH_MAX: usize = tidemill_json::DEPTH_MAX;

/// Bytes of a JSON pointer in a query. Longer ones are no places that somebody wrote down.
pub const POINTER_BYTES_MAX: usize = 1024;

/// Bytes of an `Idempotency-Key`. It is kept in the store's tables for a day.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;

/// How long a client whom the store cannot serve now is asked to wait: a few group commits.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Bodies up to this are read on the thread that took them; longer ones would hold up its other requests.
pub const INLINE_BODY_BYTES_MAX: usize = 32 << 10;

/// Bytes of lines that a reader is sent at a time.
pub const READ_CHUNK_BYTES: usize = 128 << 10;

/// Bytes of batches that one reader holds, all partitions together, but for one event of each.
pub const READER_BYTES_MAX: usize = 1 << 20;

/// Events that a reader asks a partition for at once.
pub const READER_BATCH_EVENTS_MAX: usize = 4096;

/// Readers at a time, followers included: each holds up to [`READER_BYTES_MAX`].
pub const READERS_MAX: usize = 256;

/// How long a stop waits for requests under way before it goes on without them.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Bytes of a body that is not events: a few settings.
pub const SMALL_BODY_BYTES_MAX: usize = 64 << 10;

/// Dead letters in one answer. More are looked at one page after the other, dropping what is done with.
pub const DEAD_LETTERS_MAX: u64 = 1000;
