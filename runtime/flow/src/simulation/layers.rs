//! State read through layers is state as if all layers were committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tidemill_bus::transaction::StateWrites;
use tidemill_bus::{DriverKey, HandlerId, Lane, Partition};

use super::log::{FakeLog, Nature};
use crate::driver::Layers;
use crate::handler::StateReader;

const DRIVER: DriverKey = DriverKey { handler: HandlerId(1), partition: Partition(0), lane: Lane(0) };

type State = BTreeMap<Vec<u8>, Vec<u8>>;

fn key() -> impl Strategy<Value = Vec<u8>> {
    "[ab][a-d]{0,2}".prop_map(String::into_bytes)
}

fn writes() -> impl Strategy<Value = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4));
    proptest::collection::vec((key(), value), 0..12)
}

fn apply(state: &mut State, writes: &[(Vec<u8>, Option<Vec<u8>>)]) {
    for (key, value) in writes {
        match value {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
    }
}

proptest! {
    #[test]
    fn what_is_read_is_the_committed_state_under_all_layers(
        committed in writes(),
        layers in proptest::collection::vec(writes(), 0..3),
        aborted in 0..4_u64,
        keys in proptest::collection::vec(key(), 0..8),
        scan in ("[ab]?", proptest::option::of(key()), 0..9_usize),
    ) {
        let log = FakeLog::new(1, Nature { gaps: 0, aborts: 0 });
        let mut model = State::new();
        apply(&mut model, &committed);
        log.put_state(DRIVER, model.clone());
        let read = Layers::new(Arc::clone(&log) as _, DRIVER);
        for (token, layer) in (0..).zip(&layers) {
            let mut writes = StateWrites::default();
            for (key, value) in layer {
                writes.push(key, value.as_deref());
            }
            read.push(token, writes);
            if token < aborted {
                apply(&mut model, layer);
            }
        }
        read.aborted(aborted);
        let values = read.get_many(&mut keys.iter().map(Vec::as_slice)).unwrap();
        let expected: Vec<_> = keys.iter().map(|key| model.get(key).cloned()).collect();
        prop_assert_eq!(values, expected);

        let (prefix, after, limit) = scan;
        let entries = read.scan(prefix.as_bytes(), after.as_deref(), limit).unwrap();
        let wanted = |key: &Vec<u8>| key.starts_with(prefix.as_bytes()) && after.as_ref().is_none_or(|after| key > after);
        let expected: Vec<_> = model.clone().into_iter().filter(|(key, _)| wanted(key)).take(limit).collect();
        prop_assert_eq!(entries, expected);

        if aborted > 0 && !layers.is_empty() {
            let mut state = log.state(DRIVER);
            apply(&mut state, &layers[0]);
            log.put_state(DRIVER, state);
            read.committed(0);
            let all = read.scan(b"", None, 1_000).unwrap();
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
