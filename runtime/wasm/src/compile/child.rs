//! The parent's side: one child at a time, watched until it answers, is stopped, or has had its time.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;

use parking_lot::Mutex;
use rustix::process::Signal;

use super::confined::{NO_MEMORY, REFUSED};
use super::{Code, CompileError, CompileLimits, Program};
use crate::limits::COMPILE_WORDS_BYTES;

/// What Rust says last of a process that is refused memory.
const OUT_OF_MEMORY: &str = "memory allocation of ";

/// Compiles in child processes.
#[derive(Debug)]
pub(super) struct Compiler {
    program: Program,
    limits: CompileLimits,
    /// Held while a child runs: there is one at a time.
    turn: Mutex<()>,
    watch: Mutex<Watch>,
}

/// What a stop needs of the compilation under way.
#[derive(Debug, Default)]
struct Watch {
    stopped: bool,
    waiting: Option<SyncSender<Word>>,
}

/// What ends the wait for a child.
enum Word {
    /// It closed its output: all that it wrote.
    Written(io::Result<Vec<u8>>),
    Stop,
}

impl Compiler {
    pub(super) fn new(program: Program, limits: CompileLimits) -> Self {
        Self { program, limits, turn: Mutex::default(), watch: Mutex::default() }
    }

    /// Compiles `wasm`. Waits for others, and for the child.
    pub(super) fn compile(&self, wasm: &[u8]) -> Result<Code, CompileError> {
        let _turn = self.turn.lock();
        // One word of each kind.
        let (say, words) = mpsc::sync_channel(2);
        if !self.begin(say.clone()) {
            return Err(CompileError::Stopped);
        }
        let mut child = Child::start(self.command()).map_err(CompileError::Start)?;
        let Pipes { stdin, stdout, stderr } = child.pipes();
        let (word, said) = thread::scope(|scope| -> io::Result<_> {
            let most = self.limits.memory_bytes;
            let named = |name: &str| thread::Builder::new().name(name.to_owned());
            let written = named("tidemill-compile").spawn_scoped(scope, move || {
                // Nobody listens when the wait is over.
                let _ = say.send(Word::Written(exchange((stdin, stdout), wasm, most)));
            });
            let hearing = || named("tidemill-compile-err").spawn_scoped(scope, move || words_of(stderr));
            let said = written.and_then(|_| hearing()).inspect_err(|_| child.kill())?;
            let word = words.recv_timeout(self.limits.time);
            if !matches!(word, Ok(Word::Written(_))) {
                // Its pipes break, and the threads end.
                child.kill();
            }
            Ok((word, said.join().unwrap_or_default()))
        })
        .map_err(CompileError::Start)?;
        self.watch.lock().waiting = None;
        let status = child.wait().map_err(CompileError::Start)?;
        match word {
            Ok(Word::Written(written)) => self.answer(written, status, said),
            Ok(Word::Stop) => Err(CompileError::Stopped),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(CompileError::Time(self.limits.time))
            }
        }
    }

    /// Ends the compilation under way, and lets no other begin.
    pub(super) fn stop(&self) {
        let mut watch = self.watch.lock();
        watch.stopped = true;
        if let Some(say) = watch.waiting.take() {
            // It has been answered already.
            let _ = say.try_send(Word::Stop);
        }
    }

    fn begin(&self, say: SyncSender<Word>) -> bool {
        let mut watch = self.watch.lock();
        if !watch.stopped {
            watch.waiting = Some(say);
        }
        !watch.stopped
    }

    fn command(&self) -> Command {
        let Program { path, arguments, environment } = &self.program;
        let mut command = Command::new(path);
        command
            .args(arguments)
            .args([self.limits.cpu_seconds(), self.limits.memory_bytes].map(|limit| limit.to_string()))
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// What it means that the child ended so.
    fn answer(
        &self,
        written: io::Result<Vec<u8>>,
        status: ExitStatus,
        said: String,
    ) -> Result<Code, CompileError> {
        let CompileLimits { memory_bytes: bytes, .. } = self.limits;
        let is_signal = |signal: Signal| status.signal() == Some(signal.as_raw());
        if status.success() {
            return written.map(Code::from_child).map_err(CompileError::Start);
        }
        if status.code() == Some(REFUSED.into()) {
            return Err(CompileError::Invalid(said));
        }
        if is_signal(Signal::XCPU) {
            return Err(CompileError::Cpu { seconds: self.limits.cpu_seconds() });
        }
        if status.code() == Some(NO_MEMORY.into()) || is_signal(Signal::ABORT) && said.contains(OUT_OF_MEMORY)
        {
            return Err(CompileError::Memory { bytes });
        }
        let said = if said.is_empty() { said } else { format!(": {said}") };
        Err(CompileError::Died { status, said })
    }
}

/// Gives the child its component and takes what it writes, at most `most` bytes. A child that ends early breaks the
/// pipe, and tells why by its code.
fn exchange((mut stdin, stdout): (ChildStdin, ChildStdout), wasm: &[u8], most: u64) -> io::Result<Vec<u8>> {
    match stdin.write_all(wasm) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => drop(stdin),
    }
    let mut code = Vec::new();
    stdout.take(most).read_to_end(&mut code)?;
    Ok(code)
}

/// What the child says, up to a bound; the rest is read and dropped.
fn words_of(mut stderr: ChildStderr) -> String {
    let mut words = Vec::new();
    let read = stderr.by_ref().take(COMPILE_WORDS_BYTES).read_to_end(&mut words);
    if let Err(error) = read.and_then(|_| io::copy(&mut stderr, &mut io::sink())) {
        tracing::debug!("reading what the compiler says: {error}");
    }
    String::from_utf8_lossy(&words).trim().to_owned()
}

/// A running child. Killed when dropped.
struct Child(std::process::Child);

struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

impl Child {
    fn start(mut command: Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    fn pipes(&mut self) -> Pipes {
        let taken = "the command asks for the pipe, and it is taken once";
        Pipes {
            stdin: self.0.stdin.take().expect(taken),
            stdout: self.0.stdout.take().expect(taken),
            stderr: self.0.stderr.take().expect(taken),
        }
    }

    fn kill(&mut self) {
        if let Err(error) = self.0.kill() {
            tracing::error!(pid = self.0.id(), "ending the process that compiles: {error}");
        }
    }

    fn wait(mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already, and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
