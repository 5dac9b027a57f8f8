//! `inbox`: reading, taking, acknowledging; what hooks say of their sessions.
//!
//! Owns who may read whose inbox: a session its own, a person everybody's. A task's inbox is its session's: it may look,
//! and it is told of what it launched by waiting for it.

use std::collections::{HashMap, HashSet};

use meanwhile_api::caller::CallerContext;
use meanwhile_api::inbox::{
    AckReply, AckRequest, CompactionReply, DeliverReply, DeliverRequest, Delivered, InboxQuery,
    InboxReply, Notice, Place, PresenceReply, PresenceRequest, Route,
};
use meanwhile_api::{ApiError, ErrorCode, limits};
use meanwhile_core::inbox::Manner;
use meanwhile_core::sessions::{Begins, Stay, Surroundings};
use meanwhile_core::{NoticeId, SessionId, TaskId};
use meanwhile_host::env_store::EnvStore;
use meanwhile_host::home::Home;
use meanwhile_host::proc::Identity;
use meanwhile_store::{Delivery, Filter, NoticeRecord, Reader};

use super::wait::Waiter;
use super::{Answered, find_in};
use crate::engine::Heard;
use crate::engine::refusals::store_error;
use crate::find::unfinished_states;
use crate::http::caller::{Caller, agent_of, forbidden, session_name, tree};
use crate::http::context::Context;
use crate::http::exchange::{Asked, json};
use crate::letters::{Ask, DeliverFor, Handed, Holder, Told};
use crate::prepare::captured;
use crate::sessions::{agent_process, is_there, needs};
use crate::tell;

/// Ids of one acknowledgement: more than are handed out at once.
const ACK_MAX: usize = 10_000;

pub(super) fn inbox(context: &Context, asked: &Asked) -> Answered {
    let query: InboxQuery = asked.query()?;
    let session = whose(&asked.caller, query.any_session)?;
    let records = context.unread(session.as_ref(), at_most(query.limit))?;
    let notices = shown(context, &records)?;
    let unread = context.count_unread(session.as_ref())? as u64;
    json(&InboxReply { notices, unread })
}

/// The same without a daemon.
pub(crate) fn peek(
    reader: &mut dyn Reader,
    home: Option<&Home>,
    caller: &Caller,
    query: &InboxQuery,
) -> Result<InboxReply, ApiError> {
    let session = whose(caller, query.any_session)?;
    let open = reader.open_notices(session.as_ref(), at_most(query.limit));
    let open = open.map_err(|error| store_error(&error))?;
    let unread = reader.count_open_notices(session.as_ref(), limits::UNREAD_MAX);
    let unread = unread.map_err(|error| store_error(&error))? as u64;
    Ok(InboxReply { notices: in_words(reader, home, &open)?, unread })
}

pub(super) async fn deliver(context: &Context, asked: &Asked, request: DeliverRequest) -> Answered {
    let DeliverRequest { route, holder, wait, timeout, any_session, limit } = request;
    asked.caller.may_change()?;
    refuse_inside(&asked.caller)?;
    let session = whose(&asked.caller, any_session)?;
    let want = DeliverFor {
        session: session.clone(),
        holder: Holder {
            route: route.name(),
            word: holder_word(&holder)?,
            process: asked.origin.map(agent_process),
        }
        .to_string(),
        manner: if wait && route == Route::Hook { Manner::Wakes } else { Manner::Asked },
        wait,
        timeout: timeout.map(Into::into),
        at_most: at_most(limit),
    };
    let handed = {
        let _one_more = wait.then(|| Waiter::new(&context.waiters));
        context.postbox.deliver(want).await?
    };
    let nothing = |outcome| DeliverReply {
        outcome,
        notices: Vec::new(),
        unread: 0,
        digest: None,
        nonce: None,
    };
    json(&match handed {
        Handed::Nothing => nothing(Delivered::Nothing),
        Handed::TimedOut => nothing(Delivered::TimedOut),
        Handed::TakenOver => nothing(Delivered::TakenOver),
        Handed::Notices { notices, more } => {
            let notices = shown(context, &notices)?;
            let nonce = tell::nonce();
            DeliverReply {
                outcome: Delivered::Notices,
                digest: Some(tell::digest(&notices, more, &nonce)),
                notices,
                unread: more as u64,
                nonce: Some(nonce),
            }
        }
    })
}

pub(super) async fn acknowledge(context: &Context, asked: &Asked, request: AckRequest) -> Answered {
    let AckRequest { ids, tasks } = request;
    if ids.len() + tasks.len() > ACK_MAX {
        return Err(ApiError::new(
            ErrorCode::Limit,
            format!("more than {ACK_MAX} notices at once"),
        )
        .hint("acknowledge in parts"));
    }
    refuse_inside(&asked.caller)?;
    let ids = ids.iter().map(|id| read_id(id)).collect::<Result<HashSet<_>, _>>()?;
    let (mut of_tasks, mut named) = (Vec::new(), HashSet::new());
    context.try_read(|reader| {
        for text in &tasks {
            let id = find_in(reader, &asked.caller, text.as_str())?.id;
            named.insert(id);
        }
        of_tasks.extend(ids.iter().map(|id| id.task).chain(named.iter().copied()));
        Ok(())
    })?;
    of_tasks.sort_unstable();
    of_tasks.dedup();
    let records = context.read(|reader| reader.notices_of(&of_tasks))?;
    let mine = asked.caller.only_session();
    let by_hook = records.iter().any(|notice| is_with_a_hook(&notice.delivery));
    let open: Vec<NoticeId> = records
        .into_iter()
        .filter(|notice| notice.delivery.is_open())
        .filter(|notice| mine.as_ref().is_none_or(|mine| notice.scope.session == *mine))
        .map(|notice| notice.id)
        .filter(|id| ids.contains(id) || named.contains(&id.task))
        .collect();
    let acknowledged = open.len() as u64;
    if !open.is_empty() {
        context.acknowledged(&open);
        let agent = agent_that_asks(asked).filter(|_| by_hook).map(agent_process);
        let reader = agent.map(|process| Told { session: asked.caller.session(), process });
        let ask = Ask::Acknowledge { ids: open, at_once: true, reader };
        context.postbox.ask(ask, asked.request.clone()).await?;
    }
    json(&AckReply { acknowledged })
}

pub(super) async fn presence(
    context: &Context,
    asked: &Asked,
    request: PresenceRequest,
) -> Answered {
    refuse_inside(&asked.caller)?;
    let session = asked.caller.session();
    let ask = |what| Ask::Presence { session: session.clone(), what };
    let (ask, of) = match request {
        PresenceRequest::Typed {} => (ask(Heard::Typed), session.clone()),
        PresenceRequest::Busy {} => (ask(Heard::Busy), session.clone()),
        PresenceRequest::Idle {} => (ask(Heard::Idle), session.clone()),
        PresenceRequest::Began { place, caller } => {
            return began(context, asked, place, caller).await;
        }
        PresenceRequest::Closed {} => return closed(context, asked).await,
        PresenceRequest::Replaced { by } => {
            let to = session_name(&by)?;
            must_be_of(context, asked, &session)?;
            if session.is_user() || to.is_user() {
                return Err(forbidden("the person's own session stays what it is".into()));
            }
            (Ask::Rebind { from: session.clone(), to: to.clone() }, to)
        }
    };
    context.postbox.ask(ask, asked.request.clone()).await?;
    json(&PresenceReply { unread: context.count_unread(Some(&of))? as u64 })
}

fn is_with_a_hook(delivery: &Delivery) -> bool {
    match delivery {
        Delivery::Leased { holder, .. } => holder.starts_with(&format!("{}:", Route::Hook.name())),
        Delivery::Unread | Delivery::Acknowledged | Delivery::Superseded => false,
    }
}

/// Whoever says that a session has moved is in the tree of the agent that is in it, where one is known.
fn must_be_of(context: &Context, asked: &Asked, session: &SessionId) -> Result<(), ApiError> {
    let sessions = context.sessions();
    let mut inside = sessions
        .registered()
        .filter(|one| one.session == *session && one.stay != Stay::Left && is_there(one.process))
        .peekable();
    let tree = asked.origin.map(tree).unwrap_or_default();
    if inside.peek().is_none() || inside.any(|one| tree.contains(&one.process)) {
        return Ok(());
    }
    Err(forbidden(format!("session {session} is that of a running agent, which has not said so")))
}

/// Which conversation an agent process is in now, and what launches of it inherit.
async fn began(
    context: &Context,
    asked: &Asked,
    place: Place,
    caller: Option<CallerContext>,
) -> Answered {
    let session = named(asked)?;
    // Of a process that is not known for an agent nothing is remembered.
    if let Some(agent) = agent_that_asks(asked) {
        let envs = context.session_envs.lock().await;
        let surroundings = caller.map(|caller| recorded(&envs, &caller)).transpose()?;
        let how = match place {
            Place::Instead => Begins::Instead,
            Place::Beside => Begins::Beside,
        };
        let (process, session) = (agent_process(agent), session.clone());
        let ask = Ask::Begin { process, session, how, surroundings };
        context.postbox.ask(ask, asked.request.clone()).await?;
        forget_environments(context, &envs);
    }
    json(&PresenceReply { unread: context.count_unread(Some(&session))? as u64 })
}

async fn closed(context: &Context, asked: &Asked) -> Answered {
    let session = named(asked)?;
    if let Some(agent) = agent_that_asks(asked) {
        let envs = context.session_envs.lock().await;
        let ask = Ask::Close { process: agent_process(agent), session: session.clone() };
        context.postbox.ask(ask, asked.request.clone()).await?;
        forget_environments(context, &envs);
    }
    json(&PresenceReply { unread: context.count_unread(Some(&session))? as u64 })
}

/// The agent that has started the hook which asks.
pub(super) fn agent_that_asks(asked: &Asked) -> Option<Identity> {
    agent_of(asked.origin?, asked.claim.as_ref()?.agent()?)
}

/// The name that was claimed, as it is: the agent knows it better than what was known before.
fn named(asked: &Asked) -> Result<SessionId, ApiError> {
    let session = asked.claim.as_ref().map(|claim| session_name(&claim.name)).transpose()?;
    match session {
        Some(session) if !session.is_user() => Ok(session),
        _ => Err(forbidden("only an agent's session begins or is closed".into())),
    }
}

fn recorded(envs: &EnvStore, caller: &CallerContext) -> Result<Surroundings, ApiError> {
    if !caller.cwd.as_path().is_absolute() {
        let message = format!("directory of the session is not absolute: {:?}", caller.cwd);
        return Err(ApiError::new(ErrorCode::Usage, message).hint("give an absolute path"));
    }
    let environment = captured::keep(envs, &captured::read(caller)?)?;
    Ok(Surroundings { environment, cwd: caller.cwd.as_bytes().to_vec() })
}

/// Deletes what no session has recorded any more.
fn forget_environments(context: &Context, envs: &EnvStore) {
    let sessions = context.sessions();
    if let Err(error) = envs.keep_only(|hash| needs(&sessions, hash)) {
        tracing::warn!(%error, "environments of sessions that are gone could not be deleted");
    }
}

pub(super) fn compaction(context: &Context, asked: &Asked) -> Answered {
    json(&context.try_read(|reader| shortened(reader, &asked.caller))?)
}

/// What runs and what is unread of the caller's session, the newest first.
pub(crate) fn shortened(
    reader: &mut dyn Reader,
    caller: &Caller,
) -> Result<CompactionReply, ApiError> {
    let session = caller.session();
    let failed = |error: meanwhile_store::StoreError| store_error(&error);
    let filter =
        Filter { states: unfinished_states(), session: Some(session.clone()), ..Filter::default() };
    let most = limits::COMPACTION_ENTRIES_MAX;
    let running = reader.list(&filter, most).map_err(failed)?;
    let open = reader.open_notices(Some(&session), limits::UNREAD_MAX).map_err(failed)?;
    let mut unread: Vec<TaskId> = Vec::new();
    for notice in open.iter().rev() {
        let known =
            unread.contains(&notice.id.task) || running.iter().any(|t| t.id == notice.id.task);
        if !known && unread.len() < most {
            unread.push(notice.id.task);
        }
    }
    let ended = reader.tasks(&unread).map_err(failed)?;
    // What is unread and over is known to nobody else: it comes first.
    let mut entries: Vec<String> =
        ended.iter().flatten().map(|task| tell::compaction_entry(task, true)).collect();
    entries.extend(running.iter().map(|task| tell::compaction_entry(task, false)));
    entries.truncate(most);
    let unfinished = reader.count(&filter).map_err(failed)?;
    let more = (unfinished + ended.len() as u64).saturating_sub(entries.len() as u64);
    let text = (!entries.is_empty()).then(|| tell::compaction(&entries, more, &tell::nonce()));
    Ok(CompactionReply { entries, more, text })
}

/// Whose notices are meant; none is everybody's.
fn whose(caller: &Caller, any_session: bool) -> Result<Option<SessionId>, ApiError> {
    if any_session {
        if caller.only_session().is_some() {
            return Err(forbidden("the inboxes of all sessions are for people to read".into()));
        }
        return Ok(None);
    }
    Ok(Some(caller.session()))
}

fn refuse_inside(caller: &Caller) -> Result<(), ApiError> {
    match caller.task() {
        None => Ok(()),
        Some(id) => Err(ApiError::new(
            ErrorCode::Forbidden,
            format!("task {id} has no inbox of its own: its session is told of it"),
        )
        .hint("wait for what you have launched: meanwhile wait ID")
        .hint("to look without taking: meanwhile inbox --peek")),
    }
}

fn at_most(limit: Option<u32>) -> usize {
    let limit = limit.unwrap_or(limits::NOTICES_DEFAULT).clamp(1, limits::NOTICES_MAX);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn holder_word(holder: &str) -> Result<&str, ApiError> {
    let good = !holder.is_empty()
        && holder.len() <= limits::HOLDER_BYTES_MAX
        && holder.bytes().all(|byte| byte.is_ascii_graphic());
    good.then_some(holder).ok_or_else(|| {
        let message =
            format!("holder must be 1 to {} printable characters", limits::HOLDER_BYTES_MAX);
        ApiError::new(ErrorCode::Usage, message).hint("draw a random word and keep it")
    })
}

fn read_id(text: &str) -> Result<NoticeId, ApiError> {
    text.parse().map_err(|error| {
        let text: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
        ApiError::new(ErrorCode::Usage, format!("`{text}` is {error}"))
            .hint("meanwhile inbox --peek --json shows the ids")
    })
}

fn shown(context: &Context, records: &[NoticeRecord]) -> Result<Vec<Notice>, ApiError> {
    context.try_read(|reader| in_words(reader, Some(&context.home), records))
}

fn in_words(
    reader: &mut dyn Reader,
    home: Option<&Home>,
    records: &[NoticeRecord],
) -> Result<Vec<Notice>, ApiError> {
    let mut ids: Vec<TaskId> = records.iter().map(|notice| notice.id.task).collect();
    ids.sort_unstable();
    ids.dedup();
    let tasks = reader.tasks(&ids).map_err(|error| store_error(&error))?;
    let tasks: HashMap<TaskId, _> =
        tasks.into_iter().flatten().map(|task| (task.id, task)).collect();
    // A task that was deleted meanwhile has taken its notices along.
    let known =
        |notice: &NoticeRecord| Some(tell::notice(home, tasks.get(&notice.id.task)?, notice));
    Ok(records.iter().filter_map(known).collect())
}
