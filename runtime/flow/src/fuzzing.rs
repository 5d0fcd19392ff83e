//! What the fuzzer feeds: any columns as what a guest returned, refused or placed. Not for anybody else.

use tidemill_bus::transaction::StateWrites;
use tidemill_bus::{Batch, Columns, Event, HandlerId, Partition, TopicId, TopicPartition};

use crate::outcome::{Emission, Scatter, Target, check};
use crate::output::{Failure, Output, Stop};

/// Bytes that are taken one after the other; zeros when there are no more.
struct Taken<'a>(&'a [u8]);

impl Taken<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// A number that is mostly small, and sometimes as far from it as can be.
    fn number(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX,
            254 => u32::MAX / 2,
            small => u32::from(small),
        }
    }

    fn length(&mut self) -> i32 {
        match self.byte() {
            255 => i32::MAX,
            254 => i32::MIN,
            small => i32::from(small.cast_signed()),
        }
    }

    fn column<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.byte() % 8;
        (0..count).map(|_| one(self)).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let count = usize::from(self.byte() % 64);
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

fn output_of(bytes: &mut Taken<'_>) -> Output {
    Output {
        settled: bytes.number(),
        rejected: bytes.column(|bytes| Failure { index: bytes.number(), reason: "no".to_owned() }),
        stopped: (bytes.byte() & 1 == 1)
            .then(|| Stop { reason: "wait".to_owned(), after_ms: Some(u64::MAX) }),
        topics: bytes.column(|_| "t".to_owned()),
        topic_of: bytes.column(|bytes| u16::from(bytes.byte())),
        cause_of: bytes.column(Taken::number),
        events: Columns {
            times: bytes.column(|bytes| i64::from(bytes.length())),
            key_lens: bytes.column(Taken::length),
            header_lens: bytes.column(Taken::number),
            value_lens: bytes.column(Taken::length),
            data: bytes.bytes(),
        },
        state: StateWrites {
            key_lens: bytes.column(Taken::number),
            value_lens: bytes.column(Taken::length),
            data: bytes.bytes(),
        },
    }
}

/// Takes `bytes` as an output of a call with some events; what passes the check is walked and placed. Tells whether
/// it passed.
///
/// # Panics
/// If what passed cannot be.
pub fn outcome(bytes: &[u8]) -> bool {
    let mut bytes = Taken(bytes);
    let mut batch = Batch::new(TopicPartition { topic: TopicId(1), partition: Partition(3) });
    for _ in 0..bytes.byte() % 8 {
        batch.columns.push(Event { time: 1, key: Some(b"key"), headers: &[], value: None });
    }
    let output = output_of(&mut bytes);
    let Ok(checked) = check(&output, &batch) else { return false };
    assert_eq!(output.state.iter().count(), output.state.len());
    let targets = vec![Target::Topic { id: TopicId(2), partitions: 4 }; output.topics.len().max(1)];
    let emission = Emission { output: checked, batch: &batch, targets: &targets };
    let refused = Scatter::refused(emission);
    let blocks = Scatter::default().blocks(emission, &refused, HandlerId(7));
    let placed: usize = blocks.iter().map(|block| block.columns.len()).sum();
    assert_eq!((placed, refused.len()), (output.cause_of.len(), 0));
    assert!(blocks.iter().all(|block| block.columns.check().is_ok()));
    true
}
