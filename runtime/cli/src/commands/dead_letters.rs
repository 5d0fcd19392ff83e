//! `tidemill dead-letters`.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::DeadLettersCommand;
use crate::client::Client;
use crate::output::{Column, Output};

const OVERVIEW: &[Column] = &[("handler", "/handler"), ("dead letters", "/count"), ("topic", "/topic")];
const LETTERS: &[Column] = &[
    ("place", "/place"),
    ("kind", "/headers/tidemill-error-kind"),
    ("attempts", "/headers/tidemill-attempts"),
    ("topic", "/headers/tidemill-topic"),
    ("partition", "/headers/tidemill-partition"),
    ("offset", "/headers/tidemill-offset"),
    ("error", "/headers/tidemill-error"),
];

pub(crate) async fn dead_letters(
    client: &Client,
    command: Option<DeadLettersCommand>,
    output: Output,
) -> Result<()> {
    match command.unwrap_or(DeadLettersCommand::List { handler: None, limit: 0 }) {
        DeadLettersCommand::List { handler: None, .. } => {
            output.rows(&client.get(&["v1", "dead-letters"]).await?, OVERVIEW)
        }
        DeadLettersCommand::List { handler: Some(handler), limit } => {
            let request = client.request(Method::GET, &["v1", "dead-letters", &handler])?;
            let mut letters = client.json(request.query(&[("limit", limit)])).await?;
            letters.as_array_mut().into_iter().flatten().for_each(add_place);
            output.rows(&letters, LETTERS)
        }
        DeadLettersCommand::Show { handler, place } => {
            let (partition, offset) = (place.partition.to_string(), place.offset.to_string());
            let letter = client.get(&["v1", "dead-letters", &handler, &partition, &offset]).await?;
            output.object(&letter, ("", &[]))
        }
        DeadLettersCommand::Drop { handler, place } => {
            let wanted = match place {
                Some(place) => json!({ "partition": place.partition, "through": place.offset }),
                None => json!({}),
            };
            let request = client.request(Method::POST, &["v1", "dead-letters", &handler, "drop"])?;
            let dropped = client.json(request.json(&wanted)).await?;
            output.done(&format!("dropped {} dead letters of {handler}", dropped["dropped"]), &dropped)
        }
    }
}

fn add_place(letter: &mut Value) {
    letter["place"] = format!("{}:{}", letter["partition"], letter["offset"]).into();
}
