//! `tidemill publish`: a file or standard input, in requests that the runtime takes, each sent until it is
//! committed and never committed twice.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::args::PublishArgs;
use crate::client::{Client, Problem};
use crate::exit::{Failure, failed};
use crate::output::{Output, thousands};

/// Bytes of a request: as much as a disk syncs at once, so that few syncs are needed.
const REQUEST_BYTES: usize = 1 << 20;

/// Bytes of the longest line that is sent: the runtime's limit of an event.
const LINE_BYTES_MAX: usize = 4 << 20;

/// How often a request is sent before the command gives up.
const ATTEMPTS: u32 = 10;

/// The pause after the first attempt; it doubles, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(100);

const PAUSE_MAX: Duration = Duration::from_secs(5);

pub(crate) async fn publish(client: &Client, args: PublishArgs, output: Output) -> Result<()> {
    let name = args.file.display().to_string();
    let input = open(&args.file)?;
    let is_json = args.file.extension().is_some_and(|extension| extension == "json");
    let mut sender = Sender::new(client, &args);
    let started = Instant::now();
    let progress = progress();
    if is_json {
        sender.whole(input).await.with_context(|| format!("publishing {name} failed"))?;
    } else {
        let mut pieces = Pieces::new(input);
        while let Some(lines) = pieces.next().with_context(|| format!("reading {name} failed"))? {
            sender.lines(lines, &name).await?;
            progress.set_position(sender.events);
        }
    }
    progress.finish_and_clear();
    summary(&args.topic, sender.events, started.elapsed(), output)
}

fn summary(topic: &str, events: u64, elapsed: Duration, output: Output) -> Result<()> {
    let seconds = elapsed.as_secs_f64();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    let per_second = (events as f64 / seconds.max(1e-6)) as u64;
    let text = format!(
        "published {} events to {topic} in {seconds:.1} s ({} per second)",
        thousands(events),
        thousands(per_second)
    );
    output.done(
        &text,
        &json!({ "topic": topic, "events": events, "seconds": seconds, "eventsPerSecond": per_second }),
    )
}

fn open(path: &Path) -> Result<Box<dyn Read>> {
    if path == Path::new("-") {
        if io::stdin().is_terminal() {
            eprintln!("reading events from the terminal, one JSON value a line; end with Ctrl-D");
        }
        return Ok(Box::new(io::stdin().lock()));
    }
    let open = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed(Failure::NotFound, format!("there is no file {}", path.display())),
        _ => anyhow!(error).context(format!("cannot open {}", path.display())),
    });
    Ok(Box::new(open?))
}

/// Shown on a terminal only.
fn progress() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} events, {per_sec}");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// Sends requests of one run of the command.
struct Sender<'a> {
    client: &'a Client,
    topic: &'a str,
    query: Vec<(&'static str, &'a str)>,
    run: u64,
    sent: u64,
    lines: u64,
    events: u64,
}

impl<'a> Sender<'a> {
    fn new(client: &'a Client, args: &'a PublishArgs) -> Self {
        let fields = [("key", &args.key), ("time", &args.time), ("headers", &args.headers)];
        let query = fields.iter().filter_map(|(name, pointer)| Some((*name, pointer.as_deref()?))).collect();
        // Two runs of the command must not be taken for one: the standard library's random keys tell them apart.
        let run = RandomState::new().build_hasher().finish();
        Self { client, topic: &args.topic, query, run, sent: 0, lines: 0, events: 0 }
    }

    /// Sends everything as one JSON value or array.
    async fn whole(&mut self, mut input: Box<dyn Read>) -> Result<()> {
        let mut body = Vec::new();
        input.read_to_end(&mut body)?;
        self.send("application/json", body).await
    }

    /// Sends lines; an error tells the line of the whole input.
    async fn lines(&mut self, lines: Vec<u8>, name: &str) -> Result<()> {
        let count = lines.split(|&byte| byte == b'\n').count() as u64 - 1;
        self.send("application/x-ndjson", lines).await.map_err(|error| self.placed(error, name))?;
        self.lines += count;
        Ok(())
    }

    /// The error with its place in the input. What was sent before is published.
    fn placed(&self, error: anyhow::Error, name: &str) -> anyhow::Error {
        let before = format!("the {} events before it are published", thousands(self.events));
        match error.downcast_ref::<Problem>() {
            Some(Problem { line: Some(line), column: Some(column), detail, .. }) => {
                let what = detail.split_once(": ").map_or(detail.as_str(), |(_, what)| what);
                let what = what.split(';').next().unwrap_or(what);
                anyhow!("{name}:{}:{column}: {what}; {before}", self.lines + line)
            }
            _ => error.context(format!("publishing {name} failed after line {}; {before}", self.lines)),
        }
    }

    /// Sends a request until it is answered. An answer that was lost is asked for again under the same key.
    async fn send(&mut self, content_type: &str, body: Vec<u8>) -> Result<()> {
        let key = format!("cli-{:016x}-{}", self.run, self.sent);
        let mut pause = PAUSE;
        for attempt in 1.. {
            let request = self
                .client
                .request(Method::POST, &["v1", "topics", self.topic, "events"])?
                .query(&self.query)
                .header(header::CONTENT_TYPE, content_type)
                .header("idempotency-key", &key)
                .body(body.clone());
            match self.client.json(request).await {
                Ok(runs) => {
                    self.sent += 1;
                    self.events += counted(&runs);
                    return Ok(());
                }
                Err(error) if attempt < ATTEMPTS && may_pass(&error) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last attempt returns")
    }
}

/// Whether the same request may succeed later: the store was busy, or the connection broke after it stood.
fn may_pass(error: &anyhow::Error) -> bool {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return problem.status == StatusCode::SERVICE_UNAVAILABLE && problem.kind == "busy";
    }
    error.chain().any(|cause| {
        cause.downcast_ref::<reqwest::Error>().is_some_and(|error| !error.is_connect() && !error.is_builder())
    })
}

fn counted(runs: &Value) -> u64 {
    runs.as_array().into_iter().flatten().filter_map(|run| run["count"].as_u64()).sum()
}

/// An input in pieces of whole lines.
struct Pieces<R> {
    input: R,
    rest: Vec<u8>,
    ended: bool,
}

impl<R: Read> Pieces<R> {
    fn new(input: R) -> Self {
        Self { input, rest: Vec::new(), ended: false }
    }

    /// The next whole lines: about [`REQUEST_BYTES`] of them, or what has come when the input makes a pause.
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let whole = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
            if whole > 0 && (self.rest.len() >= REQUEST_BYTES || self.ended)
                || self.rest.len() > LINE_BYTES_MAX * 2
            {
                let end = if whole > 0 { whole } else { self.rest.len() };
                let rest = self.rest.split_off(end);
                return Ok(Some(std::mem::replace(&mut self.rest, rest)));
            }
            if self.ended {
                let rest = std::mem::take(&mut self.rest);
                return Ok((!rest.is_empty()).then_some(rest));
            }
            let mut piece = vec![0; 256 << 10];
            let read = self.input.read(&mut piece)?;
            self.ended = read == 0;
            self.rest.extend_from_slice(&piece[..read]);
            // A short read is a pause of a pipe or terminal: what is whole goes out now.
            if read > 0 && read < piece.len() && self.rest.ends_with(b"\n") {
                return Ok(Some(std::mem::take(&mut self.rest)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = Pieces::new(text);
        std::iter::from_fn(|| pieces.next().unwrap()).collect()
    }

    #[test]
    fn pieces_are_whole_lines_and_lose_nothing() {
        let text: Vec<u8> = (0..400_000).flat_map(|number| format!("{number}\n").into_bytes()).collect();
        let pieces = pieces(&text);
        assert!(pieces.len() > 1);
        assert!(pieces.iter().all(|piece| piece.ends_with(b"\n") && piece.len() < 2 * REQUEST_BYTES));
        assert_eq!(pieces.concat(), text);
    }

    #[test]
    fn a_last_line_needs_no_newline() {
        assert_eq!(pieces(b"1\n2"), [b"1\n".to_vec(), b"2".to_vec()]);
        assert!(pieces(b"").is_empty());
    }
}
