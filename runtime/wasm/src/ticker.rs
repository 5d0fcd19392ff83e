//! The thread that advances the epoch, by which running guests notice that time passes. Knows no deadline.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::limits::EPOCH_TICK;

/// A named thread that ticks until it is dropped, which joins it.
pub(crate) struct Ticker {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts to advance the epoch of `engine` every [`EPOCH_TICK`].
    pub(crate) fn start(engine: &wasmtime::Engine) -> io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let thread = std::thread::Builder::new().name("tidemill-epoch".to_owned()).spawn({
            let (engine, stop) = (engine.clone(), stop.clone());
            move || tick(&engine, &stop)
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the ticker only waits and counts");
        }
    }
}

fn tick(engine: &wasmtime::Engine, stop: &(Mutex<bool>, Condvar)) {
    let mut stopped = stop.0.lock();
    while !*stopped {
        stop.1.wait_for(&mut stopped, EPOCH_TICK);
        engine.increment_epoch();
    }
}
