//! What is no plugin, and what the error says of it.

use tidemill_flow::handler::{Fault, Handler};
use tidemill_wasm::{LoadError, Plugin};

use crate::support::{DRIVER, GUEST, batch, call_of, guest, loader, with_vice};

fn error(wasm: &[u8]) -> LoadError {
    match loader().load(wasm, with_vice("")) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error,
    }
}

fn wat_error(text: &str) -> String {
    error(&wat::parse_str(text).unwrap()).to_string()
}

#[test]
fn text_is_not_webassembly() {
    assert!(matches!(error(b"hello"), LoadError::NotWasm));
    assert!(matches!(error(b""), LoadError::NotWasm));
}

#[test]
fn a_core_module_is_told_from_a_component() {
    let error = wat_error("(module)");
    assert!(error.contains("core module") && error.contains("tidemill build"), "{error}");
}

#[test]
fn a_component_that_is_cut_off_is_invalid() {
    let error = error(&GUEST[..GUEST.len() / 2]);
    assert!(matches!(error, LoadError::Invalid(_)), "{error}");
}

#[test]
fn a_component_that_is_no_handler_is_told_what_it_lacks() {
    let error = wat_error("(component)");
    assert_eq!(error, "does not export tidemill:handler/processor@0.1.0; it exports nothing");
    let error = wat_error(
        r#"(component
            (component $empty)
            (instance $i (instantiate $empty))
            (export "some:other/thing@1.0.0" (instance $i)))"#,
    );
    assert!(error.ends_with("it exports some:other/thing@1.0.0"), "{error}");
}

#[test]
fn an_export_of_another_shape_is_told() {
    let error = wat_error(&processor("(param \"events\" string)"));
    assert!(error.contains("exports tidemill:handler/processor@0.1.0 in another shape"), "{error}");
}

/// A component whose `process` has these parameters.
fn processor(params: &str) -> String {
    format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (func (export "process") (param i32 i32))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
            (core instance $i (instantiate $m))
            (func $process {params}
                (canon lift (core func $i "process")
                    (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (instance $processor (export "process" (func $process)))
            (export "tidemill:handler/processor@0.1.0" (instance $processor)))"#
    )
}

#[test]
fn every_import_that_is_not_granted_is_named() {
    let error = wat_error(
        r#"(component
            (import "wasi:sockets/tcp@0.2.0" (instance (export "connect" (func))))
            (import "acme:secret/door" (instance (export "open" (func))))
            (import "only:types/here" (instance (type $t (list u8)) (export "t" (type (eq $t)))))
            (import "wasi:logging/logging@0.1.0-draft" (instance)))"#,
    );
    assert!(
        error.starts_with("imports what is not granted: wasi:sockets/tcp@0.2.0, acme:secret/door;"),
        "{error}"
    );
    assert!(error.contains("wasm32-unknown-unknown"), "{error}");
}

#[test]
fn a_granted_import_of_another_shape_is_told() {
    let error = wat_error(
        r#"(component
            (import "wasi:logging/logging@0.1.0-draft" (instance (export "log" (func (param "line" string))))))"#,
    );
    assert!(error.contains("another shape") && error.contains("wasi:logging/logging"), "{error}");
}

#[test]
fn a_handler_that_refuses_its_settings_is_not_loaded() {
    let refused = |vice: &str| loader().load(&GUEST, with_vice(vice)).err().map(|error| error.to_string());
    assert_eq!(refused("unready").unwrap(), "refuses its configuration: `vice` is no good");
    assert!(
        refused("trap-at-check").unwrap().contains("failed when it was asked to check its configuration")
    );
    assert!(refused("read-at-check").unwrap().contains("state"));
    assert_eq!(refused("echo"), None);
}

#[test]
fn a_trap_while_the_host_writes_its_arguments_is_a_trap() {
    let plugin = realloc_that("unreachable");
    let (mut instance, batch) = (plugin.instantiate(DRIVER).unwrap(), batch());
    let fault = instance.process(call_of(&batch)).unwrap_err();
    let Fault::Trap { message, backtrace } = &fault else { panic!("{fault:?}") };
    assert_eq!(message, "wasm `unreachable` instruction executed");
    assert!(backtrace.contains("wicked_realloc"), "{backtrace}");
}

#[test]
fn a_place_outside_the_memory_for_the_arguments_is_a_lie() {
    let plugin = realloc_that("(i32.const 0x7fffff00)");
    let (mut instance, batch) = (plugin.instantiate(DRIVER).unwrap(), batch());
    let fault = instance.process(call_of(&batch)).unwrap_err();
    assert!(matches!(&fault, Fault::Lie(what) if what.contains("canonical ABI")), "{fault:?}");
}

#[test]
fn a_loop_while_the_host_writes_its_arguments_meets_the_deadline() {
    let plugin = realloc_that("(loop (br 0)) (unreachable)");
    let (mut instance, batch) = (plugin.instantiate(DRIVER).unwrap(), batch());
    let deadline = std::time::Duration::from_millis(30);
    let call = tidemill_flow::handler::Call { deadline, ..call_of(&batch) };
    assert_eq!(instance.process(call).unwrap_err(), Fault::Deadline(deadline));
}

#[test]
fn a_result_outside_the_memory_is_a_lie() {
    let plugin = handler_with("(i32.const 1024)", "(i32.const 0x7fffff00)");
    let (mut instance, batch) = (plugin.instantiate(DRIVER).unwrap(), batch());
    let fault = instance.process(call_of(&batch)).unwrap_err();
    assert!(matches!(&fault, Fault::Lie(what) if what.contains("canonical ABI")), "{fault:?}");
}

#[test]
fn more_memory_from_the_start_than_the_limit_is_a_memory_fault() {
    let mut config = with_vice("");
    config.limits.memory = 64 << 10;
    let error = loader().load(&GUEST, config).err().unwrap().to_string();
    assert!(error.contains("the limit is 65536"), "{error}");
}

#[test]
fn a_handler_without_the_state_import_has_no_state() {
    assert!(!realloc_that("unreachable").has_state());
    assert!(guest("").has_state());
}

fn realloc_that(body: &str) -> std::sync::Arc<Plugin> {
    handler_with(body, "unreachable")
}

/// A handler, in text, whose `realloc` and `process` have these bodies.
fn handler_with(realloc: &str, process: &str) -> std::sync::Arc<Plugin> {
    let text = include_str!("handler.wat").replace("REALLOC", realloc).replace("PROCESS", process);
    loader().load(&wat::parse_str(text).unwrap(), with_vice("")).unwrap()
}

/// A component of which bytes were changed by chance.
#[test]
fn a_component_with_broken_bytes_is_refused_or_loaded_and_never_more() {
    let text =
        include_str!("handler.wat").replace("REALLOC", "unreachable").replace("PROCESS", "unreachable");
    let (whole, loader) = (wat::parse_str(text).unwrap(), loader());
    let seed =
        std::env::var("TIDEMILL_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("TIDEMILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..500 {
        let mut broken = whole.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(8..broken.len());
            broken[at] = random.u8(..);
        }
        drop(loader.load(&broken, with_vice("")));
    }
}
