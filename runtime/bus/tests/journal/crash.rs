//! The power is cut at every call of random histories, and again while the journal recovers; or the call fails.

use tidemill_bus::journal::{Control, JournalOptions};
use tidemill_bus::testing::Fault;

use crate::history::{History, options};

/// Steps of each history.
const STEPS: usize = 60;

/// A few each time, many when asked for.
fn few_or_many<T>(few: T, many: T) -> T {
    if std::env::var_os("TIDEMILL_LONG").is_some() { many } else { few }
}

/// Calls that the whole history makes.
fn calls_of(seed: u64) -> u64 {
    let mut history = History::new(seed, options());
    history.run(STEPS).unwrap();
    history.disk().calls()
}

/// Runs the history until the power goes at `call`.
fn cut_at(seed: u64, call: u64, options: JournalOptions) -> Option<History> {
    let mut history = History::new(seed, options);
    history.disk().crash_at(call);
    // The last calls may be those of a segment's housekeeping, which tells nobody before the next segment.
    let reached = history.run(STEPS).is_err() || history.disk().crashed();
    reached.then_some(history)
}

#[test]
fn every_synced_frame_survives_a_power_cut_at_every_call() {
    for seed in 0..few_or_many(2, 200) {
        for call in 0..calls_of(seed) {
            println!("seed {seed} call {call}");
            let mut history = cut_at(seed, call, options()).expect("the history reaches the call");
            let survivors = history.disk().survivors(call);
            history.reopen_on(survivors).unwrap();
            history.run(10).unwrap();
        }
    }
}

#[test]
fn a_second_power_cut_during_recovery_changes_nothing() {
    for seed in 0..few_or_many(2, 20) {
        for call in (0..calls_of(seed)).step_by(few_or_many(29, 3)) {
            let mut history = cut_at(seed, call, options()).expect("the history reaches the call");
            let found = history.disk().survivors(call ^ 0x55);
            for again in 0.. {
                println!("seed {seed} call {call} again {again}");
                let disk = found.copy(again);
                disk.crash_at(again);
                if history.reopen_on(disk).is_ok() {
                    break;
                }
                let survivors = history.disk().survivors(again);
                history.reopen_on(survivors).unwrap();
            }
        }
    }
}

#[test]
fn a_call_that_fails_takes_nothing_that_was_synced_or_served() {
    for seed in 0..few_or_many(2, 50) {
        for call in (0..calls_of(seed)).step_by(few_or_many(3, 1)) {
            for fault in [Fault::Io, Fault::Full] {
                println!("seed {seed} call {call} {fault:?}");
                let mut history = History::new(seed, options());
                history.fail_at(call, fault);
                // It stops at the failure, or goes on if the journal could do without the call.
                let _ = history.run(STEPS);
                let disk = history.disk().clone();
                history.reopen_on(disk.clone()).unwrap();
                history.reopen_on(disk.survivors(call)).unwrap();
                history.run(10).unwrap();
            }
        }
    }
}

#[test]
fn what_was_served_after_a_kill_survives_a_power_cut() {
    assert_eq!(lost_after_kills(options()), 0);
}

#[test]
fn a_tail_that_is_served_without_being_written_again_is_found_out() {
    let lost = lost_after_kills(JournalOptions { control: Control::ServeTailUnwritten, ..options() });
    assert!(lost > 0, "the suite would not notice");
}

/// How often frames that were served after a kill are gone after a power cut.
fn lost_after_kills(options: JournalOptions) -> usize {
    let mut lost = 0;
    for seed in 0..40 {
        for steps in [3, 10, 30] {
            let mut history = History::new(seed, options);
            history.run(steps).unwrap();
            let disk = history.disk().clone();
            history.reopen_on(disk.clone()).unwrap();
            println!("seed {seed} steps {steps}");
            lost += usize::from((0..4).any(|cut| history.is_lost_on(&disk.survivors(cut))));
        }
    }
    lost
}
