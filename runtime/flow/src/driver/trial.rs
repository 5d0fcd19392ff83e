//! A driver whose handler has a new version: until that version's first commit here nothing that it fails at counts
//! against an event. Decides only for this partition; what becomes of the version is decided elsewhere.

use tidemill_bus::transaction::Progress;

use super::flight::Effects;
use super::{Driver, Plan};

/// How a version stands in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has had a commit here.
    Proved,
    /// It has not, and there is none that could come back.
    Alone,
    /// It has not, and another one comes back if it fails.
    OnTrial,
}

/// The trial of the version that a driver has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    standing: Standing,
    /// The first transaction that the version can make.
    first: u64,
}

impl Trial {
    /// Of the very first version.
    pub(super) fn new() -> Self {
        Self { standing: Standing::Alone, first: 0 }
    }
}

impl Driver {
    /// Another version takes the next call: it need not wait for what was the matter with the last, and the
    /// attempts that one on trial made were none.
    pub(crate) fn renewed(&mut self, standing: Standing) {
        if self.is_on_trial() {
            self.forgive();
        }
        self.recovered();
        self.not_before = 0;
        self.trial = Trial { standing, first: self.next_token };
    }

    /// Whether the version has had no commit here yet, and another one can come back.
    pub(crate) fn is_on_trial(&self) -> bool {
        self.trial.standing == Standing::OnTrial
    }

    /// Whether the version has had a commit here.
    pub(crate) fn has_proved(&self) -> bool {
        self.trial.standing == Standing::Proved
    }

    /// Transaction `token` is committed. One of an earlier version proves nothing, nor one that settled no event.
    pub(super) fn try_out(&mut self, token: u64, effects: Effects) {
        if token >= self.trial.first && effects.events_in > 0 {
            self.trial.standing = Standing::Proved;
        }
    }

    /// A version on trial stopped at its first event: it is tried again as `progress` says, and nothing is committed,
    /// so that no attempt of a version that goes is left behind, whenever the process dies.
    pub(crate) fn keep_in_mind(&mut self, plan: Plan, progress: Progress) {
        assert!(self.is_on_trial() && self.flight.is_empty(), "{} commits what it does", self.key);
        self.inputs[plan.input].at = progress;
    }

    /// What is not committed was none.
    fn forgive(&mut self) {
        let nothing_in_flight = self.flight.is_empty();
        for input in &mut self.inputs {
            if nothing_in_flight && !input.announce {
                // What lies between the two is a gap.
                let here = input.at.next == input.committed.next;
                input.at = if here {
                    input.committed
                } else {
                    Progress { next: input.at.next, ..Progress::default() }
                };
            }
            input.isolation.clear();
            input.more = true;
        }
    }
}
