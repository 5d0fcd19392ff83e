//! The records that cross the boundary, as `wit/handler.wit` writes them, and the flow's types made of them.
//! Whatever is lifted here is under guest control; whether the columns agree with each other is checked by the flow.

use tidemill_flow::Columns;
use tidemill_flow::handler::Call;
use tidemill_flow::output::{Failure, Output, Stop};
use wasmtime::component::{ComponentType, Lift, Lower};

/// `batch`, borrowed from the call.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct BatchRecord<'a> {
    topic: &'a str,
    partition: u32,
    attempt: u32,
    #[component(name = "base-offset")]
    base_offset: u64,
    #[component(name = "offset-deltas")]
    offset_deltas: &'a [u32],
    #[component(name = "append-time")]
    append_time: i64,
    #[component(name = "append-deltas")]
    append_deltas: &'a [u32],
    times: &'a [i64],
    #[component(name = "key-lens")]
    key_lens: &'a [i32],
    #[component(name = "header-lens")]
    header_lens: &'a [u32],
    #[component(name = "value-lens")]
    value_lens: &'a [i32],
    data: &'a [u8],
}

impl<'a> BatchRecord<'a> {
    pub(crate) fn of(call: &Call<'a>) -> Self {
        let batch = call.batch;
        Self {
            topic: call.topic,
            partition: batch.source.partition.0,
            attempt: call.attempt,
            base_offset: batch.base_offset.0,
            offset_deltas: &batch.offset_deltas,
            append_time: batch.append_time,
            append_deltas: &batch.append_deltas,
            times: &batch.columns.times,
            key_lens: &batch.columns.key_lens,
            header_lens: &batch.columns.header_lens,
            value_lens: &batch.columns.value_lens,
            data: &batch.columns.data,
        }
    }
}

/// `failure`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct FailureRecord {
    index: u32,
    reason: String,
}

/// `stop`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct StopRecord {
    reason: String,
    #[component(name = "after-ms")]
    after_ms: Option<u64>,
}

/// `output`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct OutputRecord {
    settled: u32,
    rejected: Vec<FailureRecord>,
    stopped: Option<StopRecord>,
    topics: Vec<String>,
    #[component(name = "topic-of")]
    topic_of: Vec<u16>,
    #[component(name = "cause-of")]
    cause_of: Vec<u32>,
    times: Vec<i64>,
    #[component(name = "key-lens")]
    key_lens: Vec<i32>,
    #[component(name = "header-lens")]
    header_lens: Vec<u32>,
    #[component(name = "value-lens")]
    value_lens: Vec<i32>,
    data: Vec<u8>,
    #[component(name = "state-key-lens")]
    state_key_lens: Vec<u32>,
    #[component(name = "state-value-lens")]
    state_value_lens: Vec<i32>,
    #[component(name = "state-data")]
    state_data: Vec<u8>,
}

impl From<OutputRecord> for Output {
    fn from(record: OutputRecord) -> Self {
        let failure = |FailureRecord { index, reason }| Failure { index, reason };
        let mut output = Self {
            settled: record.settled,
            rejected: record.rejected.into_iter().map(failure).collect(),
            stopped: record.stopped.map(|StopRecord { reason, after_ms }| Stop { reason, after_ms }),
            topics: record.topics,
            topic_of: record.topic_of,
            cause_of: record.cause_of,
            events: Columns {
                times: record.times,
                key_lens: record.key_lens,
                header_lens: record.header_lens,
                value_lens: record.value_lens,
                data: record.data,
            },
            ..Self::default()
        };
        output.state.key_lens = record.state_key_lens;
        output.state.value_lens = record.state_value_lens;
        output.state.data = record.state_data;
        output
    }
}
