//! Transactions on their way to the log, and what their answers do to the driver.

use tidemill_bus::TopicId;
use tidemill_bus::log::{Abort, Outcome};
use tidemill_bus::transaction::Progress;

use super::Driver;
use super::machine::Life;
use crate::limits;

/// An unanswered transaction.
pub(super) struct Flight {
    token: u64,
    topic: TopicId,
    progress: Progress,
    effects: Effects,
}

/// What a transaction adds to the counters when it is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Events settled.
    pub(crate) events_in: u64,
    /// Events emitted.
    pub(crate) events_out: u64,
    /// Dead letters.
    pub(crate) dead_letters: u64,
    /// Events dropped.
    pub(crate) dropped: u64,
}

/// An answer, put to account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Landed {
    /// The transaction is committed, with these effects.
    Committed(Effects),
    /// It was aborted, and the driver will rewind.
    Aborted(Abort),
}

impl Driver {
    /// A transaction that brings an input to `progress` is handed in; returns its token.
    pub(crate) fn launch(&mut self, input: usize, progress: Progress, effects: Effects) -> u64 {
        assert!(self.flight.len() < limits::TRANSACTIONS_IN_FLIGHT, "{} has too many in flight", self.key);
        let input = &mut self.inputs[input];
        input.at = progress;
        input.announce = false;
        let token = self.next_token;
        self.next_token += 1;
        self.flight.push_back(Flight { token, topic: input.topic.id, progress, effects });
        token
    }

    /// The answer to a transaction has come.
    pub(crate) fn answered(&mut self, token: u64, outcome: Outcome, now_ms: i64) -> Landed {
        let flight = self.flight.pop_front().expect("an answer belongs to a transaction");
        assert_eq!(flight.token, token, "answers of {} come in the order of its calls", self.key);
        match outcome {
            Outcome::Committed(_) => {
                if let Some(input) = self.inputs.iter_mut().find(|input| input.topic.id == flight.topic) {
                    input.committed = flight.progress;
                    input.sought = input.sought.filter(|&sought| sought != flight.progress.next);
                }
                self.recovered();
                self.try_out(token, flight.effects);
                Landed::Committed(flight.effects)
            }
            Outcome::Aborted(abort) => {
                self.aborted(&abort, now_ms);
                Landed::Aborted(abort)
            }
        }
    }

    fn aborted(&mut self, abort: &Abort, now_ms: i64) {
        let failed = matches!(self.life, Life::Failed(_));
        match abort {
            _ if failed => {}
            Abort::Poisoned(_)
            | Abort::Closing
            | Abort::TooLarge { .. }
            | Abort::KeyReused(_)
            | Abort::Producer { .. } => {
                self.life = Life::Failed(abort.to_string());
            }
            // What may pass: a full disk is a disk that someone makes room on.
            Abort::Busy | Abort::Full(_) | Abort::Tables(_) => {
                self.life = Life::Unloaded;
                self.trouble(&abort.to_string(), now_ms);
            }
            Abort::TopicGone(_) | Abort::Fenced(_) => self.life = Life::Unloaded,
        }
        if let Abort::TopicGone(topic) = abort {
            self.drop_input(*topic);
        }
    }
}
