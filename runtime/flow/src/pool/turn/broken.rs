//! A driver whose turn panicked outside of a call: an assertion of ours did not hold, and what it keeps may be half
//! done. It stands still, alone, until its handler is installed anew; what is committed is whole.

use super::Work;
use crate::handler::Fault;
use crate::pool::Cell;
use crate::pool::mail::Command;
use crate::pool::worker::Worker;

impl Work {
    /// Gives up everything but the reason. Bytes that the turn held of the budget stay taken: few, and never again.
    pub(super) fn break_down(&mut self, worker: &mut Worker, fault: &Fault) {
        self.discard();
        worker.renew();
        self.broken = Some(format!("stands still until its handler is installed anew: {fault}"));
    }

    /// Lets nobody wait for the driver.
    pub(super) fn stand_still(&mut self, cell: &Cell) {
        let (commands, drained) = {
            let mut mailbox = cell.mailbox().lock();
            mailbox.answers.clear();
            (std::mem::take(&mut mailbox.commands), mailbox.launched.is_empty())
        };
        for command in commands {
            if let Command::Seek(_, _, latch) = command {
                latch.release();
            }
        }
        self.seekers.drain(..).for_each(|latch| latch.release());
        let mut view = cell.view().lock();
        (view.failed, view.drained) = (self.broken.clone(), drained);
        (view.instances, view.memory_bytes, view.trouble) = (0, 0, None);
    }
}
