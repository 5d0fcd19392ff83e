//! `tidemill handlers`.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::HandlersCommand;
use crate::client::Client;
use crate::output::{Column, Output};

const LIST: &[Column] = &[
    ("handler", "/name"),
    ("state", "/state"),
    ("version", "/brief"),
    ("inputs", "/inputs"),
    ("lag", "/lag"),
    ("in", "/eventsIn"),
    ("out", "/eventsOut"),
    ("dead", "/deadLetters"),
    ("error", "/error"),
];
const PARTITIONS: &[Column] = &[
    ("topic", "/topic"),
    ("partition", "/partition"),
    ("position", "/position"),
    ("end", "/end"),
    ("lag", "/lag"),
    ("attempts", "/attempts"),
    ("stopped", "/stopped"),
];

pub(crate) async fn handlers(
    client: &Client,
    command: Option<HandlersCommand>,
    output: Output,
) -> Result<()> {
    match command.unwrap_or(HandlersCommand::List) {
        HandlersCommand::List => {
            let mut handlers = client.get(&["v1", "handlers"]).await?;
            if output == Output::Table {
                handlers.as_array_mut().into_iter().flatten().for_each(add_brief_version);
            }
            output.rows(&handlers, LIST)
        }
        HandlersCommand::Show { handler } => {
            output.object(&client.get(&["v1", "handlers", &handler]).await?, ("partitions", PARTITIONS))
        }
        HandlersCommand::Pause { handler } => {
            post(client, [&handler, "pause"], &json!({})).await.and_then(|shown| {
                output.done(
                    &format!("{handler} is paused; `tidemill handlers resume {handler}` goes on"),
                    &shown,
                )
            })
        }
        HandlersCommand::Resume { handler } => post(client, [&handler, "resume"], &json!({}))
            .await
            .and_then(|shown| output.done(&format!("{handler} goes on"), &shown)),
        HandlersCommand::AdoptState { handler } => {
            post(client, [&handler, "adopt-state"], &json!({})).await.and_then(|shown| {
                output.done(&format!("{handler} goes on with the state that there is"), &shown)
            })
        }
        HandlersCommand::Seek { handler, to, topic, partition } => {
            let wanted = json!({ "to": to, "topic": topic, "partition": partition });
            let shown = post(client, [&handler, "seek"], &wanted).await?;
            output.done(&format!("{handler} reads on from {to}"), &shown)
        }
    }
}

async fn post(client: &Client, [handler, verb]: [&str; 2], body: &Value) -> Result<Value> {
    client.json(client.request(Method::POST, &["v1", "handlers", handler, verb])?.json(body)).await
}

/// The first digits of a version tell it apart; the whole does not fit a row.
fn add_brief_version(handler: &mut Value) {
    let brief = handler["version"].as_str().and_then(|version| version.get(..12)).unwrap_or_default();
    handler["brief"] = brief.to_owned().into();
}
