//! The bounds of the API, each driven to full through the real binary: what fits is taken, what is beyond is
//! refused by kind, and the runtime goes on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::blocking::{RequestBuilder, Response};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tidemill_server::limits::{
    BODY_BYTES_MAX, DISCARDED_BYTES_MAX, EVENT_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX, INLINE_BODY_BYTES_MAX,
    READER_BYTES_MAX, READERS_MAX, RETRY_AFTER, SMALL_BODY_BYTES_MAX,
};

use crate::mill::Mill;

fn kind(problem: &Value) -> &str {
    problem["type"].as_str().unwrap().rsplit(':').next().unwrap()
}

/// A publish of JSON.
fn post(mill: &Mill, body: String) -> RequestBuilder {
    let request = mill.request(Method::POST, "/v1/topics/t/events");
    request.header("content-type", "application/json").body(body)
}

/// The body of an event of so many bytes: a JSON string.
fn event(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

fn is_taken(mill: &Mill, request: RequestBuilder) {
    let (status, answer) = mill.ask(request);
    assert!(status.is_success(), "{answer}");
}

fn is_refused(mill: &Mill, request: RequestBuilder, expected: (u16, &str)) {
    let (status, problem) = mill.ask(request);
    assert_eq!((status.as_u16(), kind(&problem)), expected, "{problem}");
}

/// That the answer is a 503 which says when to come again.
fn is_asked_to_come_again(answer: Response) {
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let after: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!(after, RETRY_AFTER.as_secs());
    assert_eq!(kind(&serde_json::from_str(&answer.text().unwrap()).unwrap()), "busy");
}

#[test]
fn bodies_and_events_are_taken_up_to_their_bounds() {
    let mill = Mill::start();
    let spaces = |bytes: usize| format!("1{}", " ".repeat(bytes - 1));
    for bytes in [INLINE_BODY_BYTES_MAX, INLINE_BODY_BYTES_MAX + 1, BODY_BYTES_MAX] {
        is_taken(&mill, post(&mill, spaces(bytes)));
    }
    is_refused(&mill, post(&mill, spaces(BODY_BYTES_MAX + 1)), (413, "too-large"));
    is_taken(&mill, post(&mill, event(EVENT_BYTES_MAX)));
    is_refused(&mill, post(&mill, event(EVENT_BYTES_MAX + 1)), (413, "too-large"));
    assert_eq!(mill.read("t", "").len(), 4);
}

#[test]
fn settings_and_idempotency_keys_are_taken_up_to_their_bounds() {
    let mill = Mill::start();
    let put = |bytes: usize| {
        mill.request(Method::PUT, "/v1/topics/t").body(format!("{{}}{}", " ".repeat(bytes - 2)))
    };
    is_taken(&mill, put(SMALL_BODY_BYTES_MAX));
    is_refused(&mill, put(SMALL_BODY_BYTES_MAX + 1), (413, "too-large"));
    let keyed = |bytes: usize| post(&mill, "1".to_owned()).header("idempotency-key", "k".repeat(bytes));
    is_taken(&mill, keyed(IDEMPOTENCY_KEY_BYTES_MAX));
    is_refused(&mill, keyed(IDEMPOTENCY_KEY_BYTES_MAX + 1), (400, "invalid-request"));
}

/// Sends the head of a publish that announces `bytes`, and then those bytes until the runtime hangs up. Returns
/// how many it took, and the first line of its answer, if one came through.
fn send_without_asking(mill: &Mill, bytes: usize) -> (usize, Option<String>) {
    let mut stream = mill.connect();
    let head = format!(
        "POST /v1/topics/t/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let piece = vec![b' '; 64 << 10];
    let mut sent = 0;
    while sent < bytes {
        match stream.write(&piece[..piece.len().min(bytes - sent)]) {
            Ok(taken) => sent += taken,
            Err(_) => break,
        }
    }
    let answer = BufReader::new(stream).lines().next().and_then(Result::ok);
    (sent, answer)
}

#[test]
fn a_body_far_too_large_is_read_up_to_a_bound_and_then_cut_off() {
    let mill = Mill::start();
    let (sent, answer) = send_without_asking(&mill, DISCARDED_BYTES_MAX);
    assert_eq!((sent, answer.as_deref()), (DISCARDED_BYTES_MAX, Some("HTTP/1.1 413 Payload Too Large")));
    // What both sides' sockets hold comes on top; far less than the rest.
    let (sent, _) = send_without_asking(&mill, 4 * DISCARDED_BYTES_MAX);
    assert!((DISCARDED_BYTES_MAX..2 * DISCARDED_BYTES_MAX).contains(&sent), "{sent}");
    is_taken(&mill, post(&mill, "1".to_owned()));
}

#[test]
fn publishers_beyond_the_backlog_are_asked_to_come_again_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tidemill.toml"), "[store]\nbacklog = \"1B\"\n").unwrap();
    let mill = Mill::start_in(dir, &[]);
    let (taken, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while refused.load(Ordering::Relaxed) < 20 {
                    let answer = post(&mill, event(1 << 10)).send().unwrap();
                    if answer.status().is_success() {
                        taken.fetch_add(1, Ordering::Relaxed);
                    } else {
                        is_asked_to_come_again(answer);
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    is_taken(&mill, post(&mill, "1".to_owned()));
    assert_eq!(mill.read("t", "").len(), taken.into_inner() + 1);
}

/// A follower that has read the head of its answer, and reads no more.
fn follow(mill: &Mill) -> TcpStream {
    let mut stream = mill.connect();
    stream.write_all(b"GET /v1/topics/t/events?follow=true HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    stream
}

#[test]
fn a_follower_that_goes_away_gives_its_place_to_another() {
    let mill = Mill::start();
    is_taken(&mill, post(&mill, "1".to_owned()));
    let mut followers: Vec<_> = (0..READERS_MAX).map(|_| follow(&mill)).collect();
    let read = || mill.request(Method::GET, "/v1/topics/t/events").send().unwrap();
    is_asked_to_come_again(read());
    followers.pop();
    // The runtime hears of it from the kernel, a moment later.
    while read().status() != StatusCode::OK {
        std::thread::yield_now();
    }
}

#[test]
fn followers_that_never_read_hold_no_memory_and_nobody_up() {
    let mill = Mill::start();
    let sixteen = vec![event(64 << 10); 16].join(",");
    for _ in 0..40 {
        is_taken(&mill, post(&mill, format!("[{sixteen}]")));
    }
    assert_eq!(mill.read("t", "").len(), 640);
    let before = mill.resident_bytes();
    let followers: Vec<_> = (0..32).map(|_| follow(&mill)).collect();
    for number in 0..100 {
        is_taken(&mill, post(&mill, number.to_string()));
    }
    assert_eq!(mill.read("t", "").len(), 740);
    let grown = mill.resident_bytes().saturating_sub(before);
    // What a reader holds, as columns, as lines on their way to a socket, and in what the allocator keeps of them;
    // all that each could read is 40 MiB.
    let bound = followers.len() * 8 * READER_BYTES_MAX;
    assert!(grown < bound, "{grown} bytes more than before, the bound is {bound}");
    drop(followers);
    assert!(mill.stop().0);
}
