//! `audit --asked`: who asked for what. For people: it names the processes of everybody.

use meanwhile_api::audit::AuditQuery;
use meanwhile_api::{ApiError, ErrorCode};

use super::{Answered, find_task};
use crate::http::caller::session_name;
use crate::http::context::Context;
use crate::http::exchange::{Asked, json};
use crate::view::wire_id;

pub(super) fn audit(context: &Context, asked: &Asked) -> Answered {
    asked.caller.must_be_person("the audit")?;
    let mut query: AuditQuery = asked.query()?;
    if let Some(session) = &query.session {
        query.session = Some(session_name(session)?.to_string());
    }
    let mut unknown = None;
    if let Some(task) = &query.task {
        // One that was deleted is known by its whole id still.
        match find_task(context, &asked.caller, task.as_str()) {
            Ok(record) => query.task = Some(wire_id(record.id)),
            Err(error) if error.code == ErrorCode::NoSuchTask => unknown = Some(error),
            Err(error) => return Err(error),
        }
    }
    let reply = context.trail.read(&query).map_err(|error| {
        ApiError::new(ErrorCode::Store, format!("the audit cannot be read: {error}"))
            .hint("check the directory logs in the home")
    })?;
    match unknown {
        Some(error) if reply.entries.is_empty() => Err(error),
        Some(_) | None => json(&reply),
    }
}
