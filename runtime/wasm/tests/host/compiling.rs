//! The child that compiles, played by a shell: what the parent makes of each way in which it can end.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_wasm::compile::Program;
use tidemill_wasm::directory::{Change, Kept, Listener, PluginDirectory};
use tidemill_wasm::{CompileError, CompileLimits, Compiler, LoadError, Loader, limits};

use crate::directory::put;
use crate::support::{GUEST, loader, with_vice};

fn shell(script: &str) -> Program {
    let environment = vec![("TIDE".into(), "high".into())];
    Program { path: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()], environment }
}

/// A loader whose compiler is this script, with these limits.
fn compiled_by(script: &str, limits: CompileLimits) -> Loader {
    loader().compiled_by(Compiler::in_child(shell(script), limits))
}

fn failure(loader: &Loader) -> LoadError {
    loader.load(&GUEST, with_vice("echo")).err().unwrap()
}

fn failure_of(script: &str) -> LoadError {
    failure(&compiled_by(script, CompileLimits::default()))
}

#[test]
fn a_compilation_that_takes_too_long_is_ended() {
    let time = Duration::from_millis(50);
    let loader = compiled_by("exec sleep 1000", CompileLimits { time, ..CompileLimits::default() });
    let error = failure(&loader);
    assert!(matches!(error, LoadError::Compile(CompileError::Time(limit)) if limit == time), "{error}");
}

#[test]
fn the_child_is_told_its_limits_and_has_an_environment_of_its_own() {
    let cpu = Duration::from_millis(1_500);
    let limits = CompileLimits { cpu, memory_bytes: 4_096, ..CompileLimits::default() };
    let loader = compiled_by(r#"echo "$0 $1 $TIDE ${CARGO_PKG_NAME-none}" >&2; exit 65"#, limits);
    assert_eq!(failure(&loader).to_string(), "not a valid component: 2 4096 high none");
    let limits = CompileLimits::default();
    let (cpu, memory) = (limits::COMPILE_CPU.as_secs(), limits::COMPILE_MEMORY_BYTES);
    let said = failure(&compiled_by(r#"echo "$0 $1" >&2; exit 65"#, limits)).to_string();
    assert!(said.ends_with(&format!("{cpu} {memory}")), "{said}");
    assert_eq!(limits.time, limits::COMPILE_TIME);
}

#[test]
fn each_way_to_end_has_its_error() {
    let cpu = failure_of("kill -XCPU $$");
    assert!(matches!(cpu, LoadError::Compile(CompileError::Cpu { seconds: 120 })), "{cpu}");
    for script in ["exit 66", "echo memory allocation of 7 bytes failed >&2; kill -ABRT $$"] {
        let memory = failure_of(script);
        assert!(matches!(memory, LoadError::Compile(CompileError::Memory { .. })), "{memory}");
    }
    let died = failure_of("echo what a pity >&2; kill -KILL $$").to_string();
    assert!(died.contains("signal: 9") && died.ends_with(": what a pity"), "{died}");
    let silent = failure_of("exit 3").to_string();
    assert!(silent.ends_with("(exit status: 3)"), "{silent}");
}

#[test]
fn last_words_are_cut_and_read_to_their_end() {
    let endless = failure_of("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1").to_string();
    let kept = endless.rsplit(' ').next().unwrap();
    assert_eq!(kept, "x".repeat(usize::try_from(limits::COMPILE_WORDS_BYTES).unwrap()));
}

#[test]
fn what_is_no_machine_code_is_refused() {
    let loader = compiled_by("cat", CompileLimits::default());
    let error = failure(&loader);
    assert!(matches!(error, LoadError::Invalid(_)), "{error}");
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let missing = Program { path: "/nowhere".into(), ..shell("") };
    let error = failure(&loader().compiled_by(Compiler::in_child(missing, CompileLimits::default())));
    assert!(matches!(error, LoadError::Compile(CompileError::Start(_))), "{error}");
}

#[test]
fn one_component_is_compiled_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("place");
    let place = place.display();
    let script = format!("mkdir {place} || exit 70; sleep 0.02; rmdir {place}; exit 65");
    let loader = compiled_by(&script, CompileLimits::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(matches!(failure(&loader), LoadError::Invalid(_))));
        }
    });
}

/// What was not taken, and why.
#[derive(Default)]
struct Failures(Mutex<Vec<String>>);

impl Listener for Failures {
    fn changed(&self, change: Change) {
        if let Change::Failed { error, .. } = change {
            self.0.lock().push(error.to_string());
        }
    }
}

#[test]
fn a_directory_that_is_closed_ends_the_compilation_under_way() {
    let (plugins, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let begun = data.path().join("begun");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", begun.display());
    let loader = Arc::new(compiled_by(&script, CompileLimits::default()));
    let kept = Arc::new(Kept::open(&data.path().join("kept")).unwrap());
    let told = Arc::new(Failures::default());
    let directory = PluginDirectory::open(plugins.path(), (loader.clone(), kept), told.clone()).unwrap();
    put(plugins.path(), "echo.wasm", &GUEST);
    let pid = loop {
        match fs::read_to_string(&begun) {
            Ok(pid) => break pid,
            Err(_) => std::thread::yield_now(),
        }
    };
    drop(directory);
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "the child goes on");
    assert_eq!(told.0.lock()[..], [""; 0], "nobody waits for that any more");
    let error = failure(&loader);
    assert!(matches!(error, LoadError::Compile(CompileError::Stopped)), "{error}");
}
