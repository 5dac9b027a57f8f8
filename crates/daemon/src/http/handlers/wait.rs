//! `wait`, and which tasks a selection means.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};

use meanwhile_api::select::Select;
use meanwhile_api::wait::{self as api, Verdict, WaitReply, WaitRequest};
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::input::Until;
use meanwhile_core::{Answer, GroupName, State, TaskId};
use meanwhile_store::{Filter, Reader};

use super::{Answered, find_in};
use crate::engine::refusals::store_error;
use crate::find::unfinished_states;
use crate::http::caller::{Caller, forbidden, session_name};
use crate::http::context::Context;
use crate::http::exchange::{Asked, json, json_text};
use crate::letters::WaitFor;

/// Tasks that one request may be about: as many as there may be unfinished.
const SELECTED_MAX: usize = 100_000;
/// Names that are looked up in one go.
const NAMED_AT_ONCE: usize = 256;
/// Tasks that an answer shows in full; more would be a list.
pub(super) const SHOWN_MAX: usize = 10_000;

pub(super) async fn wait(context: &Context, asked: &Asked, request: WaitRequest) -> Answered {
    let WaitRequest { select, any, until, timeout } = request;
    let targets = selected(context, &asked.caller, &select).await?;
    if targets.is_empty() {
        return json(&WaitReply { verdict: Verdict::Met, tasks: Vec::new() });
    }
    let wait = WaitFor {
        inside: asked.caller.task(),
        targets: targets.clone(),
        any,
        until: match until {
            api::Until::Done => Until::Done,
            api::Until::Ready => Until::Ready,
        },
        timeout: timeout.map(Into::into),
    };
    let answer = {
        let _one_more = Waiter::new(&context.waiters);
        context.postbox.wait(wait).await?
    };
    let over = |(id, state): &(TaskId, Option<State>)| state.map(|_| *id);
    context.seen(asked, &answer.states.iter().filter_map(over).collect::<Vec<_>>());
    let shown = &targets[..targets.len().min(SHOWN_MAX)];
    let reply = WaitReply { verdict: verdict(&answer, any, until), tasks: Vec::new() };
    Ok(json_text(context.with_tasks(&reply, shown).await?))
}

/// What the waiting came to. Met and over are two things: all may have ended, one of them badly.
fn verdict(answer: &Answer, any: bool, until: api::Until) -> Verdict {
    let all_well = || answer.states.iter().all(|(_, state)| *state == Some(State::Completed));
    match (answer.timed_out, answer.met) {
        (true, _) => Verdict::TimedOut,
        (false, true) if any || until == api::Until::Ready || all_well() => Verdict::Met,
        (false, true | false) => Verdict::NotMet,
    }
}

/// The tasks that a selection means, each once, in the order given.
pub(super) async fn selected(
    context: &Context,
    caller: &Caller,
    select: &Select,
) -> Result<Vec<TaskId>, ApiError> {
    match select {
        Select::Ids(texts) => named(context, caller, texts).await,
        Select::Group(_) | Select::Session(_) | Select::Own | Select::Everything => {
            context.try_read(|reader| described(reader, caller, select))
        }
    }
}

fn described(
    reader: &mut dyn Reader,
    caller: &Caller,
    select: &Select,
) -> Result<Vec<TaskId>, ApiError> {
    let unfinished = || Filter { states: unfinished_states(), ..Filter::default() };
    match select {
        Select::Ids(texts) => {
            texts.iter().map(|text| Ok(find_in(reader, caller, text.as_str())?.id)).collect()
        }
        Select::Group(name) => {
            let filter = Filter {
                group: Some(GroupName::new(name.as_str())),
                session: caller.only_session(),
                ..Filter::default()
            };
            let found = ids(reader, &filter)?;
            if found.is_empty() {
                return Err(ApiError::new(
                    ErrorCode::NotFound,
                    format!("no task in group `{name}`"),
                )
                .hint("meanwhile list shows groups"));
            }
            Ok(found)
        }
        Select::Session(name) => {
            let session = session_name(name)?;
            if caller.only_session().is_some_and(|own| own != session) {
                return Err(forbidden(format!("the tasks of session {session} are not yours")));
            }
            ids(reader, &Filter { session: Some(session), ..unfinished() })
        }
        Select::Own => match caller {
            Caller::Task { id, .. } => descendants(reader, *id),
            Caller::Session(session) => {
                ids(reader, &Filter { session: Some(session.clone()), ..unfinished() })
            }
            Caller::Person | Caller::Unseen => ids(reader, &unfinished()),
        },
        Select::Everything => {
            caller.must_be_person("everything of all sessions")?;
            ids(reader, &unfinished())
        }
    }
}

/// The tasks of these ids, prefixes and names, each looked up once, some at a time: others have their turn in between.
async fn named(
    context: &Context,
    caller: &Caller,
    texts: &[meanwhile_api::TaskId],
) -> Result<Vec<TaskId>, ApiError> {
    let mut asked = HashSet::new();
    let texts: Vec<_> = texts.iter().filter(|text| asked.insert(text.as_str())).cloned().collect();
    if texts.len() > SELECTED_MAX {
        return Err(ApiError::new(
            ErrorCode::Limit,
            format!("request is about more than {SELECTED_MAX} tasks"),
        )
        .hint("ask in parts, or for a group or session"));
    }
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for some in texts.chunks(NAMED_AT_ONCE) {
        let some = Select::Ids(some.to_vec());
        let ids = context.try_read(|reader| described(reader, caller, &some))?;
        found.extend(ids.into_iter().filter(|id| seen.insert(*id)));
        tokio::task::yield_now().await;
    }
    Ok(found)
}

/// Oldest first: the order in which people think of what they launched.
fn ids(reader: &mut dyn Reader, filter: &Filter) -> Result<Vec<TaskId>, ApiError> {
    let mut found = reader.ids(filter, SELECTED_MAX).map_err(|error| store_error(&error))?;
    found.reverse();
    Ok(found.into_iter().map(|(id, _)| id).collect())
}

/// The unfinished tasks below a task, however deep.
fn descendants(reader: &mut dyn Reader, top: TaskId) -> Result<Vec<TaskId>, ApiError> {
    let (mut found, mut parents) = (Vec::new(), vec![top]);
    while let Some(parent) = parents.pop() {
        let filter = Filter { parent: Some(parent), ..Filter::default() };
        let children = reader.ids(&filter, SELECTED_MAX).map_err(|error| store_error(&error))?;
        for (id, state) in children {
            parents.push(id);
            if !state.is_terminal() {
                found.push(id);
            }
        }
    }
    Ok(found)
}

/// Counts a waiting client for as long as it waits.
pub(super) struct Waiter<'a>(&'a AtomicU32);

impl<'a> Waiter<'a> {
    pub(super) fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
