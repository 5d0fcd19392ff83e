//! One guest per vice: each ends in the fault that names it, and the host goes on.

use std::sync::Arc;
use std::time::Duration;

use tidemill_flow::handler::{Call, Fault, Handler};
use tidemill_wasm::{Cache, Level, Loader, limits};

use crate::support::{
    DRIVER, ENGINE, GUEST, Log, Told, batch, call, call_again, call_of, guest, loader, with_vice,
};

/// The message and the backtrace of a trap.
fn trap(fault: Fault) -> (String, String) {
    match fault {
        Fault::Trap { message, backtrace } => (message, backtrace),
        other => panic!("not a trap: {other:?}"),
    }
}

#[test]
fn an_error_of_the_guest_leaves_the_instance() {
    let mut instance = guest("refuse").instantiate(DRIVER).unwrap();
    for _ in 0..2 {
        let fault = call_again(&mut *instance).unwrap_err();
        assert_eq!(fault, Fault::Refused("I do not like it".to_owned()));
        assert!(fault.keeps_instance());
    }
}

#[test]
fn a_trap_names_the_functions_that_led_to_it() {
    let (message, backtrace) = trap(call(&guest("trap")).unwrap_err());
    assert_eq!(message, "wasm `unreachable` instruction executed");
    assert!(backtrace.contains("sins::trap"), "{backtrace}");
}

#[test]
fn a_guest_that_never_comes_back_meets_its_deadline_and_was_told_to_be_slow_once() {
    let mut instance = guest("spin").instantiate(DRIVER).unwrap();
    let (batch, told) = (batch(), Arc::new(Told::default()));
    let deadline = Duration::from_millis(500);
    let fault = instance.process(Call { deadline, pace: told.clone(), ..call_of(&batch) }).unwrap_err();
    assert_eq!(fault, Fault::Deadline(deadline));
    assert_eq!(*told.0.lock(), 1);
}

#[test]
fn a_hoarder_is_told_how_much_it_asked_for_and_how_much_there_is() {
    let Fault::Memory { asked, limit } = call(&guest("hoard")).unwrap_err() else {
        panic!("no memory fault")
    };
    assert_eq!(limit, 64 << 20);
    assert!(asked > limit && asked < limit + (16 << 20), "{asked}");
}

#[test]
fn endless_recursion_is_a_trap_with_its_first_frames() {
    let (message, backtrace) = trap(call(&guest("recurse")).unwrap_err());
    assert_eq!(message, "call stack exhausted");
    assert!(backtrace.contains("sins::recurse"), "{backtrace}");
    assert_eq!(backtrace.lines().count(), limits::BACKTRACE_FRAMES);
}

#[test]
fn an_output_beyond_its_cap_is_refused() {
    let mut config = with_vice("flood");
    (config.limits.memory, config.limits.output) = (256 << 20, 8 << 20);
    let fault = call(&loader().load(&GUEST, config).unwrap()).unwrap_err();
    assert_eq!(fault, Fault::OutputTooLarge { limit: 8 << 20 });
}

#[test]
fn an_argument_beyond_the_cap_is_a_trap_where_it_was_handed_over() {
    let mut config = with_vice("shout");
    (config.limits.memory, config.limits.output) = (256 << 20, 8 << 20);
    let (message, backtrace) = trap(call(&loader().load(&GUEST, config).unwrap()).unwrap_err());
    assert_eq!(message, "handed more than 8388608 bytes to an imported function");
    assert!(backtrace.contains("sins::shout"), "{backtrace}");
}

#[test]
fn log_lines_are_cut_rationed_and_placed() {
    let log = Arc::new(Log::default());
    let loader = Loader::new(ENGINE.clone(), None, log.clone()).unwrap();
    let plugin = loader.load(&GUEST, with_vice("chatter")).unwrap();
    call(&plugin).unwrap();
    let lines = log.0.lock();
    // A slow machine may see the next second begin during the call: never more than so many lines a second.
    assert_eq!(lines.len() as u64 + plugin.log_lines_dropped(), 1_000);
    assert!(lines.len() >= limits::LOG_LINES_PER_SECOND as usize);
    assert_eq!(lines[0].message.len(), limits::LOG_LINE_BYTES);
    assert_eq!((lines[0].level, lines[0].context.as_str()), (Level::Warn, "chatter"));
    assert_eq!(lines[0].place, ("sinner".to_owned(), 3, Some(100)));
    assert_eq!((lines[1].level, lines[1].message.as_str()), (Level::Error, "line 1"));
}

#[test]
fn a_guest_that_emits_without_end_meets_the_limit_of_its_memory() {
    let fault = call(&guest("gush")).unwrap_err();
    assert!(matches!(fault, Fault::Memory { limit, .. } if limit == 64 << 20), "{fault:?}");
}

#[test]
fn a_guest_that_logs_without_end_meets_its_deadline_and_few_lines_are_kept() {
    let log = Arc::new(Log::default());
    let loader = Loader::new(ENGINE.clone(), None, log.clone()).unwrap();
    let plugin = loader.load(&GUEST, with_vice("rant")).unwrap();
    let (batch, deadline) = (batch(), Duration::from_millis(300));
    let fault =
        plugin.instantiate(DRIVER).unwrap().process(Call { deadline, ..call_of(&batch) }).unwrap_err();
    assert_eq!(fault, Fault::Deadline(deadline));
    assert!(plugin.log_lines_dropped() > log.0.lock().len() as u64);
}

#[test]
fn keys_longer_than_their_bytes_are_a_lie() {
    let fault = call(&guest("lie-keys")).unwrap_err();
    assert_eq!(
        fault,
        Fault::Lie("get-many: the key lengths add up to 8589934590 bytes, the keys have 5".to_owned())
    );
}

#[test]
fn columns_that_lie_are_handed_on_as_they_are_for_the_flow_to_refuse() {
    // Compiled once for all of them.
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let loader = Loader::new(ENGINE.clone(), Some(cache), Arc::new(Log::default())).unwrap();
    let of = |vice: &str| call(&loader.load(&GUEST, with_vice(vice)).unwrap()).unwrap();
    let honest = of("echo");
    for lie in [
        "lie-sum",
        "lie-overflow",
        "lie-negative",
        "lie-ragged",
        "lie-cause",
        "lie-unsettled",
        "lie-settled",
        "lie-stopped",
        "lie-rejected",
        "lie-topic",
        "lie-topics",
        "lie-times",
        "lie-keys-ragged",
        "lie-headers-ragged",
        "lie-headers",
        "lie-data",
        "lie-state",
        "lie-state-value",
        "lie-state-data",
        "lie-state-key",
    ] {
        assert_ne!(of(lie), honest, "{lie}");
    }
}
