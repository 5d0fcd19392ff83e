//! A library that is preloaded into a runtime and cuts its power, as far as its files can tell: it stands between
//! the process and libc, lets every change of a file below one directory through, and remembers what was there
//! before, until a sync makes it durable. At the cut it takes a random subset of what was not synced back, and
//! kills the process.
//!
//! What it does and when stands in the `plan` in the directory named by `TIDEMILL_POWER_CUT`; what it
//! did it says in the `report` there. Syncs do not reach the device: they take 200 µs instead.
//!
//! It knows no format of ours, and nothing of what the process is for. Linux with 64 bits only.

mod plan;
mod random;

mod file;
mod tree;

mod saved;

mod ledger;

mod end;

mod shim;

mod names;
mod writes;

mod kernel;

mod calls;
