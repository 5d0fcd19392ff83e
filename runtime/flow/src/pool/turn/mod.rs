//! One turn of a driver: its mail, then a batch read, handed to the handler, checked, scattered and committed.
//! Runs on a worker; waits for nothing but the handler.

mod work;

mod load;

mod call;

mod contain;

mod judge;

mod tried;

mod commit;

mod broken;

pub(crate) use work::{Rest, Work, turn};
