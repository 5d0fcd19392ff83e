//! Which publish of a numbered producer is next: pure, so that the rule stands in one place. Knows no journal.

use crate::limits::PRODUCER_SEQUENCES_KEPT;
use crate::log::{Abort, ProducerFault, Receipt};
use crate::tables::ProducerRow;
use crate::transaction::{ProducerSequence, Run};

impl ProducerRow {
    /// Whether a publish is the next one of its producer, of whom `self` is known; a receipt if it was committed
    /// before.
    pub(super) fn admit(&self, publish: &ProducerSequence) -> Result<Option<Receipt>, Abort> {
        let fault = |fault| Err(Abort::Producer { producer: publish.producer.as_str().into(), fault });
        if publish.epoch < self.epoch {
            return fault(ProducerFault::Fenced { epoch: publish.epoch, newest: self.epoch });
        }
        let last = (publish.epoch == self.epoch).then(|| self.recent.last()).flatten();
        let expected = last.map_or(0, |(sequence, _)| sequence + 1);
        if publish.sequence == expected {
            return Ok(None);
        }
        if publish.sequence > expected {
            return fault(ProducerFault::Gap { sequence: publish.sequence, expected });
        }
        match self.recent.iter().find(|(sequence, _)| *sequence == publish.sequence) {
            Some((_, runs)) => Ok(Some(Receipt { runs: runs.clone(), repeated: true })),
            None => fault(ProducerFault::Forgotten { sequence: publish.sequence }),
        }
    }

    /// Takes note of a publish that is committed.
    pub(super) fn take(&mut self, publish: &ProducerSequence, runs: Vec<Run>, time_ms: i64) {
        if publish.epoch > self.epoch {
            self.recent.clear();
        }
        if self.recent.len() == PRODUCER_SEQUENCES_KEPT {
            self.recent.remove(0);
        }
        (self.epoch, self.time_ms) = (publish.epoch, time_ms);
        self.recent.push((publish.sequence, runs));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Offset, Partition};

    fn publish(epoch: u32, sequence: u64) -> ProducerSequence {
        ProducerSequence { producer: "p".to_owned(), epoch, sequence }
    }

    fn run(offset: u64) -> Vec<Run> {
        vec![Run { partition: Partition(0), offset: Offset(offset), count: 1 }]
    }

    fn fault(row: &ProducerRow, epoch: u32, sequence: u64) -> ProducerFault {
        match row.admit(&publish(epoch, sequence)) {
            Err(Abort::Producer { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_next_is_taken_one_of_the_last_is_answered_and_others_are_refused() {
        let mut row = ProducerRow::default();
        assert_eq!(fault(&row, 0, 1), ProducerFault::Gap { sequence: 1, expected: 0 });
        for sequence in 0..20 {
            assert_eq!(row.admit(&publish(0, sequence)), Ok(None));
            row.take(&publish(0, sequence), run(sequence), 5);
        }
        for sequence in 4..20 {
            let repeated = Receipt { runs: run(sequence), repeated: true };
            assert_eq!(row.admit(&publish(0, sequence)), Ok(Some(repeated)));
        }
        assert_eq!(fault(&row, 0, 3), ProducerFault::Forgotten { sequence: 3 });
        assert_eq!(fault(&row, 0, 21), ProducerFault::Gap { sequence: 21, expected: 20 });
    }

    #[test]
    fn a_higher_epoch_begins_anew_and_a_lower_one_is_fenced() {
        let mut row = ProducerRow::default();
        row.take(&publish(3, 0), run(0), 5);
        assert_eq!(fault(&row, 2, 0), ProducerFault::Fenced { epoch: 2, newest: 3 });
        assert_eq!(fault(&row, 4, 1), ProducerFault::Gap { sequence: 1, expected: 0 });
        assert_eq!(row.admit(&publish(4, 0)), Ok(None));
        row.take(&publish(4, 0), run(1), 6);
        assert_eq!((row.epoch, row.recent.len(), row.time_ms), (4, 1, 6));
        assert_eq!(fault(&row, 3, 1), ProducerFault::Fenced { epoch: 3, newest: 4 });
    }
}
