//! Committing, and waiting for the outcome: for tools and tests, not for the hot path.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Background, Store};
use crate::Transaction;
use crate::log::{Abort, Answer, Answered, Log, Outcome};

impl Store {
    /// Hands a transaction in and waits for the outcome.
    pub fn commit(&self, transaction: Transaction) -> Outcome {
        let (sender, outcome) = sync_channel(1);
        self.submit(transaction, Answer { to: Arc::new(Waiter(sender)), token: 0 });
        self.wait(&outcome)
    }

    fn wait(&self, outcome: &Receiver<Outcome>) -> Outcome {
        if self.inner.shared.options.background == Background::Manual {
            self.run();
        }
        outcome.recv().unwrap_or(Outcome::Aborted(Abort::Closing))
    }
}

/// An answer that somebody waits for.
struct Waiter(SyncSender<Outcome>);

impl Answered for Waiter {
    fn answered(&self, _: u64, outcome: Outcome) {
        // There is room for the one outcome; nobody may be waiting any more.
        let _ = self.0.try_send(outcome);
    }
}
