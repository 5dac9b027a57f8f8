//! `list`: the tasks of this session.
//!
//! What it is for: finding an id. What it owns: the words for states, and holding a listing that says nothing new. What
//! it never does: show other sessions.

use meanwhile_api::event::EventsQuery;
use meanwhile_api::list::{ListQuery, ListReply};
use meanwhile_api::task::{State, Task};
use meanwhile_api::{ApiError, ErrorCode};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{Answer, Call};
use crate::arguments::{self, Arguments};
use crate::patience::print;
use crate::{answer, limits, words};

pub(super) async fn list(call: &Call<'_>, arguments: Arguments) -> Answer {
    let question = print((&call.claim.name, "list", Value::Object(arguments.clone()).to_string()));
    let asked: arguments::List = arguments::read("list", arguments)?;
    let query = ListQuery {
        state: asked.state.as_deref().map_or_else(|| Ok(Vec::new()), states)?,
        group: asked.group,
        // Without it, a caller that counts as a person would be shown everybody's.
        session: Some(call.claim.name.clone()),
        limit: Some(asked.limit.unwrap_or(limits::LIST_DEFAULT).clamp(1, limits::SHOWN_MAX)),
        ..ListQuery::default()
    };
    let reply = look(call, &query).await?;
    let reply = match call.shared.patience.hold(question, state_of(&reply.tasks), call.now()) {
        Some(hold) if reply.tasks.iter().any(|task| !task.state.is_terminal()) => {
            let held = timeout(hold, news(call, &query, state_of(&reply.tasks)));
            match held.await {
                Ok(news) => news?,
                Err(_) => look(call, &query).await?,
            }
        }
        _ => reply,
    };
    call.shared.patience.answered(question, state_of(&reply.tasks), call.now());
    call.tells_of(&reply.tasks);
    Ok(shown(&reply).into())
}

async fn look(call: &Call<'_>, query: &ListQuery) -> Result<ListReply, ApiError> {
    match call.client.list(query).await {
        // Inside a task the daemon knows the session better than we do.
        Err(error) if error.code == ErrorCode::Forbidden => {
            call.client.list(&ListQuery { session: None, ..query.clone() }).await
        }
        reply => reply,
    }
}

/// The listing once it says something else.
async fn news(call: &Call<'_>, query: &ListQuery, before: u64) -> Result<ListReply, ApiError> {
    // What happens between the listing below and the first event comes as an event.
    let since = call.client.daemon().await?.store.last_event;
    let mut events =
        call.client.events(EventsQuery { since: Some(since), ..EventsQuery::default() });
    loop {
        let reply = look(call, query).await?;
        if state_of(&reply.tasks) != before {
            return Ok(reply);
        }
        events.next().await?;
    }
}

/// What a model would call news: which tasks, in which state.
pub(super) fn state_of(tasks: &[Task]) -> u64 {
    print(tasks.iter().map(|task| (&task.id, task.state, task.attempt)).collect::<Vec<_>>())
}

fn states(word: &str) -> Result<Vec<State>, ApiError> {
    let by_end =
        |ended: bool| State::ALL.into_iter().filter(|s| s.is_terminal() == ended).collect();
    match word {
        "active" => Ok(by_end(false)),
        "ended" => Ok(by_end(true)),
        name => State::from_name(name).map(|state| vec![state]).ok_or_else(|| {
            let names = State::ALL.map(State::name).join(", ");
            let message = format!("read the arguments of `list`: `{name}` is no state");
            ApiError::new(ErrorCode::Usage, message)
                .hint(format!("use active, ended, or one of {names}"))
        }),
    }
}

fn shown(reply: &ListReply) -> rmcp::model::CallToolResult {
    let mut text: Vec<String> = reply.tasks.iter().map(words::line).collect();
    let objects: Vec<Value> =
        reply.tasks.iter().map(|task| Value::Object(words::object(task))).collect();
    let more = reply.total.saturating_sub(reply.tasks.len() as u64);
    let mut object = Map::from_iter([("tasks".to_owned(), Value::Array(objects))]);
    if more > 0 {
        text.push(format!("{more} more"));
        object.insert("more".to_owned(), json!(more));
    }
    if text.is_empty() {
        text.push("no tasks".to_owned());
    }
    answer::both(text.join("\n"), object)
}
