//! `tidemill tail`: events as lines, until there are no more or whoever reads them has had enough.

use std::io::{self, Write};

use anyhow::{Result, anyhow};
use futures_util::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::args::TailArgs;
use crate::client::{Client, Problem};
use crate::output::Output;

pub(crate) async fn tail(client: &Client, args: TailArgs, output: Output) -> Result<()> {
    let from = args.from.unwrap_or_else(|| if args.follow { "latest" } else { "earliest" }.to_owned());
    let mut query = vec![("from", from)];
    query.extend(args.partition.map(|partition| ("partition", partition.to_string())));
    query.extend(args.limit.map(|limit| ("limit", limit.to_string())));
    query.extend(args.follow.then(|| ("follow", "true".to_owned())));
    let request = client.request(Method::GET, &["v1", "topics", &args.topic, "events"])?.query(&query);
    let mut body = client.send(request).await?.bytes_stream();
    let mut rest = Vec::new();
    let mut failed = None;
    while let Some(piece) = body.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return Err(failed.unwrap_or_else(|| client.unreached(error))),
        };
        rest.extend_from_slice(&piece);
        let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        failed = show(&rest[..whole], output)?.or(failed);
        rest.drain(..whole);
    }
    failed.map_or(Ok(()), Err)
}

/// Shows whole lines. A line that says why there are no more of them is returned as the error that it is.
fn show(lines: &[u8], output: Output) -> Result<Option<anyhow::Error>> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut failed = None;
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b"{\"problem\":") {
            let json: Value = serde_json::from_slice(line)?;
            failed = Some(anyhow!(Problem::of_json(StatusCode::INTERNAL_SERVER_ERROR, &json["problem"])));
        } else if output == Output::Json {
            out.write_all(line)?;
        } else {
            out.write_all(brief(line)?.as_bytes())?;
        }
    }
    out.flush()?;
    Ok(failed)
}

/// An event on a line for people: place, time, key, value.
fn brief(line: &[u8]) -> Result<String> {
    #[derive(serde::Deserialize)]
    struct Shown<'a> {
        partition: u32,
        offset: u64,
        time: i64,
        key: Option<String>,
        #[serde(borrow)]
        value: &'a serde_json::value::RawValue,
    }
    let event: Shown<'_> = serde_json::from_slice(line)?;
    let time = jiff::Timestamp::from_millisecond(event.time)
        .map_or_else(|_| event.time.to_string(), |time| format!("{time:.3}"));
    let key = event.key.map(|key| format!("  {key}")).unwrap_or_default();
    Ok(format!("{}:{}  {time}{key}  {}\n", event.partition, event.offset, event.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_shown_on_one_line() {
        let line =
            br#"{"partition":3,"offset":9,"time":0,"appendTime":1,"key":"k","headers":{},"value":{"a": 1}}"#;
        assert_eq!(brief(line).unwrap(), "3:9  1970-01-01T00:00:00.000Z  k  {\"a\": 1}\n");
    }
}
