//! One property holds both implementations of the tree, and the layers over each: whatever is written,
//! flushed, compacted and opened again, what is read is what a plain map says.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::delta::Deltas;
use super::key::{Owner, TableId};
use super::layers::Tables;
use super::{Living, LsmTables, ModelTables, Tree};
use crate::transaction::StateWrites;
use crate::{DriverKey, HandlerId, Lane, Partition};

#[derive(Clone, Debug)]
enum Step {
    /// Writes of a handler: small keys, so that they meet.
    Write(u64, Vec<(u8, Option<u8>)>),
    /// A handler dies.
    Kill(u64),
    Checkpoint,
    Compact,
    Reopen,
}

const HANDLERS: u64 = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let writes = proptest::collection::vec((0..12_u8, proptest::option::of(any::<u8>())), 1..8);
    let step = prop_oneof![
        8 => (1..HANDLERS, writes).prop_map(|(handler, writes)| Step::Write(handler, writes)),
        1 => (1..HANDLERS).prop_map(Step::Kill),
        4 => Just(Step::Checkpoint),
        2 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..40)
}

fn owner(handler: u64) -> Owner {
    let driver = DriverKey { handler: HandlerId(handler), partition: Partition(3), lane: Lane(0) };
    Owner { table: TableId::State, driver }
}

type Map = BTreeMap<(u64, Vec<u8>), Vec<u8>>;

struct Run<'a> {
    open: &'a dyn Fn() -> Box<dyn Tree>,
    tables: Option<Tables>,
    frame: u64,
    dead: HashSet<u64>,
    /// What was applied, and what was persisted.
    now: Map,
    persisted: Map,
}

impl Run<'_> {
    fn tables(&self) -> &Tables {
        self.tables.as_ref().unwrap()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write(handler, writes) if !self.dead.contains(handler) => self.write(*handler, writes),
            Step::Write(..) => {}
            Step::Kill(handler) => {
                self.dead.insert(*handler);
            }
            Step::Checkpoint => self.checkpoint(),
            Step::Compact => self.tables().compact().unwrap(),
            Step::Reopen => {
                self.tables = None;
                self.tables = Some(Tables::new((self.open)()));
                self.now = self.persisted.clone();
                self.frame = self.tables().persisted();
                self.tables().set_applied(self.frame);
            }
        }
        self.compare();
    }

    fn write(&mut self, handler: u64, writes: &[(u8, Option<u8>)]) {
        let mut state = StateWrites::default();
        for &(key, value) in writes {
            let (key, value) = (vec![b'k', key / 4, key], value.map(|value| vec![value; 3]));
            state.push(&key, value.as_deref());
            match value {
                Some(value) => self.now.insert((handler, key), value),
                None => self.now.remove(&(handler, key)),
            };
        }
        let mut section = Vec::new();
        Deltas::push_state(&mut section, &state);
        self.tables().apply(owner(handler).driver, &section, |_, _, _| {}).unwrap();
        self.frame += 1;
        self.tables().set_applied(self.frame);
    }

    fn checkpoint(&mut self) {
        let handlers = (1..HANDLERS).filter(|id| !self.dead.contains(id)).map(HandlerId).collect();
        let living = Living { handlers, next_handler: HANDLERS, ..Living::default() };
        if let Some(sealed) = self.tables().seal() {
            self.tables().flush(&sealed, living).unwrap();
        }
        assert_eq!(self.tables().persisted(), self.frame);
        self.persisted = self.now.clone();
    }

    fn compare(&self) {
        for handler in (1..HANDLERS).filter(|handler| !self.dead.contains(handler)) {
            for key in 0..12_u8 {
                let key = vec![b'k', key / 4, key];
                let expected = self.now.get(&(handler, key.clone())).cloned();
                assert_eq!(self.tables().get(owner(handler), &key).unwrap(), expected);
            }
            self.compare_scans(handler);
        }
    }

    fn compare_scans(&self, handler: u64) {
        let of_handler = || self.now.iter().filter(|((of, _), _)| *of == handler);
        for (prefix, after, limit) in [
            (&b""[..], None, 100),
            (b"", None, 2),
            (b"k\x01", None, 3),
            (b"k\x01", Some(&[b'k', 1, 5][..]), 2),
            (b"k", Some(&[b'k', 2, 8][..]), 100),
        ] {
            let expected: Vec<_> = of_handler()
                .filter(|((_, key), _)| key.starts_with(prefix) && after.is_none_or(|after| &key[..] > after))
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .take(limit)
                .collect();
            assert_eq!(self.tables().scan(owner(handler), prefix, after, limit).unwrap(), expected);
        }
    }
}

fn check(steps: &[Step], open: &dyn Fn() -> Box<dyn Tree>) {
    let mut run = Run {
        open,
        tables: Some(Tables::new(open())),
        frame: 0,
        dead: HashSet::new(),
        now: Map::new(),
        persisted: Map::new(),
    };
    for step in steps {
        run.step(step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_model_reads_what_a_map_says(steps in steps()) {
        let tables = ModelTables::default();
        check(&steps, &|| Box::new(tables.clone()));
    }

    #[test]
    fn the_tree_reads_what_a_map_says(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        check(&steps, &|| Box::new(LsmTables::open(&directory.path().join("tables")).unwrap()));
    }
}

#[test]
fn rows_of_the_dead_go_with_a_compaction() {
    let directory = tempfile::tempdir().unwrap();
    let tree = LsmTables::open(&directory.path().join("tables")).unwrap();
    let rows = |handler: u64| (0..200_u8).map(move |key| (owner(handler).key(&[key]), Some(vec![key; 100])));
    for frame in 1..=8 {
        tree.persist(frame, &mut rows(1).chain(rows(2))).unwrap();
    }
    let handlers = HashSet::from([HandlerId(2)]);
    tree.retain(Living { handlers, next_handler: 3, ..Living::default() });
    tree.compact().unwrap();
    let left = |handler: u64| tree.scan(&owner(handler).prefix(), None, 1_000).unwrap().len();
    assert_eq!((left(1), left(2)), (0, 200));
}

#[test]
fn flushes_leave_no_versions_behind() {
    let directory = tempfile::tempdir().unwrap();
    let tree = LsmTables::open(&directory.path().join("tables")).unwrap();
    for frame in 1..=20 {
        tree.persist(frame, &mut [(owner(1).key(b"k"), Some(vec![1]))].into_iter()).unwrap();
        tree.compact().unwrap();
    }
    let names =
        std::fs::read_dir(directory.path().join("tables")).unwrap().map(|entry| entry.unwrap().file_name());
    let versions = names.filter(|name| name.to_string_lossy().starts_with('v')).count();
    assert!(versions <= 2, "{versions} versions");
    let tables = std::fs::read_dir(directory.path().join("tables/tables")).unwrap().count();
    assert!(tables <= 5, "{tables} tables");
}

#[test]
fn a_failed_flush_is_flushed_again_before_anything_newer() {
    let model = ModelTables::default();
    let tables = Tables::new(Box::new(model.clone()));
    let put = |value: &[u8], frame| {
        tables.put(owner(1), b"key", value);
        tables.set_applied(frame);
    };
    put(b"one", 1);
    model.fail_next_flush();
    assert!(tables.flush(&tables.seal().unwrap(), Living::default()).is_err());
    put(b"two", 2);
    assert_eq!(tables.get(owner(1), b"key").unwrap().as_deref(), Some(&b"two"[..]));
    tables.flush(&tables.seal().unwrap(), Living::default()).unwrap();
    assert_eq!((tables.persisted(), model.get(&owner(1).key(b"key")).unwrap()), (1, Some(b"one".to_vec())));
    tables.flush(&tables.seal().unwrap(), Living::default()).unwrap();
    assert_eq!((tables.persisted(), model.get(&owner(1).key(b"key")).unwrap()), (2, Some(b"two".to_vec())));
    assert!(tables.seal().is_none());
}

#[test]
fn idempotency_keys_stay_in_memory_for_one_flush_and_it_is_known_from_where() {
    let tables = Tables::new(Box::new(ModelTables::default()));
    let once = Owner::store(TableId::Once);
    let flush = |frame| {
        tables.set_applied(frame);
        tables.flush(&tables.seal().unwrap(), Living::default()).unwrap();
    };
    tables.put(once, b"key", b"row");
    tables.put(owner(1), b"key", b"row");
    flush(5);
    let recent = tables.recent(once, b"key");
    assert_eq!((recent.newest, recent.after), (Some(Some(b"row".to_vec())), 0));
    assert_eq!(tables.recent(owner(1), b"key").newest, None);
    tables.put(once, b"other", b"row");
    flush(9);
    let recent = tables.recent(once, b"key");
    assert_eq!((recent.newest, recent.after), (None, 5));
    assert!(tables.recent(once, b"other").newest.is_some());
}
