//! `list`, `list --summary`, `status`.

use meanwhile_api::list::{ListQuery, ListReply, StatusQuery, StatusReply, SummaryReply};
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_store::{Reader, StateCounts};

use super::{Answered, find_in, find_task};
use crate::engine::refusals::store_error;
use crate::find::Wanted;
use crate::http::caller::{Caller, forbidden, session_name};
use crate::http::context::Context;
use crate::http::exchange::{Asked, json, json_text};

/// Tasks that one `status` may ask for: more is a list.
const STATUS_MAX: usize = 1_000;
/// Longer lists are written a few tasks at a time.
const IN_MEMORY: u32 = 500;

pub(super) async fn list(context: &Context, asked: &Asked) -> Answered {
    let query: ListQuery = asked.query()?;
    if !query.state.is_empty() {
        context.settle_states().await?;
    }
    if query.limit() > IN_MEMORY {
        let (ids, total) = context.try_read(|reader| {
            let wanted = wanted(reader, &asked.caller, &query)?;
            wanted.list_ids(reader).map_err(|error| store_error(&error))
        })?;
        let reply = ListReply { tasks: Vec::new(), total };
        return Ok(json_text(context.with_tasks(&reply, &ids).await?));
    }
    let (records, total) = context.try_read(|reader| {
        wanted(reader, &asked.caller, &query)?.list(reader).map_err(|error| store_error(&error))
    })?;
    json(&ListReply { tasks: context.show(&records).await?, total })
}

pub(super) async fn summary(context: &Context, asked: &Asked) -> Answered {
    let query = asked.query()?;
    context.settle_states().await?;
    let counts = context.try_read(|reader| {
        wanted(reader, &asked.caller, &query)?.summary(reader).map_err(|error| store_error(&error))
    })?;
    json(&summary_reply(&counts))
}

pub(super) async fn status(context: &Context, asked: &Asked) -> Answered {
    let StatusQuery { id } = asked.query()?;
    if id.len() > STATUS_MAX {
        return Err(ApiError::new(
            ErrorCode::Usage,
            format!("more than {STATUS_MAX} tasks are asked for at once"),
        )
        .hint("use list with filters"));
    }
    let records = context.try_read(|reader| {
        id.iter()
            .map(|text| find_in(reader, &asked.caller, text.as_str()))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let ended = records.iter().filter(|r| r.state.is_terminal()).map(|r| r.id);
    context.seen(asked, &ended.collect::<Vec<_>>());
    json(&StatusReply { tasks: context.show(&records).await? })
}

pub(super) async fn task(context: &Context, asked: &Asked) -> Answered {
    let record = find_task(context, &asked.caller, &asked.id)?;
    if record.state.is_terminal() {
        context.seen(asked, &[record.id]);
    }
    let mut tasks = context.show(&[record]).await?;
    json(&tasks.pop().expect("one record makes one task object"))
}

pub(crate) fn wanted(
    reader: &mut dyn Reader,
    caller: &Caller,
    query: &ListQuery,
) -> Result<Wanted, ApiError> {
    let only = caller.only_session();
    if query.any_session && only.is_some() {
        return Err(forbidden("the tasks of all sessions are for people to see".into()));
    }
    if let Some(name) = &query.session {
        let session = session_name(name)?;
        if only.as_ref().is_some_and(|own| *own != session) {
            return Err(forbidden(format!("the tasks of session {session} are not yours to see")));
        }
    }
    Wanted::new(reader, query, only)
}

pub(crate) fn summary_reply(counts: &StateCounts) -> SummaryReply {
    SummaryReply {
        total: counts.iter().map(|(_, tasks)| tasks).sum(),
        states: counts.iter().map(|(state, tasks)| (state.name().to_owned(), tasks)).collect(),
    }
}
