//! Every bound of the server, each with its reason.

use std::time::Duration;

/// Bytes of a request's body. One publish is one transaction, and the store takes blocks of 8 MiB.
pub const BODY_BYTES_MAX: usize = 8 << 20;

/// Bytes of an event: key, headers and value. Half of a block, so that a block always takes one.
pub const EVENT_BYTES_MAX: usize = 4 << 20;

/// Bytes of a block's columns. The store's own limit.
pub const BLOCK_BYTES_MAX: usize = 8 << 20;

/// Bytes of columns of a publish. Tiny events take more as columns (20 bytes each) than as lines; this is
/// the store's limit of a transaction.
pub const PUBLISH_COLUMN_BYTES_MAX: usize = 32 << 20;

/// Depth of nested JSON. The same as that of the readers which handlers use; it bounds our recursion too.
pub const JSON_DEPTH_MAX: usize = 128;

/// Bytes of a JSON pointer in a query. Longer ones are no places that somebody wrote down.
pub const POINTER_BYTES_MAX: usize = 1024;

/// Bytes of an `Idempotency-Key`. It is kept in the store's tables for a day.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;

/// How long a client whom the store cannot serve now is asked to wait: a few group commits.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
