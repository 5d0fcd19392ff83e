//! The vices, each as a guest would really do it.

use std::hint::black_box;
use std::sync::Mutex;

use crate::columns::echo;
use crate::exports::tidemill::handler::processor::{Batch, Output};
use crate::settled;
use crate::tidemill::handler::state;
use crate::tidemill::handler::types::{Failure, Stop};
use crate::wasi::logging::logging::{Level, log};

/// What is never given back.
static HOARD: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Falls over a wrong index.
#[inline(never)]
pub fn trap() -> ! {
    let empty: &[u8] = black_box(&[]);
    panic!("{}", empty[black_box(3)])
}

/// Never comes back.
pub fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Takes memory without end.
pub fn hoard() -> ! {
    loop {
        take(1 << 20);
    }
}

/// Takes 8 MiB at each call, keeps them, and says nothing.
pub fn leak(events: &Batch) -> Output {
    take(8 << 20);
    settled(events)
}

fn take(bytes: usize) {
    HOARD.lock().expect("one thread").push(black_box(vec![1; bytes]));
}

/// Calls itself without end.
#[inline(never)]
#[expect(unconditional_recursion, reason = "this is the vice")]
pub fn recurse(depth: u64) -> u64 {
    recurse(depth + 1) + black_box(depth)
}

/// Emits 32 MiB.
pub fn flood(events: &Batch) -> Output {
    Output {
        cause_of: vec![0; 32],
        value_lens: vec![1 << 20; 32],
        data: vec![b'x'; 32 << 20],
        ..settled(events)
    }
}

/// Emits without end.
pub fn gush(events: &Batch) -> ! {
    let mut output = settled(events);
    loop {
        output.cause_of.push(0);
        output.value_lens.push(1 << 10);
        output.data.extend_from_slice(black_box(&[b'x'; 1 << 10]));
    }
}

/// Emits two million events of nothing: few bytes here, many where each event has a place of its own.
pub fn swarm(events: &Batch) -> Output {
    Output { cause_of: vec![0; 2_000_000], value_lens: vec![-1; 2_000_000], ..settled(events) }
}

/// Falls over at some events and not at others, and not always at the same.
pub fn trap_at_random(events: &Batch) -> Output {
    let mut chance =
        (events.base_offset * 31 + u64::from(events.attempt)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    chance = (chance ^ chance >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    if chance >> 62 == 0 {
        trap();
    }
    echo(events)
}

/// Logs without end.
pub fn rant() -> ! {
    loop {
        log(Level::Warn, "rant", &"and another thing ".repeat(50));
    }
}

/// Logs 1,000 lines, the first of them 100 KiB long.
pub fn chatter(events: &Batch) -> Output {
    log(Level::Warn, "chatter", &"long ".repeat(20 << 10));
    for line in 1..1_000 {
        log(Level::Critical, "chatter", &format!("line {line}"));
    }
    settled(events)
}

/// Scans with a prefix of 24 MiB.
pub fn shout(events: &Batch) -> Output {
    state::scan(&vec![b'x'; 24 << 20], None, 1);
    settled(events)
}

/// Asks for keys longer than the bytes it hands over.
pub fn lie_keys(events: &Batch) -> Output {
    state::get_many(&[u32::MAX, u32::MAX], b"short");
    settled(events)
}

/// Echoes, but for one column that lies.
pub fn lie(events: &Batch, lie: &str) -> Option<Output> {
    let mut output = echo(events);
    match lie {
        "lie-sum" => output.value_lens[0] += 1,
        "lie-overflow" => output.header_lens.iter_mut().for_each(|len| *len = u32::MAX),
        "lie-negative" => output.key_lens[0] = -2,
        "lie-ragged" => output.value_lens.push(0),
        "lie-cause" => output.cause_of[0] = u32::MAX,
        "lie-unsettled" => output.settled = 0,
        "lie-settled" => output.settled += 1,
        "lie-stopped" => output.stopped = Some(Stop { reason: String::new(), after_ms: None }),
        "lie-rejected" => output.rejected = vec![Failure { index: u32::MAX, reason: String::new() }],
        "lie-topic" => output.topic_of = vec![7; output.cause_of.len()],
        "lie-topics" => output.topic_of = vec![0; output.cause_of.len() + 1],
        "lie-times" => output.times.push(0),
        "lie-keys-ragged" => output.key_lens.push(-1),
        "lie-headers-ragged" => output.header_lens.push(0),
        "lie-headers" => {
            output.header_lens[0] += 3;
            output.value_lens[0] -= 3;
        }
        "lie-data" => output.data.push(0),
        "lie-state" => output.state_key_lens.push(9),
        "lie-state-value" => {
            output.state_key_lens.push(0);
            output.state_value_lens.push(-9);
        }
        "lie-state-data" => output.state_data.push(0),
        "lie-state-key" => {
            output.state_key_lens.push(5_000);
            output.state_value_lens.push(-1);
            output.state_data.resize(5_000, 0);
        }
        _ => return None,
    }
    Some(output)
}
