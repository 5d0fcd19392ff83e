//! How results and errors are shown. Knows no command.

use std::io::{self, Write};

use anyhow::Result;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

/// How results are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: JSON, as the API has it.
    Json,
}

/// A column of a table: its heading, and where its cells lie in the rows.
pub(crate) type Column = (&'static str, &'static str);

impl Output {
    /// Shows a list of objects, one row each.
    pub(crate) fn rows(self, rows: &Value, columns: &[Column]) -> Result<()> {
        match self {
            Self::Json => json_text(rows),
            Self::Table => {
                let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
                line(&table(rows, columns))
            }
        }
    }

    /// Shows one object: its fields, then the rows of one of its lists.
    pub(crate) fn object(self, object: &Value, list: (&str, &[Column])) -> Result<()> {
        if self == Self::Json {
            return json_text(object);
        }
        for (name, value) in object.as_object().into_iter().flatten() {
            if name != list.0 && !value.is_null() {
                line(&format!("{name:14} {}", cell(value)))?;
            }
        }
        match object[list.0].as_array() {
            Some(rows) if !rows.is_empty() => line(&format!("\n{}", table(rows, list.1))),
            _ => Ok(()),
        }
    }

    /// Says what was done: `text` for people, `value` for programs.
    pub(crate) fn done(self, text: &str, value: &Value) -> Result<()> {
        match self {
            Self::Json => json_text(value),
            Self::Table => line(text),
        }
    }

    /// Says why the command failed.
    pub(crate) fn error(self, error: &anyhow::Error) {
        let message = chain(error);
        // Nothing can be said about an error of saying an error.
        let _ = match self {
            Self::Json => writeln!(io::stderr(), "{}", json!({ "error": message })),
            Self::Table => writeln!(io::stderr(), "error: {message}"),
        };
    }
}

fn json_text(value: &Value) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

/// The messages of an error and its causes. The mark that carries the exit code says nothing of its own.
fn chain(error: &anyhow::Error) -> String {
    let causes = error.chain().filter(|cause| cause.downcast_ref::<crate::exit::Failure>().is_none());
    let mut messages: Vec<String> = Vec::new();
    for cause in causes.map(ToString::to_string) {
        if messages.last().is_none_or(|last| !last.ends_with(&cause)) {
            messages.push(cause);
        }
    }
    messages.join(": ")
}

fn table(rows: &[Value], columns: &[Column]) -> String {
    if rows.is_empty() {
        return "nothing there yet".to_owned();
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|(heading, _)| heading.to_uppercase()));
    for row in rows {
        table.add_row(columns.iter().map(|(_, pointer)| row.pointer(pointer).map(cell).unwrap_or_default()));
    }
    for (index, (_, pointer)) in columns.iter().enumerate() {
        let numbers = rows.iter().all(|row| row.pointer(pointer).is_none_or(Value::is_number));
        if let Some(column) = table.column_mut(index).filter(|_| numbers) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A value as people write it: lists with commas, numbers with thousands apart, no quotes.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), thousands),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A number with its thousands apart.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a line to standard output.
pub(crate) fn line(text: &str) -> Result<()> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_707), "1,707");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn a_table_has_a_row_for_each_entry() {
        let rows = [json!({"name": "quakes", "n": 1707}), json!({"name": "a", "n": 2})];
        let table = table(&rows, &[("topic", "/name"), ("events", "/n"), ("none", "/x")]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].contains("quakes") && lines[1].contains("1,707"), "{table}");
    }
}
