//! The `tidemill` command: reads the command line, does what it says, and ends with the right code.

mod args;
mod bench;
mod client;
mod commands;
mod exit;
mod output;

use std::process::ExitCode;

use clap::Parser;

/// Blocks travel from worker to committer and are freed there, which the system's allocator does under a lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let _ = small_pages();
    let args = args::Args::parse();
    let output = args.output;
    match commands::run(args) {
        Ok(code) => code,
        Err(error) if exit::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            exit::code(&error)
        }
    }
}

/// Has the kernel give this process no huge pages, which the allocator would ask for: they would be zeroed 2 MiB
/// at a time for blocks that live for milliseconds, and stay resident for what little is left in them. A kernel
/// that knows no such pages refuses, and nothing is lost.
fn small_pages() -> rustix::io::Result<()> {
    rustix::thread::disable_transparent_huge_pages(true)
}
