//! A `tidemill run` of its own for each test, on a free port, in a directory that goes with it.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use reqwest::blocking::{Client, RequestBuilder};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tidemill");

/// A running runtime. Killed when dropped.
pub(crate) struct Mill {
    child: Child,
    url: String,
    client: Client,
    dir: TempDir,
}

impl Mill {
    /// Starts one in a directory of its own.
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &[])
    }

    /// Starts one in a directory, with more arguments.
    pub(crate) fn start_in(dir: TempDir, args: &[&str]) -> Self {
        let mut child = run_command(dir.path()).args(args).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        let url = loop {
            let from = said.len();
            if out.read_line(&mut said).unwrap() == 0 {
                let mut error = String::new();
                child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
                panic!("the runtime ended at its start: {said}{error}");
            }
            if let Some((_, url)) = said[from..].split_once("listens on ") {
                break url.trim().to_owned();
            }
        };
        // Read on, so that the child never waits for us.
        let err = child.stderr.take().unwrap();
        std::thread::spawn(move || out.lines().count());
        std::thread::spawn(move || BufReader::new(err).lines().count());
        let mill = Self { child, url, client: Client::builder().no_proxy().build().unwrap(), dir };
        mill.wait_until_ready();
        mill
    }

    fn wait_until_ready(&self) {
        let ready =
            || self.request(Method::GET, "/readyz").send().is_ok_and(|answer| answer.status().is_success());
        while !ready() {
            std::thread::yield_now();
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A connection of one's own to the API.
    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that the process holds, as the kernel counts them.
    pub(crate) fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Status and body of a request; a body that is no JSON is a JSON string.
    pub(crate) fn ask(&self, request: RequestBuilder) -> (StatusCode, Value) {
        let _ = self;
        let answer = request.send().unwrap();
        let status = answer.status();
        let text = answer.text().unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask(self.request(Method::GET, path))
    }

    /// Publishes lines.
    pub(crate) fn publish(&self, topic: &str, lines: &str) -> (StatusCode, Value) {
        let request = self.request(Method::POST, &format!("/v1/topics/{topic}/events"));
        self.ask(request.header("content-type", "application/x-ndjson").body(lines.to_owned()))
    }

    /// The events of a topic, one after the other.
    pub(crate) fn read(&self, topic: &str, query: &str) -> Vec<Value> {
        let answer = self.request(Method::GET, &format!("/v1/topics/{topic}/events?{query}")).send().unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().unwrap());
        answer.text().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The command against this runtime.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        Command::new(BINARY).args(["--url", &self.url]).args(args).output().unwrap()
    }

    /// Kills it, and starts it again in the same directory.
    pub(crate) fn kill_and_restart(self) -> Self {
        let dir = self.kill();
        Self::start_in(dir, &[])
    }

    /// SIGKILL; returns the directory.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// SIGTERM; returns whether it ended with 0.
    pub(crate) fn stop(mut self) -> (bool, TempDir) {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
        let status = self.child.wait().unwrap();
        (status.success(), std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap()))
    }
}

impl Drop for Mill {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `tidemill run` in `dir`, on a free port.
pub(crate) fn run_command(dir: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.current_dir(dir).args([
        "run",
        "--data",
        "data",
        "--plugins",
        "plugins",
        "--listen",
        "127.0.0.1:0",
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command printed to standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a command printed to standard output.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
