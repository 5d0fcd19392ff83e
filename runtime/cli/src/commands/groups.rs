//! `tidemill groups`.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use crate::args::GroupsCommand;
use crate::client::Client;
use crate::output::{Column, Output};

const LIST: &[Column] = &[("group", "/name"), ("topics", "/topics"), ("lag", "/lag")];
const PARTITIONS: &[Column] = &[
    ("topic", "/topic"),
    ("partition", "/partition"),
    ("position", "/position"),
    ("end", "/end"),
    ("lag", "/lag"),
];

pub(crate) async fn groups(client: &Client, command: Option<GroupsCommand>, output: Output) -> Result<()> {
    match command.unwrap_or(GroupsCommand::List) {
        GroupsCommand::List => output.rows(&client.get(&["v1", "groups"]).await?, LIST),
        GroupsCommand::Show { group } => {
            output.object(&client.get(&["v1", "groups", &group]).await?, ("partitions", PARTITIONS))
        }
        GroupsCommand::Restore { group } => {
            let request = client.request(Method::POST, &["v1", "groups", &group, "restore"])?;
            let shown = client.json(request).await?;
            output.done(&format!("group {group} goes on from what it was before the broken change"), &shown)
        }
        GroupsCommand::Reset { group } => {
            let request = client.request(Method::POST, &["v1", "groups", &group, "reset"])?;
            let shown = client.json(request).await?;
            output.done(&format!("group {group} begins anew, without progress and state"), &shown)
        }
        GroupsCommand::Delete { group } => {
            client.send(client.request(Method::DELETE, &["v1", "groups", &group])?).await?;
            output.done(
                &format!("group {group} is deleted, with its progress and state"),
                &json!({ "deleted": group }),
            )
        }
    }
}
