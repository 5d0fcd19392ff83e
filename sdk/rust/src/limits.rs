//! Bounds that the contract sets and the SDK keeps, so that a handler hears of them by name.

/// Bytes of a state key, the cell's name included: the host's tables take no longer ones.
pub const STATE_KEY_BYTES: usize = 4 << 10;

/// Bytes of a state value, encoded: the host's tables take no longer ones.
pub const STATE_VALUE_BYTES: usize = 1 << 20;

/// Bytes of a header's name: its length is a u16 in the contract.
pub const HEADER_NAME_BYTES: usize = u16::MAX as usize;

/// Topics that one batch may emit to, the first output included: their index is a u16 in the contract.
pub const TOPICS: usize = 1 << 16;
