//! `tidemill topics`.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use crate::args::TopicsCommand;
use crate::client::Client;
use crate::output::{Column, Output};

const LIST: &[Column] = &[("topic", "/name"), ("partitions", "/partitions"), ("events", "/events")];
const RANGES: &[Column] = &[("partition", "/partition"), ("start", "/start"), ("end", "/end")];

pub(crate) async fn topics(client: &Client, command: Option<TopicsCommand>, output: Output) -> Result<()> {
    match command.unwrap_or(TopicsCommand::List) {
        TopicsCommand::List => output.rows(&client.get(&["v1", "topics"]).await?, LIST),
        TopicsCommand::Show { topic } => {
            output.object(&client.get(&["v1", "topics", &topic]).await?, ("ranges", RANGES))
        }
        TopicsCommand::Create { topic, partitions } => {
            let request = client.request(Method::PUT, &["v1", "topics", &topic])?;
            let wanted =
                partitions.map_or_else(|| json!({}), |partitions| json!({ "partitions": partitions }));
            let created = client.json(request.json(&wanted)).await?;
            output.done(&format!("topic {topic} has {} partitions", created["partitions"]), &created)
        }
        TopicsCommand::Delete { topic } => {
            client.send(client.request(Method::DELETE, &["v1", "topics", &topic])?).await?;
            output.done(&format!("topic {topic} is deleted"), &json!({ "deleted": topic }))
        }
    }
}
