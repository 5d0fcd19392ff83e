//! Every bound of the wasm host, each with its reason.

use std::time::Duration;

/// Instances alive at once: one per (handler, partition), so ten handlers over a thousand partitions. Each
/// reserves 4 GiB of address space; this many take 40 of the 128 TiB that a process has.
pub const INSTANCES: u32 = 10_000;

/// Core instances of one component: the guest, and the shim and fix-up modules that components are made with.
pub const CORE_INSTANCES_PER_INSTANCE: u32 = 4;

/// Tables of one component: the guest's, and that of the shim module.
pub const TABLES_PER_INSTANCE: u32 = 2;

/// Entries of a table: one per function whose address is taken; language runtimes have some thousands.
pub const TABLE_ELEMENTS: usize = 20_000;

/// Linear memories of one component. Handlers have one.
pub const MEMORIES_PER_INSTANCE: u32 = 1;

/// Stack of a guest, in bytes: what native code has by default on small threads; a call runs on a worker's
/// own stack, which must be larger.
pub const GUEST_STACK_BYTES: usize = 512 << 10;

/// How often the epoch advances. A call is looked at every few ticks only, so a tick must be short against
/// [`tidemill_flow::limits::SLOW_AFTER`]; 500 wake-ups a second cost 0.1 % of a core.
pub const EPOCH_TICK: Duration = Duration::from_millis(2);

/// Running time of an instantiation, which runs the guest's initializers, and of the check of its
/// configuration: that of a call by default.
pub const INSTANTIATION_DEADLINE: Duration = Duration::from_secs(5);

/// An instance whose memory passes this share of its limit is replaced after the call: some language
/// runtimes never give memory back, and a fresh instance costs 20 µs, a refused growth a fault.
pub const WATERMARK_PERCENT: usize = 75;

/// Frames of a backtrace that is kept: deep recursion would fill the dead letters with one line.
pub const BACKTRACE_FRAMES: usize = 20;

/// Processor time of a compilation. Our guests take a second and a half for a MiB (130 KiB in 0.2 s, both cores), so
/// that the largest language runtimes (Python, 40 MiB) take a minute: twice that.
pub const COMPILE_CPU: Duration = Duration::from_mins(2);

/// Bytes of address space of a compilation, with what the allocator and the threads' stacks reserve and never touch:
/// a hundred times what the largest plugins have.
pub const COMPILE_MEMORY_BYTES: u64 = 4 << 30;

/// Time on the clock of a compilation: all of its processor time at the share that is left to it beside workers that
/// have something to do all the time (see [`COMPILE_NICE`]).
pub const COMPILE_TIME: Duration = Duration::from_mins(10);

/// By how much the priority of a compilation is lowered. At 10 the kernel gives it a tenth of a core that others want
/// all the time, and all of one that is idle; at the most, 19, a new version would wait for seconds where it now
/// waits for one.
pub const COMPILE_NICE: i32 = 10;

/// Bytes that are kept of what the compiler says when it fails.
pub const COMPILE_WORDS_BYTES: u64 = 4 << 10;

/// Compiled components that are kept: some versions of some dozen plugins, at about three times their size.
pub const CACHE_ENTRIES: usize = 100;

/// Bytes of a plugin that is read at all. The largest language runtimes (Python) make 40 MiB.
pub const PLUGIN_BYTES: u64 = 128 << 20;

/// Bytes of a log line of a guest; the rest is cut off.
pub const LOG_LINE_BYTES: usize = 8 << 10;

/// Log lines of a handler per second; the rest is counted.
pub const LOG_LINES_PER_SECOND: u32 = 100;

/// Entries of one page of a scan.
pub const SCAN_ENTRIES: u32 = 10_000;

/// Bytes of one page of a scan, but for a single entry: what a guest of the smallest memory can take.
pub const SCAN_BYTES: usize = 1 << 20;

/// A file of the plugin directory is complete when it did not change for so long, unless the kernel says it
/// earlier (closed or renamed).
pub const STABLE_AFTER: Duration = Duration::from_millis(300);

/// The directory is read anew this often even if the kernel reports nothing: some file systems never do.
pub const RESCAN_EVERY: Duration = Duration::from_secs(5);
