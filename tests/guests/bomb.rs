//! A component that nobody runs: it is made to break its compiler. Shared by the suites and the benchmark.

use std::fmt::Write;

/// 70 KiB that ask the compiler for gigabytes and minutes: a loop that changes many locals, entered by so many
/// branches that each has to bring them all. As many branches as the compiler takes at all.
pub(crate) fn component() -> Vec<u8> {
    const LOCALS: usize = 1_000;
    const BRANCHES: usize = 65_000;
    let mut bomb = format!("(func $bomb (param i32) (local {}) (loop ", "i32 ".repeat(LOCALS));
    for local in 1..=LOCALS {
        write!(bomb, "(local.set {local} (i32.add (local.get {local}) (local.get 0)))")
            .expect("a string takes everything");
    }
    write!(bomb, "(br_table {} (local.get 1))))", "0 ".repeat(BRANCHES)).expect("a string takes everything");
    let memory = "(memory (export \"memory\") 1)";
    let text = include_str!("../../runtime/wasm/tests/host/handler.wat")
        .replace("REALLOC", "unreachable")
        .replace("PROCESS", "unreachable")
        .replace(memory, &format!("{memory}\n{bomb}"));
    wat::parse_str(text).expect("the text is ours")
}
