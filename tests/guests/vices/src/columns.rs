//! The virtues: every column there and back, state read and written.

use crate::exports::tidemill::handler::processor::{Batch, Output};
use crate::settled;
use crate::tidemill::handler::state;
use crate::tidemill::handler::types::{Failure, Stop};

/// Every event copied out again, one by one, with all of its columns.
pub fn echo(events: &Batch) -> Output {
    let mut output = settled(events);
    let count = events.times.len();
    output.cause_of.reserve(count);
    output.times.reserve(count);
    output.key_lens.reserve(count);
    output.header_lens.reserve(count);
    output.value_lens.reserve(count);
    output.data.reserve(events.data.len());
    let mut rest = events.data.as_slice();
    for index in 0..count {
        let lens = (events.key_lens[index], events.header_lens[index], events.value_lens[index]);
        let (event, after) = rest.split_at(lens.0.max(0) as usize + lens.1 as usize + lens.2.max(0) as usize);
        output.cause_of.push(index as u32);
        output.times.push(events.times[index]);
        output.key_lens.push(lens.0);
        output.header_lens.push(lens.1);
        output.value_lens.push(lens.2);
        output.data.extend_from_slice(event);
        rest = after;
    }
    output
}

/// An empty value for every event, all else left to the defaults.
pub fn bare(events: &Batch) -> Output {
    Output {
        cause_of: (0..events.times.len() as u32).collect(),
        value_lens: vec![0; events.times.len()],
        ..settled(events)
    }
}

/// Counts its calls under the key `calls`, read before and written after.
pub fn count(events: &Batch) -> Output {
    let found = state::get_many(&[7, 5], b"missingcalls");
    assert_eq!(found.value_lens[0], -1);
    let calls: u64 = String::from_utf8_lossy(&found.data).parse().unwrap_or(0);
    let now = (calls + 1).to_string();
    Output {
        state_key_lens: vec![5, 7],
        state_value_lens: vec![now.len() as i32, -1],
        state_data: format!("calls{now}missing").into_bytes(),
        ..settled(events)
    }
}

/// Two pages of the state as one event: what a scan shows after the key `a/1`, two entries a page.
pub fn list(events: &Batch) -> Output {
    let page = state::scan(b"a/", Some(b"a/1"), 2);
    let mut value = format!("{:?} {:?} {} ", page.key_lens, page.value_lens, page.more).into_bytes();
    value.extend(page.data);
    Output { cause_of: vec![0], value_lens: vec![value.len() as i32], data: value, ..settled(events) }
}

/// What a scan for all that there is brings on its first page, as one event: entries, bytes, whether more follow.
pub fn page(events: &Batch) -> Output {
    let page = state::scan(b"", None, u32::MAX);
    let value = format!("{} {} {}", page.key_lens.len(), page.data.len(), page.more).into_bytes();
    Output { cause_of: vec![0], value_lens: vec![value.len() as i32], data: value, ..settled(events) }
}

/// Settles the first event, rejecting it, and stops at the second.
pub fn stop(events: &Batch) -> Output {
    Output {
        settled: 1,
        rejected: vec![Failure { index: 0, reason: "not for me".to_owned() }],
        stopped: Some(Stop { reason: "later".to_owned(), after_ms: Some(1_500) }),
        ..settled(events)
    }
}

/// What the standard library of `wasm32-wasip2` sees of the world, as one event; some lines are printed too.
pub fn wasi(events: &Batch) -> Output {
    print!("to be ");
    println!("continued");
    eprintln!("to standard error");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let seen: std::collections::HashMap<u32, u32> = (0..9).map(|number| (number, number)).collect();
    let order: Vec<u32> = seen.into_keys().collect();
    let value = format!(
        "now {} variables {} arguments {} file {:?} order {order:?}",
        now.as_millis(),
        std::env::vars().count(),
        std::env::args().count(),
        std::fs::read("/etc/passwd").map(|bytes| bytes.len()).map_err(|error| error.kind()),
    );
    Output {
        cause_of: vec![0],
        value_lens: vec![value.len() as i32],
        data: value.into_bytes(),
        ..settled(events)
    }
}
