//! The SDK against a simple model: random scripts of emits, state writes and failures, in every batching.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill_sdk::json::{LazyJson, Pointer};
use tidemill_sdk::prelude::*;
use tidemill_sdk::testing::{Batches, Emitted, Harness, Input, Rejected, Report, Stopped};

static COUNT: Cell<u64> = Cell::new("count");
static NOTE: Cell<String> = Cell::new("note");
static TALLY: Cell<Json<Vec<u8>>> = Cell::new("tally");

/// One thing that a scripted event makes the handler do.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    Emit(String),
    Tombstone,
    Forward,
    Compose {
        value: String,
        topic: Option<String>,
        key: Key,
        time: Option<i64>,
        headers: Vec<(String, Option<String>)>,
        own_headers: bool,
    },
    /// An emit that fails and whose failure the handler swallows.
    BadEmit,
    Count,
    CountAt(String),
    Note(String),
    Forget,
    ForgetAt(String),
    Tally(u8),
    EmitCount,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Key {
    OfCause,
    Null,
    Own(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum End {
    Done,
    Reject,
    Retry(Option<u64>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Script {
    steps: Vec<Step>,
    end: End,
}

/// A value that cannot be written, after some bytes were.
struct Unwritable;

impl tidemill_sdk::EventValue for Unwritable {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        out.extend_from_slice(b"half of it");
        Err(Failure::reject("cannot be written"))
    }
}

fn act(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    let script: Script = event.json_as()?;
    for step in &script.steps {
        take(step, event, ctx)?;
    }
    match script.end {
        End::Done => Ok(()),
        End::Reject => Err(Failure::reject("as scripted")),
        End::Retry(None) => Err(Failure::retry("as scripted")),
        End::Retry(Some(ms)) => Err(Failure::retry("as scripted").after(Duration::from_millis(ms))),
    }
}

fn take(step: &Step, event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
    match step {
        Step::Emit(value) => ctx.emit(value)?,
        Step::Tombstone => ctx.emit(None::<&str>)?,
        Step::Forward => ctx.forward()?,
        Step::Compose { value, topic, key, time, headers, own_headers } => {
            let mut draft = ctx.compose(value);
            if let Some(topic) = topic {
                draft = draft.topic(topic);
            }
            match key {
                Key::Own(key) => draft = draft.key(key),
                Key::Null => draft = draft.no_key(),
                Key::OfCause => {}
            }
            if let Some(time) = time {
                draft = draft.time(*time);
            }
            for (name, value) in headers {
                draft = match value {
                    Some(value) => draft.header(name, value),
                    None => draft.null_header(name),
                };
            }
            if *own_headers {
                draft = draft.headers(event.headers());
            }
            draft.emit()?;
        }
        Step::BadEmit => {
            assert!(ctx.emit(Unwritable).is_err());
            assert!(ctx.compose(Unwritable).key("other").topic("bad").emit().is_err());
        }
        Step::Count => ctx.cell(&COUNT)?.update(|count| *count += 1),
        Step::CountAt(key) => ctx.cell_at(&COUNT, key)?.update(|count| *count += 1),
        Step::Note(note) => ctx.cell(&NOTE)?.set(note.clone()),
        Step::Forget => ctx.cell(&COUNT)?.remove(),
        Step::ForgetAt(key) => ctx.cell_at(&COUNT, key)?.remove(),
        Step::Tally(byte) => ctx.cell(&TALLY)?.update(|tally| tally.push(*byte)),
        Step::EmitCount => {
            let count = ctx.cell(&COUNT)?.get().copied().unwrap_or(0);
            ctx.emit(count.to_string())?;
        }
    }
    Ok(())
}

/// An event as it is fed, and as the model sees it.
#[derive(Clone, Debug)]
struct Fed {
    script: Script,
    key: Option<String>,
    time: i64,
    header: Option<String>,
    gap: u32,
}

impl Fed {
    fn value(&self) -> String {
        sonic_rs::to_string(&self.script).expect("a script is JSON")
    }

    fn input(&self) -> Input {
        let mut input = Input::new(self.value()).time(self.time).after_gap(self.gap);
        if let Some(key) = &self.key {
            input = input.key(key);
        }
        if let Some(value) = &self.header {
            input = input.header("own", value);
        }
        input
    }

    fn headers(&self) -> Vec<(String, Option<Vec<u8>>)> {
        self.header.iter().map(|value| ("own".to_owned(), Some(value.clone().into_bytes()))).collect()
    }
}

/// What must come out, worked out event by event on plain maps.
#[derive(Default)]
struct Model {
    report: Report,
    counts: BTreeMap<Option<String>, u64>,
    notes: BTreeMap<Option<String>, String>,
    tallies: BTreeMap<Option<String>, Vec<u8>>,
}

impl Model {
    fn run(events: &[Fed]) -> Report {
        let mut model = Self::default();
        let mut offset = 0;
        for event in events {
            offset += u64::from(event.gap);
            let before = (model.counts.clone(), model.notes.clone(), model.tallies.clone());
            let emitted: Vec<Emitted> =
                event.script.steps.iter().filter_map(|step| model.step(step, event, offset)).collect();
            let reason = "as scripted".to_owned();
            match event.script.end {
                End::Done => model.report.emitted.extend(emitted),
                End::Reject => {
                    (model.counts, model.notes, model.tallies) = before;
                    model.report.rejected.push(Rejected { offset, reason });
                }
                End::Retry(after) => {
                    (model.counts, model.notes, model.tallies) = before;
                    let after = after.map(Duration::from_millis);
                    model.report.stopped = Some(Stopped { offset, reason, after });
                    break;
                }
            }
            offset += 1;
        }
        model.finish()
    }

    fn step(&mut self, step: &Step, event: &Fed, cause: u64) -> Option<Emitted> {
        let plain = |value: Option<Vec<u8>>| Emitted {
            cause,
            topic: None,
            time: event.time,
            key: event.key.clone().map(String::into_bytes),
            headers: Vec::new(),
            value,
        };
        let key = event.key.clone();
        match step {
            Step::Emit(value) => return Some(plain(Some(value.clone().into_bytes()))),
            Step::Tombstone => return Some(plain(None)),
            Step::Forward => {
                let headers = event.headers();
                return Some(Emitted { headers, ..plain(Some(event.value().into_bytes())) });
            }
            Step::Compose { value, topic, key, time, headers, own_headers } => {
                let mut emitted = plain(Some(value.clone().into_bytes()));
                emitted.topic.clone_from(topic);
                match key {
                    Key::Own(key) => emitted.key = Some(key.clone().into_bytes()),
                    Key::Null => emitted.key = None,
                    Key::OfCause => {}
                }
                emitted.time = time.unwrap_or(emitted.time);
                let bytes = |value: &Option<String>| value.clone().map(String::into_bytes);
                emitted.headers = headers.iter().map(|(name, value)| (name.clone(), bytes(value))).collect();
                if *own_headers {
                    emitted.headers.extend(event.headers());
                }
                return Some(emitted);
            }
            Step::BadEmit => {}
            Step::Count => *self.counts.entry(key).or_default() += 1,
            Step::CountAt(key) => *self.counts.entry(Some(key.clone())).or_default() += 1,
            Step::Note(note) => {
                self.notes.insert(key, note.clone());
            }
            Step::Forget => {
                self.counts.remove(&key);
            }
            Step::ForgetAt(key) => {
                self.counts.remove(&Some(key.clone()));
            }
            Step::Tally(byte) => self.tallies.entry(key).or_default().push(*byte),
            Step::EmitCount => {
                let count = self.counts.get(&key).copied().unwrap_or(0);
                return Some(plain(Some(count.to_string().into_bytes())));
            }
        }
        None
    }

    fn finish(mut self) -> Report {
        let place = |cell: &str, key: &Option<String>| match key {
            Some(key) => format!("{cell}\0{key}").into_bytes(),
            None => cell.as_bytes().to_owned(),
        };
        let state = &mut self.report.state;
        state.extend(
            self.counts.iter().map(|(key, count)| (place("count", key), count.to_le_bytes().to_vec())),
        );
        state.extend(self.notes.iter().map(|(key, note)| (place("note", key), note.clone().into_bytes())));
        let json = |tally: &Vec<u8>| sonic_rs::to_vec(tally).expect("numbers are JSON");
        state.extend(self.tallies.iter().map(|(key, tally)| (place("tally", key), json(tally))));
        self.report
    }
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just("a".to_owned()), Just("b".to_owned()), "[a-z]{9,20}"]
}

fn step() -> impl Strategy<Value = Step> {
    let compose = (
        "[a-z]{0,3}",
        proptest::option::of("[xy]"),
        prop_oneof![Just(Key::OfCause), Just(Key::Null), key().prop_map(Key::Own)],
        proptest::option::of(any::<i64>()),
        proptest::collection::vec(("[h-k]{0,2}", proptest::option::of("[0-9]{0,3}")), 0..3),
        any::<bool>(),
    );
    let compose = compose.prop_map(|(value, topic, key, time, headers, own_headers)| Step::Compose {
        value,
        topic,
        key,
        time,
        headers,
        own_headers,
    });
    prop_oneof![
        4 => "[a-z]{0,9}".prop_map(Step::Emit),
        1 => Just(Step::Tombstone),
        2 => Just(Step::Forward),
        2 => compose,
        1 => Just(Step::BadEmit),
        3 => Just(Step::Count),
        2 => key().prop_map(Step::CountAt),
        1 => "[a-z]{0,3}".prop_map(Step::Note),
        1 => Just(Step::Forget),
        1 => key().prop_map(Step::ForgetAt),
        1 => any::<u8>().prop_map(Step::Tally),
        2 => Just(Step::EmitCount),
    ]
}

fn fed() -> impl Strategy<Value = Fed> {
    let end = prop_oneof![
        12 => Just(End::Done),
        4 => Just(End::Reject),
        1 => proptest::option::of(0_u64..1000).prop_map(End::Retry),
    ];
    let script =
        (proptest::collection::vec(step(), 0..5), end).prop_map(|(steps, end)| Script { steps, end });
    (script, proptest::option::of(key()), -5..5_i64, proptest::option::of("[a-z]{0,4}"), 0..2_u32)
        .prop_map(|(script, key, time, header, gap)| Fed { script, key, time, header, gap })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_events_do_the_outcome_is_the_models_in_every_batching(
        events in proptest::collection::vec(fed(), 0..24),
    ) {
        let inputs: Vec<Input> = events.iter().map(Fed::input).collect();
        let report = Harness::new(act).run_in_every_batching(&inputs);
        prop_assert_eq!(report, Model::run(&events));
    }

    #[test]
    fn pointers_find_what_a_whole_parse_finds(
        names in proptest::collection::vec("[a-c~/0-9 ]{0,2}", 0..4),
        value in any::<i64>(),
    ) {
        let mut json = value.to_string();
        for name in names.iter().rev() {
            json = format!("{{ \"zz\" : [1, {{\"b\":2}}] , {} : {json} }}", sonic_rs::to_string(name).unwrap());
        }
        let escape = |name: &String| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let pointer = Pointer::parse(&names.iter().map(escape).collect::<String>()).unwrap();
        let found = LazyJson::new(&json).get(&pointer).unwrap().expect("it is there");
        prop_assert_eq!(found.as_i64(), Some(value));
    }
}

#[test]
fn a_cell_by_the_events_key_is_read_with_one_call_per_batch() {
    fn count(_: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
        ctx.cell(&COUNT)?.update(|count| *count += 1);
        Ok(())
    }
    let events: Vec<Input> = (0..100).map(|index| Input::new("").key((index % 13).to_string())).collect();
    let harness = Harness::new(count);
    assert_eq!(harness.state_reads(Batches::All, &events), 1);
    assert_eq!(harness.state_reads(Batches::Of(10), &events), 10);
    assert_eq!(harness.run_in_every_batching(&events).state.len(), 13);
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    minimum: f64,
    #[serde(default)]
    names: Vec<String>,
    mode: Option<Mode>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Loose,
    Strict,
}

fn configured(_: &Event<'_>, ctx: &mut Context<'_>, settings: &Settings) -> Result<(), Failure> {
    ctx.emit(format!("{} {} {:?}", settings.minimum, settings.names.join("+"), settings.mode))
}

#[test]
fn a_configuration_is_read_into_a_type() {
    let harness = Harness::new(configured).config("minimum", 4.5).config("names", r#"["a","b"]"#);
    assert_eq!(harness.run(&[Input::new("")]).values(), ["4.5 a+b None"]);
    let harness = Harness::new(configured).config("minimum", 1).config("mode", "strict");
    assert_eq!(harness.run(&[Input::new("")]).values(), ["1  Some(Strict)"]);
}

#[test]
fn a_wrong_configuration_stops_at_the_first_event_and_names_the_key() {
    let reason = |harness: Harness| harness.run(&[Input::new("")]).stopped.expect("it stops").reason;
    let wrong = Harness::new(configured).config("minimum", "high");
    assert_eq!(reason(wrong), "configuration: `minimum`: expected a number, found `high`");
    assert_eq!(reason(Harness::new(configured)), "configuration: missing field `minimum`");
    let unknown = reason(Harness::new(configured).config("minimum", 1).config("maximum", 2));
    assert!(unknown.contains("unknown field `maximum`, expected one of `minimum`"), "{unknown}");
    let variant = reason(Harness::new(configured).config("minimum", 1).config("mode", "lose"));
    assert!(variant.contains("`mode`: unknown variant `lose`"), "{variant}");
    let list = reason(Harness::new(configured).config("minimum", 1).config("names", "[1"));
    assert!(list.contains("`names`"), "{list}");
}

#[test]
fn clock_and_random_belong_to_the_event() {
    fn draw(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let random = ctx.random();
        let (die, unit) = (random.below(6), random.unit());
        assert!(die < 6 && (0.0..1.0).contains(&unit) && random.below(0) == 0);
        let drawn = random.next_u64();
        ctx.emit(format!("{} {} {drawn}", event.offset(), event.append_time()))
    }
    let events: Vec<Input> = (0..40)
        .map(|index| Input::new("").append_time(100 - index % 3).after_gap(u32::from(index == 9)))
        .collect();
    let report = Harness::new(draw).run_in_every_batching(&events);
    let other = Harness::new(draw).at("in", 1, 0).run(&events);
    let mut drawn = report.values();
    drawn.extend(other.values());
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 80, "each event draws other numbers, and so does the other partition");
}

#[test]
fn other_errors_become_rejections_with_their_causes() {
    fn parse(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let number: u8 = event.text()?.parse()?;
        ctx.emit(number.to_string())
    }
    let report =
        Harness::new(parse).run_in_every_batching(&[Input::new("7"), Input::new("x"), Input::new("8")]);
    assert_eq!(report.values(), ["7", "8"]);
    assert_eq!(report.rejected[0].reason, "invalid digit found in string");
}

#[test]
fn a_handler_may_return_nothing_and_log() {
    fn talk(event: &Event<'_>, _: &mut Context<'_>) {
        tidemill_sdk::log::info!("attempt {}", event.attempt());
    }
    let report = Harness::new(talk).attempt(3).run_in_every_batching(&[Input::new(""), Input::new("")]);
    let lines: Vec<&str> = report.log.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines, ["attempt 3", "attempt 1"]);
}

#[test]
fn state_that_cannot_be_read_rejects_the_events_that_need_it() {
    fn count(_: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
        ctx.cell(&COUNT)?.update(|count| *count += 1);
        ctx.emit("counted")
    }
    let events =
        [Input::new("").key("good"), Input::new("").key("bad"), Input::new("").key("x".repeat(5000))];
    let report = Harness::new(count).state("count\0bad", "three").run_in_every_batching(&events);
    assert_eq!(report.values(), ["counted"]);
    assert_eq!(report.rejected[0].reason, "state of cell `count`: expected 8 bytes, found 5");
    assert_eq!(report.rejected[1].reason, "a state key of 5006 bytes, the limit is 4096");
}

#[test]
fn state_that_cannot_be_written_fails_the_guilty_event_alone() {
    fn note(event: &Event<'_>, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let length = event.text()?.parse()?;
        ctx.cell_at(&NOTE, event.offset().to_string())?.set("x".repeat(length));
        Ok(())
    }
    let events = ["1", "1048576", "1048577", "2"].map(Input::new);
    let report = Harness::new(note).run_in_every_batching(&events);
    assert_eq!(report.state.len(), 2);
    let failed = report.failed.expect("the third fails");
    assert_eq!(failed.offset, 2);
    assert_eq!(failed.reason, "state of cell `note`: a value of 1048577 bytes, the limit is 1048576");
}

#[test]
fn lazy_json_reads_what_is_there_and_tells_what_is_not() {
    let json = LazyJson::new(r#" {"a": {"b": [1, "x\ny", null]}, "t": true, "0": -2.5, "e": ""} "#);
    let get = |pointer: &str| json.get(&Pointer::parse(pointer).unwrap()).unwrap();
    assert_eq!(get("/a/b/0").and_then(|found| found.as_u64()), Some(1));
    assert_eq!(get("/a/b/1").and_then(|found| found.as_str()).as_deref(), Some("x\ny"));
    assert!(get("/a/b/2").unwrap().is_null());
    assert_eq!(get("/0").and_then(|found| found.as_f64()), Some(-2.5));
    assert_eq!(get("/t").and_then(|found| found.as_bool()), Some(true));
    assert_eq!(get("/e").and_then(|found| found.as_str()).as_deref(), Some(""));
    assert_eq!((get("/a/c"), get("/a/b/3"), get("/t/x"), get("/a/b/-")), (None, None, None, None));
    assert_eq!(get("").unwrap().raw(), json.raw());
    assert_eq!(json.field("t").unwrap().unwrap().as_str(), None);
    for broken in ["", "{", "{\"a\"", "nonsense", "{\"a\":}", "[1,"] {
        let failure = LazyJson::new(broken).field("b").expect_err(broken);
        assert!(failure.reason().starts_with("malformed JSON"), "{broken}: {failure}");
    }
    assert!(Pointer::parse("a/b").is_err() && Pointer::parse("/a~2").is_err());
}
