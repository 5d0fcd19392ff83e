//! A handler built for `wasm32-wasip2`: loaded, run, and shown nothing of the machine.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tidemill_flow::handler::Handler;
use tidemill_wasm::{Level, Loader};

use crate::support::{DRIVER, ENGINE, Log, batch, call_again, with_vice};

/// The guest of every vice built for WASI, or `None` where that target is not installed.
fn guest() -> Option<Vec<u8>> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let sysroot = String::from_utf8(sysroot.stdout).unwrap();
    if !Path::new(sysroot.trim()).join("lib/rustlib/wasm32-wasip2").exists() {
        return None;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasi");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/", "vices", "/Cargo.toml");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--profile",
            "guest",
            "--target",
            "wasm32-wasip2",
            "--manifest-path",
            manifest,
        ])
        .arg("--target-dir")
        .arg(&target)
        .status()
        .unwrap();
    assert!(built.success());
    Some(std::fs::read(target.join("wasm32-wasip2/guest/vices.wasm")).unwrap())
}

#[test]
fn a_guest_of_wasi_sees_the_batch_and_nothing_of_the_machine() {
    let Some(guest) = guest() else {
        eprintln!("skipped: the target wasm32-wasip2 is not installed");
        return;
    };
    let log = Arc::new(Log::default());
    let plugin =
        Loader::new(ENGINE.clone(), None, log.clone()).unwrap().load(&guest, with_vice("wasi")).unwrap();
    let see = || {
        let output = call_again(&mut *plugin.instantiate(DRIVER).unwrap()).unwrap();
        String::from_utf8(output.events.data).unwrap()
    };
    let seen = see();
    let place = format!("now {} variables 0 arguments 0 file Err(", batch().append_time);
    assert!(seen.starts_with(&place), "{seen}");
    assert_eq!(seen, see(), "the same batch, handler and partition give the same random numbers");
    let lines: Vec<_> = log
        .0
        .lock()
        .iter()
        .map(|line| (line.level, line.context.clone(), line.message.clone()))
        .take(2)
        .collect();
    let line = |level, context: &str, message: &str| (level, context.to_owned(), message.to_owned());
    assert_eq!(
        lines,
        [line(Level::Info, "stdout", "to be continued"), line(Level::Warn, "stderr", "to standard error")]
    );
}
