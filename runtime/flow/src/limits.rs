//! Every bound of the flow, each with its reason.

use std::time::Duration;

/// A call that has used this much processor time gives its permit back and goes on with a slow one: longer than
/// nearly every batch takes, short enough that a looping guest does not hold up its neighbours. Not by the clock:
/// where other processes have the cores, every call takes long.
pub const SLOW_AFTER: Duration = Duration::from_millis(10);

/// A call that has taken this long by the clock is slow as well: what it waits for, a disk perhaps, others need not
/// wait for. So long that a call which merely got no core for some turns of other processes is not meant.
pub const WAITING_AFTER: Duration = Duration::from_millis(100);

/// Worker threads for each core. Only as many run as there are cores; the others stand behind slow calls.
pub const WORKERS_PER_CORE: usize = 4;

/// Slow permits for each two cores, at least one: with [`SLOW_NICENESS`] slow calls together get about a seventh of a
/// machine that has other work.
pub const SLOW_PERMITS_PER_TWO_CORES: usize = 1;

/// By how much a slow call's thread gives way to the others: it gets a third of the processor time that one of them gets,
/// and all that they leave.
pub const SLOW_NICENESS: i32 = 5;

/// How many times over a handler is charged for a turn whose batch came to nothing, because the call trapped, passed a
/// limit or lied: who keeps wasting time gets a ninth of the machine beside one who does not.
pub const WASTE_WEIGHT: u32 = 8;

/// Slow calls for each core, those included that wait for a slow permit: with so many, a handler that was slow the
/// last time gets no permit, so that half of the workers are left for the others however many guests loop.
pub const SLOW_CALLS_PER_CORE: usize = 2;

/// Transactions of one driver that may be unanswered: one is being synced while the next is built on it.
pub const TRANSACTIONS_IN_FLIGHT: usize = 2;

/// Bytes of unanswered transactions of all drivers together: some frames' worth, so that the disk is never
/// short of work, and small beside the memory of any machine.
pub const IN_FLIGHT_BYTES: usize = 64 << 20;

/// Time that a batch should take: long against the cost of a call, short against [`SLOW_AFTER`].
pub const BATCH_TIME: Duration = Duration::from_millis(4);

/// Events of a batch whose handler has no history yet.
pub const FIRST_BATCH_EVENTS: usize = 64;

/// A batch is at most this many times as large as the largest one that was measured.
pub const BATCH_GROWTH: usize = 4;

/// A driver with this many bytes waiting is served in its turn; with less it waits for more, unless it has
/// waited [`LINGER`] or a worker would be idle. Batches of 4 KiB already reach the plateau of most handlers.
pub const RIPE_BYTES: u64 = 4 << 10;

/// How long an event may wait for others to come.
pub const LINGER: Duration = Duration::from_millis(2);

/// Time that a handler may use before it is the next one's turn.
pub const QUANTUM: Duration = Duration::from_millis(1);

/// The deadline of a part in isolation, in multiples of the time that it should take.
pub const PART_DEADLINE_FACTOR: u32 = 8;

/// The shortest deadline of a part in isolation: a machine under load is not a guilty event.
pub const PART_DEADLINE_MIN: Duration = Duration::from_millis(20);

/// The longest time that a guest may ask to wait before an event is tried again.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(7 * 24);

/// The first pause after a fault of the host or a busy log; it doubles.
pub const HOST_BACKOFF: Duration = Duration::from_millis(20);

/// The longest pause after faults of the host.
pub const HOST_BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Bytes of a state key.
pub const STATE_KEY_BYTES: usize = 4 << 10;

/// Bytes of a state value.
pub const STATE_VALUE_BYTES: usize = 1 << 20;

/// Bytes of an emitted event: as for a published one.
pub const EVENT_BYTES: usize = 4 << 20;

/// Bytes of a block; a call that emits more to one partition makes several.
pub const BLOCK_BYTES: usize = 8 << 20;

/// Bytes of a transaction: what the log takes by default.
pub const TRANSACTION_BYTES: usize = 32 << 20;

/// Bytes of what a version is named by: a hash in hexadecimal, with room for more.
pub const VERSION_BYTES: usize = 256;

/// Bytes of the reason kept in a dead letter, a status or a message; the rest is cut off.
pub const REASON_BYTES: usize = 1 << 10;

/// Topics that a handler may emit to through its globs: each is created when it is first emitted to.
pub const OUTPUT_TOPICS: usize = 1_000;

/// Handlers installed at a time: each costs a place in every round of the scheduler, and a look at its topics
/// whenever one comes or goes.
pub const HANDLERS: usize = 1_000;
