//! `tidemill topics`.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::TopicsCommand;
use crate::client::Client;
use crate::output::{Column, Output};

const LIST: &[Column] =
    &[("topic", "/name"), ("partitions", "/partitions"), ("events", "/events"), ("bytes", "/bytes")];
const RANGES: &[Column] =
    &[("partition", "/partition"), ("start", "/start"), ("end", "/end"), ("bytes", "/bytes")];

pub(crate) async fn topics(client: &Client, command: Option<TopicsCommand>, output: Output) -> Result<()> {
    match command.unwrap_or(TopicsCommand::List) {
        TopicsCommand::List => output.rows(&client.get(&["v1", "topics"]).await?, LIST),
        TopicsCommand::Show { topic } => {
            output.object(&client.get(&["v1", "topics", &topic]).await?, ("ranges", RANGES))
        }
        TopicsCommand::Create { topic, partitions, compact, compression } => {
            let mut wanted = json!({});
            if let Some(partitions) = partitions {
                wanted["partitions"] = partitions.into();
            }
            if compact {
                wanted["policy"] = "compact".into();
            }
            if let Some(compression) = compression {
                wanted["compression"] = compression.into();
            }
            put(client, &topic, (&wanted, false), output).await
        }
        TopicsCommand::Raise { topic, partitions, force } => {
            // A name that was mistyped is not to become a topic.
            client.get(&["v1", "topics", &topic]).await?;
            put(client, &topic, (&json!({ "partitions": partitions }), force), output).await
        }
        TopicsCommand::Delete { topic } => {
            client.send(client.request(Method::DELETE, &["v1", "topics", &topic])?).await?;
            output.done(&format!("topic {topic} is deleted"), &json!({ "deleted": topic }))
        }
    }
}

/// Has a topic be as it is wanted.
async fn put(client: &Client, topic: &str, (wanted, force): (&Value, bool), output: Output) -> Result<()> {
    let request = client.request(Method::PUT, &["v1", "topics", topic])?.query(&[("force", force)]);
    let now = client.json(request.json(wanted)).await?;
    output.done(&format!("topic {topic} has {} partitions", now["partitions"]), &now)
}
