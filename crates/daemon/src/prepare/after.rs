//! Which tasks a task runs after: ids, prefixes and names of kept tasks, or names within the batch.
//!
//! Owns the lookup. Whether the circle closes is the core's to find.

use std::collections::HashMap;

use meanwhile_api::submit::{After, Condition as Wire, NewTask};
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::spec::{Condition, Dependency};
use meanwhile_core::{SessionId, TaskId};
use meanwhile_store::Reader;

use super::words::plain;
use crate::engine::refusals::store_error;
use crate::find;

/// The names of a batch's entries.
pub(super) struct Names<'a>(HashMap<&'a str, Named>);

#[derive(Clone, Copy)]
enum Named {
    One(TaskId),
    Several,
}

impl<'a> Names<'a> {
    pub(super) fn of(tasks: &'a [NewTask], ids: &[TaskId]) -> Self {
        let mut names = HashMap::new();
        for (task, id) in tasks.iter().zip(ids) {
            if let Some(name) = &task.name {
                names
                    .entry(name.as_str())
                    .and_modify(|named| *named = Named::Several)
                    .or_insert(Named::One(*id));
            }
        }
        Self(names)
    }
}

/// Finds tasks, each text once per batch.
pub(super) struct Resolver<'a> {
    names: Names<'a>,
    only_session: Option<SessionId>,
    known: HashMap<String, TaskId>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(names: Names<'a>, only_session: Option<SessionId>) -> Self {
        Self { names, only_session, known: HashMap::new() }
    }

    pub(super) fn resolve(
        &mut self,
        reader: &mut dyn Reader,
        after: &[After],
    ) -> Result<Vec<Dependency>, ApiError> {
        let mut found: Vec<Dependency> = Vec::with_capacity(after.len());
        for After { id, condition } in after {
            let task = self.find(reader, id.as_str())?;
            let condition = match condition {
                Wire::Ok => Condition::Ok,
                Wire::Any => Condition::Any,
                Wire::Fail => Condition::Fail,
            };
            let dependency = Dependency { task, condition };
            if !found.contains(&dependency) {
                found.push(dependency);
            }
        }
        Ok(found)
    }

    fn find(&mut self, reader: &mut dyn Reader, text: &str) -> Result<TaskId, ApiError> {
        match self.names.0.get(text) {
            Some(Named::One(id)) => return Ok(*id),
            Some(Named::Several) => {
                return Err(ApiError::new(
                    ErrorCode::Ambiguous,
                    format!("several tasks of the batch are called `{}`", plain(text)),
                )
                .hint("give them different names"));
            }
            None => {}
        }
        if let Some(id) = self.known.get(text) {
            return Ok(*id);
        }
        let id = find::task(reader, text).map_err(|error| {
            let hint = "--after takes the id or name of a kept task, or a name of the same batch";
            error.hint(hint)
        })?;
        self.check_session(reader, id)?;
        self.known.insert(text.to_owned(), id);
        Ok(id)
    }

    fn check_session(&self, reader: &mut dyn Reader, id: TaskId) -> Result<(), ApiError> {
        let Some(session) = &self.only_session else { return Ok(()) };
        let record = reader.task(id).map_err(|error| store_error(&error))?;
        match record {
            Some(record) if record.placement.session != *session => Err(ApiError::new(
                ErrorCode::Forbidden,
                format!("task {id} belongs to another session"),
            )
            .hint("tasks and agents see and change the tasks of their own session")),
            _ => Ok(()),
        }
    }
}
