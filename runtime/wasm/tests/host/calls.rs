//! Virtues: what goes in comes out, state is read, outcomes arrive as they were meant.

use std::sync::Arc;

use tidemill_flow::handler::{Fault, Handler};
use tidemill_flow::output::{Failure, Stop};
use tidemill_wasm::{Engine, Loader};

use crate::support::{DRIVER, GUEST, Log, State, batch, call, call_again, call_of, guest, with_vice};

#[test]
fn every_column_comes_back_as_it_went_in() {
    let output = call(&guest("echo")).unwrap();
    assert_eq!(output.settled, 3);
    assert_eq!(output.cause_of, [0, 1, 2]);
    assert_eq!(output.events, batch().columns);
    assert!(output.rejected.is_empty() && output.stopped.is_none() && output.state.is_empty());
}

#[test]
fn columns_left_to_their_defaults_stay_empty() {
    let output = call(&guest("bare")).unwrap();
    let events = output.events;
    assert_eq!(events.value_lens, [0; 3]);
    assert!(events.times.is_empty() && events.key_lens.is_empty() && events.header_lens.is_empty());
    assert!(output.topics.is_empty() && output.topic_of.is_empty());
}

#[test]
fn rejections_and_stops_arrive_with_their_reasons() {
    let output = call(&guest("stop")).unwrap();
    assert_eq!(output.settled, 1);
    assert_eq!(output.rejected, [Failure { index: 0, reason: "not for me".to_owned() }]);
    assert_eq!(output.stopped, Some(Stop { reason: "later".to_owned(), after_ms: Some(1_500) }));
}

#[test]
fn state_is_read_through_the_call_and_its_writes_are_returned() {
    let plugin = guest("count");
    assert!(plugin.has_state());
    let mut instance = plugin.instantiate(DRIVER).unwrap();
    let state = Arc::new(State::default());
    state.0.lock().insert(b"calls".to_vec(), b"41".to_vec());
    let batch = batch();
    let output = instance.process(tidemill_flow::handler::Call { state, ..call_of(&batch) }).unwrap();
    let writes: Vec<_> = output.state.iter().collect();
    assert_eq!(writes, [(&b"calls"[..], Some(&b"42"[..])), (b"missing", None)]);
}

#[test]
fn a_scan_gives_pages_in_key_order() {
    let mut instance = guest("list").instantiate(DRIVER).unwrap();
    let state = Arc::new(State::default());
    for key in ["a/0", "a/1", "a/2", "a/30", "a/4", "b"] {
        state.0.lock().insert(key.into(), key.to_uppercase().into());
    }
    let batch = batch();
    let output = instance.process(tidemill_flow::handler::Call { state, ..call_of(&batch) }).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.events.data), "[3, 4] [3, 4] true a/2A/2a/30A/30");
}

#[test]
fn state_that_cannot_be_read_is_the_hosts_fault() {
    struct Broken;
    impl tidemill_flow::handler::StateReader for Broken {
        fn get_many(&self, _: &mut dyn Iterator<Item = &[u8]>) -> Result<Vec<Option<Vec<u8>>>, String> {
            Err("the disk is gone".to_owned())
        }
        fn scan(&self, _: &[u8], _: Option<&[u8]>, _: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
            Err("the disk is gone".to_owned())
        }
    }
    let mut instance = guest("count").instantiate(DRIVER).unwrap();
    let batch = batch();
    let fault = instance
        .process(tidemill_flow::handler::Call { state: Arc::new(Broken), ..call_of(&batch) })
        .unwrap_err();
    assert_eq!(fault, Fault::Host("the disk is gone".to_owned()));
}

#[test]
fn a_pool_without_a_free_place_is_the_hosts_fault_and_recovers() {
    let engine = Engine::with_instances(2).unwrap();
    let loader = Loader::new(engine, None, Arc::new(Log::default())).unwrap();
    let plugin = loader.load(&GUEST, with_vice("echo")).unwrap();
    let held = [plugin.instantiate(DRIVER).unwrap(), plugin.instantiate(DRIVER).unwrap()];
    let refused = plugin.instantiate(DRIVER).err().unwrap();
    assert!(matches!(&refused, Fault::Host(why) if why.contains("no place")), "{refused:?}");
    drop(held);
    assert!(plugin.instantiate(DRIVER).is_ok());
}

#[test]
fn an_instance_that_leaks_is_replaced_and_goes_on() {
    let mut instance = guest("leak").instantiate(DRIVER).unwrap();
    let fresh = instance.memory_bytes();
    for _ in 0..20 {
        call_again(&mut *instance).unwrap();
        assert!(instance.memory_bytes() < 64 << 20);
    }
    assert!(instance.memory_bytes() > fresh);
}
