//! What a process is to suffer: lines of `name=value` in the file `plan`. Reads them; does nothing.

use std::collections::HashMap;
use std::path::PathBuf;

/// What a process is to suffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The directory whose files are watched.
    pub(crate) data: PathBuf,
    /// Decides what survives.
    pub(crate) seed: u64,
    /// What happens at the end.
    pub(crate) end: End,
    /// The end comes with this call below `below`; 0 for none: then it comes when standard input ends.
    pub(crate) at: u64,
    /// The folder of the data directory whose calls count; empty for all.
    pub(crate) below: String,
    /// What a sync does.
    pub(crate) syncs: Syncs,
}

/// What happens at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The power is cut: what was not synced survives in part.
    Cut,
    /// The process dies and the system lives on: everything reads back as written, but what was not synced
    /// may still be lost by the next process's power cut.
    Kill,
}

/// What a sync does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Syncs {
    /// Makes durable.
    Keep,
    /// Says that it made durable, and does not.
    Drop,
    /// As `Keep`, but for number `at` below `below`, which fails: its pages read back as written and are never
    /// written to the disk.
    FailOnce { below: String, at: u64 },
    /// As `Keep`, but below this folder every one fails so.
    FailAlways { below: String },
}

impl Plan {
    /// Reads a plan; the error names what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines: HashMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let get = |name: &str| lines.get(name).copied().ok_or_else(|| format!("the plan has no {name}"));
        let number = |name: &str| {
            let value = get(name)?;
            value.parse::<u64>().map_err(|_| format!("{name} of the plan is no number: {value}"))
        };
        Ok(Self {
            data: PathBuf::from(get("data")?),
            seed: number("seed")?,
            end: match get("end")? {
                "cut" => End::Cut,
                "kill" => End::Kill,
                other => return Err(format!("the plan ends with {other}")),
            },
            at: number("at")?,
            below: get("below")?.to_owned(),
            syncs: match get("syncs")? {
                "keep" => Syncs::Keep,
                "drop" => Syncs::Drop,
                "fail-once" => {
                    Syncs::FailOnce { below: get("fails-below")?.to_owned(), at: number("fails-at")? }
                }
                "fail-always" => Syncs::FailAlways { below: get("fails-below")?.to_owned() },
                other => return Err(format!("the plan's syncs are to {other}")),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_and_what_is_missing_is_named() {
        let text = "data=/d\nseed=7\nend=cut\nat=3\nbelow=journal\nsyncs=fail-once\nfails-below=journal\n";
        assert_eq!(Plan::parse(text), Err("the plan has no fails-at".to_owned()));
        let plan = Plan::parse(&format!("{text}fails-at=9\n")).unwrap();
        let expected = Plan {
            data: "/d".into(),
            seed: 7,
            end: End::Cut,
            at: 3,
            below: "journal".to_owned(),
            syncs: Syncs::FailOnce { below: "journal".to_owned(), at: 9 },
        };
        assert_eq!(plan, expected);
    }
}
