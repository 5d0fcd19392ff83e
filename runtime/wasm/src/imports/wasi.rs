//! The part of WASI 0.2 that a program for `wasm32-wasip2` brings along without asking: an empty environment, no
//! files, a clock that shows the batch's append time, random numbers by the batch's place, and standard output
//! as log lines. Nothing here depends on the machine. Answered by dynamic types: it is off the path of events, and
//! a component imports only the functions that its own libraries name.

use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceDynamic, ResourceType, Val};

use crate::console::Stream;
use crate::instance::Guest;
use crate::limits::LOG_LINE_BYTES;

/// The packages, of which the functions below are answered and all others trap when they are called.
const PACKAGES: [&str; 5] = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random"];

/// Resources by the number that stands for their type.
const RESOURCES: [&str; 9] = [
    "input-stream",
    "output-stream",
    "pollable",
    "error",
    "descriptor",
    "directory-entry-stream",
    "terminal-input",
    "terminal-output",
    "network",
];

const STDOUT: u32 = 1;
const STDERR: u32 = 2;

/// Whether the interface `name`, with its version, is of these packages and of version 0.2.
pub(crate) fn is_granted(name: &str) -> bool {
    let (package, rest) = name.split_once('/').unwrap_or((name, ""));
    PACKAGES.contains(&package)
        && rest.split_once('@').is_some_and(|(_, version)| version.starts_with("0.2."))
}

/// Grants what `component` imports of these packages.
pub(crate) fn add_to_linker(
    linker: &mut Linker<Guest>,
    component: &Component,
    engine: &wasmtime::Engine,
) -> wasmtime::Result<()> {
    for (interface, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(ty) = import.ty else { continue };
        if !is_granted(interface) {
            continue;
        }
        let mut instance = linker.instance(interface)?;
        for (name, export) in ty.exports(engine) {
            match export.ty {
                ComponentItem::Resource(_) => {
                    instance.resource(name, ResourceType::host_dynamic(number(name)), |_, _| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_) => {
                    let (bare, _) = interface.split_once('@').unwrap_or((interface, ""));
                    let (answer, refused) = (answer(bare, name), format!("{interface}#{name}"));
                    instance.func_new(name, move |mut cx, _, args, results| {
                        let Some(answer) = answer else {
                            return Err(wasmtime::Error::msg(format!(
                                "called {refused}, which handlers do not have"
                            )));
                        };
                        let this = release(&mut cx, args)?;
                        let answered = answer(&mut cx, args, this)?;
                        results.iter_mut().zip(answered).for_each(|(result, value)| *result = value);
                        Ok(())
                    })?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn number(resource: &str) -> u32 {
    let known = RESOURCES.iter().position(|known| *known == resource).unwrap_or(RESOURCES.len());
    u32::try_from(known).expect("there are nine")
}

/// Gives back every resource that was lent for the call, and returns the number of the first: that whose method
/// is called.
fn release(cx: &mut StoreContextMut<'_, Guest>, args: &[Val]) -> wasmtime::Result<u32> {
    let mut first = None;
    for arg in args {
        match arg {
            Val::Resource(any) => {
                let rep = ResourceDynamic::try_from_resource_any(*any, &mut *cx)?.rep();
                first.get_or_insert(rep);
            }
            Val::List(items) if matches!(items.first(), Some(Val::Resource(_))) => {
                release(cx, items)?;
            }
            _ => {}
        }
    }
    Ok(first.unwrap_or_default())
}

/// What a function does: given its arguments and the number of the resource that it is a method of, its result
/// if it has one.
type Answer = fn(&mut StoreContextMut<'_, Guest>, &[Val], u32) -> wasmtime::Result<Option<Val>>;

fn answer(interface: &str, function: &str) -> Option<Answer> {
    Some(match (interface.strip_prefix("wasi:")?, function) {
        ("cli/environment", "get-environment" | "get-arguments") | ("filesystem/preopens", _) => {
            |_, _, _| Ok(Some(Val::List(Vec::new())))
        }
        ("cli/environment", "initial-cwd")
        | ("filesystem/types", "filesystem-error-code")
        | ("cli/terminal-stdin" | "cli/terminal-stdout" | "cli/terminal-stderr", _) => {
            |_, _, _| Ok(Some(Val::Option(None)))
        }
        ("cli/exit", _) => |_, _, _| Err(wasmtime::Error::msg("exited")),
        ("cli/stdin", _) => |cx, _, _| resource(cx, "input-stream", 0),
        ("cli/stdout", _) => |cx, _, _| resource(cx, "output-stream", STDOUT),
        ("cli/stderr", _) => |cx, _, _| resource(cx, "output-stream", STDERR),
        ("clocks/wall-clock", "now") => |cx, _, _| Ok(Some(datetime(cx.data().now_ms()))),
        ("clocks/wall-clock", "resolution") => |_, _, _| Ok(Some(datetime(1))),
        ("clocks/monotonic-clock", "now") => {
            |cx, _, _| Ok(Some(Val::U64(cx.data().now_ms().saturating_mul(1_000_000))))
        }
        ("clocks/monotonic-clock", "resolution") => |_, _, _| Ok(Some(Val::U64(1_000_000))),
        ("clocks/monotonic-clock", _) => |cx, _, _| resource(cx, "pollable", 0),
        ("random/random" | "random/insecure", "get-random-u64" | "get-insecure-random-u64") => {
            |cx, _, _| Ok(Some(Val::U64(cx.data_mut().random())))
        }
        ("random/random" | "random/insecure", _) => random_bytes,
        ("random/insecure-seed", _) => |cx, _, _| {
            let guest = cx.data_mut();
            Ok(Some(Val::Tuple(vec![Val::U64(guest.random()), Val::U64(guest.random())])))
        },
        ("io/error", _) => |_, _, _| Ok(Some(Val::String("an error".to_owned()))),
        ("io/poll", "poll") => |_, args, _| Ok(Some(all_ready(args))),
        ("io/poll", "[method]pollable.ready") => |_, _, _| Ok(Some(Val::Bool(true))),
        ("io/poll", "[method]pollable.block") => |_, _, _| Ok(None),
        ("io/streams", method) => return stream_answer(method),
        _ => return None,
    })
}

fn stream_answer(method: &str) -> Option<Answer> {
    let (_, method) = method.strip_prefix("[method]")?.split_once('.')?;
    Some(match method {
        "check-write" => |_, _, _| Ok(Some(Val::Result(Ok(Some(Box::new(Val::U64(LOG_LINE_BYTES as u64))))))),
        "write" | "blocking-write-and-flush" => write,
        "flush" | "blocking-flush" => |_, _, _| Ok(Some(Val::Result(Ok(None)))),
        "read" | "blocking-read" | "skip" | "blocking-skip" => {
            |_, _, _| Ok(Some(Val::Result(Err(Some(Box::new(Val::Variant("closed".to_owned(), None)))))))
        }
        "subscribe" => |cx, _, _| resource(cx, "pollable", 0),
        _ => return None,
    })
}

fn resource(cx: &mut StoreContextMut<'_, Guest>, name: &str, rep: u32) -> wasmtime::Result<Option<Val>> {
    let any = ResourceDynamic::new_own(rep, number(name)).try_into_resource_any(cx)?;
    Ok(Some(Val::Resource(any)))
}

fn datetime(ms: u64) -> Val {
    let nanoseconds = u32::try_from(ms % 1_000 * 1_000_000).expect("below a second");
    Val::Record(vec![
        ("seconds".to_owned(), Val::U64(ms / 1_000)),
        ("nanoseconds".to_owned(), Val::U32(nanoseconds)),
    ])
}

fn random_bytes(cx: &mut StoreContextMut<'_, Guest>, args: &[Val], _: u32) -> wasmtime::Result<Option<Val>> {
    let Some(Val::U64(count)) = args.first() else { return Err(wasmtime::Error::msg("how many bytes?")) };
    // A list of values costs far more than its bytes: a guest that wants more asks again.
    if *count > LOG_LINE_BYTES as u64 {
        return Err(wasmtime::Error::msg(format!("asked for {count} random bytes at once")));
    }
    let guest = cx.data_mut();
    Ok(Some(Val::List((0..*count).map(|_| Val::U8(guest.random().to_le_bytes()[7])).collect())))
}

/// The indexes of all pollables: no time passes within a call, so nothing is waited for.
fn all_ready(args: &[Val]) -> Val {
    let Some(Val::List(pollables)) = args.first() else { return Val::List(Vec::new()) };
    Val::List((0..).take(pollables.len()).map(Val::U32).collect())
}

fn write(cx: &mut StoreContextMut<'_, Guest>, args: &[Val], this: u32) -> wasmtime::Result<Option<Val>> {
    let Some(Val::List(bytes)) = args.get(1) else { return Err(wasmtime::Error::msg("no bytes to write")) };
    let stream = if this == STDERR { Stream::Stderr } else { Stream::Stdout };
    let bytes = bytes.iter().filter_map(|byte| if let Val::U8(byte) = byte { Some(*byte) } else { None });
    cx.data_mut().print(stream, bytes);
    Ok(Some(Val::Result(Ok(None))))
}
