//! Operators' changes of metadata, each decided against what is committed and written as deltas. Knows no
//! journal: the committer writes what comes out.

use std::sync::Arc;

use super::view::View;
use crate::limits::{NOTE_BYTES_MAX, PARTITIONS_DEFAULT, PARTITIONS_MAX};
use crate::log::{Abort, AdminError, Topic};
use crate::store::Readers;
use crate::tables::{Deltas, HandlerRow, NextId, ProgressRow, TableId, TopicRow, topic_rest};
use crate::topics::{TopicSettings, check_name};
use crate::transaction::Progress;
use crate::{DriverKey, FrameNumber, HandlerId, Lane, Offset, TopicId, TopicPartition};

/// A change.
pub(crate) enum AdminOp {
    CreateTopic {
        name: String,
        partitions: Option<u32>,
        /// Of a topic that is new.
        settings: TopicSettings,
    },
    SetTopic {
        name: String,
        settings: TopicSettings,
    },
    DeleteTopic {
        name: String,
    },
    RaisePartitions {
        name: String,
        partitions: u32,
        readers: Readers,
    },
    RegisterHandler {
        name: String,
    },
    /// Deletes the group and the handler's id.
    DeleteGroup {
        name: String,
    },
    /// Lets the drivers of the group go on that were stopped by a broken change.
    RestoreGroup {
        name: String,
    },
    /// Gives the handler's name a new id without progress and state.
    ResetGroup {
        name: String,
    },
    /// Puts what the flow remembers of a handler in the place of what it remembered before.
    SetNote {
        handler: HandlerId,
        note: Vec<u8>,
    },
    Seek {
        handler: String,
        source: TopicPartition,
        to: Offset,
    },
}

/// What a change led to.
pub(crate) enum AdminDone {
    Topic(Topic),
    Handler(HandlerId),
    /// The drivers that go on, with the frames of the changes that stopped them.
    Restored(Vec<(DriverKey, FrameNumber)>),
    Nothing,
}

/// What is to be written before the change is true.
pub(super) struct Change {
    pub(super) done: AdminDone,
    /// Sections of deltas, each with its owner.
    pub(super) sections: Vec<(DriverKey, Vec<u8>)>,
    /// The handler whose drivers must read again.
    pub(super) fences: Option<HandlerId>,
}

impl Change {
    fn nothing(done: AdminDone) -> Self {
        Self { done, sections: Vec::new(), fences: None }
    }

    fn store(done: AdminDone, rows: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut section = Vec::new();
        rows(&mut section);
        Self { done, sections: vec![(DriverKey::NONE, section)], fences: None }
    }
}

/// Decides a change.
pub(super) fn decide(view: &View, op: AdminOp, now_ms: i64) -> Result<Change, AdminError> {
    match op {
        AdminOp::CreateTopic { name, partitions, settings } => {
            create_topic(view, name, partitions, (settings, now_ms))
        }
        AdminOp::SetTopic { name, settings } => {
            let (topic, row) = topic_row(view, &name)?;
            if row.settings == settings {
                return Ok(Change::nothing(AdminDone::Topic(topic)));
            }
            let row = TopicRow { settings, ..row };
            Ok(Change::store(AdminDone::Topic(topic.clone()), |rows| {
                Deltas::push(rows, TableId::Topics, &topic_rest(topic.id), Some(&row.encode()));
            }))
        }
        AdminOp::DeleteTopic { name } => {
            let topic = view.catalog.topic_named(&name).ok_or(AdminError::UnknownTopic(name))?;
            Ok(Change::store(AdminDone::Nothing, |rows| {
                Deltas::push(rows, TableId::Topics, &topic_rest(topic.id), None);
            }))
        }
        AdminOp::RaisePartitions { name, partitions, readers } => {
            raise_partitions(view, name, partitions, readers)
        }
        AdminOp::RegisterHandler { name } => {
            check_name(&name)?;
            if let Some(id) = view.catalog.handler_named(&name) {
                return Ok(Change::nothing(AdminDone::Handler(id)));
            }
            let id = HandlerId(view.catalog.next_id(NextId::Handler));
            Ok(Change::store(AdminDone::Handler(id), |rows| push_handler(rows, id, &name)))
        }
        AdminOp::DeleteGroup { name } => {
            let old = group(view, &name)?;
            let change = Change::store(AdminDone::Nothing, |rows| drop_handler(rows, old));
            Ok(Change { fences: Some(old), ..change })
        }
        AdminOp::ResetGroup { name } => {
            let old = group(view, &name)?;
            let id = HandlerId(view.catalog.next_id(NextId::Handler));
            let change = Change::store(AdminDone::Handler(id), |rows| {
                drop_handler(rows, old);
                push_handler(rows, id, &name);
            });
            Ok(Change { fences: Some(old), ..change })
        }
        AdminOp::RestoreGroup { name } => {
            let handler = group(view, &name)?;
            if let Some(why) = view.unreadable.get(&handler) {
                let what = format!("{}: nothing tells how far {name} has come, reset it", *why);
                return Err(Abort::Tables(what.into()).into());
            }
            let drivers = view.stopped(handler);
            let section = |&(driver, _): &(DriverKey, FrameNumber)| {
                let mut section = Vec::new();
                Deltas::push(&mut section, TableId::Broken, b"", None);
                (driver, section)
            };
            let sections = drivers.iter().map(section).collect();
            Ok(Change { done: AdminDone::Restored(drivers), sections, fences: Some(handler) })
        }
        AdminOp::SetNote { handler, note } => set_note(view, handler, &note),
        AdminOp::Seek { handler, source, to } => seek(view, &handler, source, to),
    }
}

fn group(view: &View, name: &str) -> Result<HandlerId, AdminError> {
    view.catalog.handler_named(name).ok_or_else(|| AdminError::UnknownGroup(name.to_owned()))
}

fn create_topic(
    view: &View,
    name: String,
    partitions: Option<u32>,
    (settings, created_ms): (TopicSettings, i64),
) -> Result<Change, AdminError> {
    check_name(&name)?;
    if let Some(topic) = view.catalog.topic_named(&name) {
        return match partitions {
            Some(asked) if asked != topic.partitions => {
                Err(AdminError::Exists { name, partitions: topic.partitions })
            }
            _ => Ok(Change::nothing(AdminDone::Topic(topic))),
        };
    }
    let asked = partitions.unwrap_or(PARTITIONS_DEFAULT);
    check_partitions(&name, asked)?;
    let id = TopicId(view.catalog.next_id(NextId::Topic));
    let name: Arc<str> = name.into();
    let row = TopicRow { name: Arc::clone(&name), partitions: asked, created_ms, settings };
    Ok(Change::store(AdminDone::Topic(Topic { id, name, partitions: asked }), |rows| {
        Deltas::push(rows, TableId::NextIds, &[NextId::Topic as u8], Some(&NextId::encode(id.0 + 1)));
        Deltas::push(rows, TableId::Topics, &topic_rest(id), Some(&row.encode()));
    }))
}

fn topic_row(view: &View, name: &str) -> Result<(Topic, TopicRow), AdminError> {
    let topic = view.catalog.topic_named(name);
    let row = topic.and_then(|topic| Some((topic.clone(), view.catalog.topic_row(topic.id)?)));
    row.ok_or_else(|| AdminError::UnknownTopic(name.to_owned()))
}

fn check_partitions(name: &str, asked: u32) -> Result<(), AdminError> {
    if asked == 0 || asked > PARTITIONS_MAX {
        let rule = "a topic has 1 to 10,000 partitions";
        return Err(AdminError::Partitions { name: name.to_owned(), asked, rule });
    }
    Ok(())
}

fn raise_partitions(
    view: &View,
    name: String,
    partitions: u32,
    readers: Readers,
) -> Result<Change, AdminError> {
    let (topic, row) = topic_row(view, &name)?;
    check_partitions(&name, partitions)?;
    if partitions < topic.partitions {
        let rule = "the number of partitions is never lowered";
        return Err(AdminError::Partitions { name, asked: partitions, rule });
    }
    match readers {
        _ if partitions == topic.partitions => return Ok(Change::nothing(AdminDone::Topic(topic))),
        Readers::Bound(handlers) if !handlers.is_empty() => return Err(AdminError::Bound { name, handlers }),
        Readers::Bound(_) | Readers::Forced => {}
    }
    let row = TopicRow { partitions, ..row };
    Ok(Change::store(AdminDone::Topic(Topic { partitions, ..topic }), |rows| {
        Deltas::push(rows, TableId::Topics, &topic_rest(topic.id), Some(&row.encode()));
    }))
}

fn push_handler(rows: &mut Vec<u8>, id: HandlerId, name: &str) {
    let row = HandlerRow { name: name.into() };
    Deltas::push(rows, TableId::NextIds, &[NextId::Handler as u8], Some(&NextId::encode(id.0 + 1)));
    Deltas::push(rows, TableId::Handlers, &id.0.to_be_bytes(), Some(&row.encode()));
}

fn drop_handler(rows: &mut Vec<u8>, id: HandlerId) {
    Deltas::push(rows, TableId::Handlers, &id.0.to_be_bytes(), None);
}

fn set_note(view: &View, handler: HandlerId, note: &[u8]) -> Result<Change, AdminError> {
    if !view.catalog.handler_lives(handler) {
        return Err(AdminError::UnknownGroup(format!("of handler {handler}")));
    }
    if note.len() > NOTE_BYTES_MAX {
        return Err(Abort::TooLarge { bytes: note.len(), limit: NOTE_BYTES_MAX }.into());
    }
    Ok(Change::store(AdminDone::Nothing, |rows| {
        Deltas::push(rows, TableId::Notes, &handler.0.to_be_bytes(), Some(note));
    }))
}

/// Sets the progress of every lane that the handler has in the partition, of lane 0 if it has none.
fn seek(view: &View, name: &str, source: TopicPartition, to: Offset) -> Result<Change, AdminError> {
    let handler = group(view, name)?;
    let topic = view.catalog.topic(source.topic);
    if topic.is_none_or(|topic| source.partition.0 >= topic.partitions) {
        return Err(AdminError::UnknownTopic(source.to_string()));
    }
    let stops =
        |driver: &DriverKey| driver.partition == source.partition || *driver == DriverKey::all_of(handler);
    if let Some((driver, _)) = view.stopped(handler).iter().find(|(driver, _)| stops(driver)) {
        return Err(AdminError::Stopped(*driver));
    }
    let mut lanes: Vec<Lane> = view
        .groups
        .of_handler(handler)
        .into_iter()
        .filter(|(driver, _)| driver.partition == source.partition)
        .map(|(driver, _)| driver.lane)
        .collect();
    if lanes.is_empty() {
        lanes.push(Lane(0));
    }
    let row = ProgressRow(Progress { next: to, ..Progress::default() }).encode();
    let section = |lane| {
        let mut section = Vec::new();
        Deltas::push(&mut section, TableId::Progress, &topic_rest(source.topic), Some(&row));
        (DriverKey { handler, partition: source.partition, lane }, section)
    };
    let sections = lanes.into_iter().map(section).collect();
    Ok(Change { done: AdminDone::Nothing, sections, fences: Some(handler) })
}
