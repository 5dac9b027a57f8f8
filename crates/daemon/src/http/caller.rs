//! Who is calling, and what they may see and change.
//!
//! ```text
//!   inside a task (cgroup, else a supervisor among the ancestors)  ── that task, its session, always
//!   outside, with a claim (--session, an agent's own word)         ── that session, by the name it goes on under
//!   outside, below a registered agent process                      ── the session that this one is in
//!   outside, without                                               ── a person: session `user`
//!   processes that cannot be seen                                  ── reads and waits only
//! ```
//!
//! Owns the order of the evidence and the rules of authority: tasks and agents see and change their
//! own session's tree, people everything. A guard against accidents and confused models, not a
//! boundary against hostile code of the same user.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use meanwhile_api::headers::SessionClaim;
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::sessions::{AgentProcess, Sessions};
use meanwhile_core::spec::Placement;
use meanwhile_core::{Actor, SessionId, State, TaskId};
use meanwhile_host::caller::{self, Attempt, Peer};
use meanwhile_host::proc::{self, Identity};
use meanwhile_host::spawn_supervisor::socket_name;
use meanwhile_store::{Filter, Reader};
use meanwhile_supervisor::owner::Owner;

use super::context::Context;
use crate::sessions::agent_process;

/// More running tasks than this are not looked through for the one a caller is in.
const ACTIVE_MAX: usize = 10_000;
/// The longest name of a session.
const SESSION_BYTES: usize = 200;

/// One client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    peer: Peer,
    /// What was found out about it, at its first request.
    found: Mutex<Option<Evidence>>,
}

#[derive(Clone, Copy, Debug)]
enum Evidence {
    InTask(TaskId),
    Outside(Identity),
    Unseen,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A person at a shell.
    Person,
    /// The agent of a session, or a program that speaks for one.
    Session(SessionId),
    /// A process inside a task.
    Task { id: TaskId, session: SessionId, ancestors: Vec<TaskId> },
    /// Nothing can be said about it.
    Unseen,
}

impl Connection {
    pub(super) const fn new(peer: Peer) -> Self {
        Self { peer, found: Mutex::new(None) }
    }

    /// Who asks, by the evidence and by what it says of itself.
    pub(super) fn caller(
        &self,
        context: &Context,
        claim: Option<&SessionClaim>,
    ) -> Result<Caller, ApiError> {
        match self.evidence(context) {
            Evidence::Unseen => Ok(Caller::Unseen),
            Evidence::Outside(process) => found_outside(context, process, claim),
            Evidence::InTask(id) => inside(context, id, claim),
        }
    }

    /// The process that asks, where it is in no task.
    pub(super) fn origin(&self, context: &Context) -> Option<Identity> {
        match self.evidence(context) {
            Evidence::Outside(process) => Some(process),
            Evidence::InTask(_) | Evidence::Unseen => None,
        }
    }

    /// The number of the process that connected, where it can be seen.
    pub(super) const fn pid(&self) -> Option<u32> {
        self.peer.pid
    }

    fn evidence(&self, context: &Context) -> Evidence {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        *found.get_or_insert_with(|| find_out(&self.peer, context))
    }
}

fn find_out(peer: &Peer, context: &Context) -> Evidence {
    let below_supervisor = std::cell::Cell::new(false);
    let run = context.home.existing_run();
    let task_of = |ancestor: Identity| {
        let run = run.as_ref()?;
        if run.is_socket(&socket_name(ancestor)).ok()? != Some(true) {
            return None;
        }
        below_supervisor.set(true);
        attempt_of(context, ancestor)
    };
    match caller::identify(peer, &context.home_hash, &task_of) {
        caller::Caller::InTask { attempt, .. } => Evidence::InTask(attempt.task),
        // Left behind by a task whose supervisor stays, or one that ends right now.
        caller::Caller::Outside { .. } if below_supervisor.get() => Evidence::Unseen,
        caller::Caller::Outside { process } => Evidence::Outside(process),
        caller::Caller::Unseen | caller::Caller::Foreign { .. } => Evidence::Unseen,
    }
}

/// The attempt that a supervisor runs: the owner files of active attempts name theirs. They are
/// written before the start, so that a task is recognised from its first instruction on.
fn attempt_of(context: &Context, supervisor: Identity) -> Option<Attempt> {
    let states = State::ALL.into_iter().filter(|state| state.is_active()).collect();
    let filter = Filter { states, ..Filter::default() };
    let active = context.read(|reader| reader.ids(&filter, ACTIVE_MAX)).ok()?;
    let ids: Vec<TaskId> = active.into_iter().map(|(id, _)| id).collect();
    let records = context.read(|reader| reader.tasks(&ids)).ok()?;
    let attempts: HashMap<TaskId, u32> =
        records.into_iter().flatten().map(|r| (r.id, r.current().number)).collect();
    attempts.into_iter().map(|(task, number)| Attempt { task, number }).find(|attempt| {
        let header = context
            .home
            .existing_attempt(attempt.task, attempt.number)
            .and_then(|directory| Owner::open(&directory).ok())
            .and_then(|owner| owner.read().ok())
            .and_then(|view| view.header);
        header.is_some_and(|h| h.pid == supervisor.pid && h.start_time == supervisor.start_time)
    })
}

/// A caller outside of every task: what it says of itself may be old, and agents that say nothing are known by their tree.
fn found_outside(
    context: &Context,
    process: Identity,
    claim: Option<&SessionClaim>,
) -> Result<Caller, ApiError> {
    let said = outside(claim)?;
    let sessions = context.sessions();
    let source = claim.map(|claim| claim.source.as_str());
    Ok(match said {
        Caller::Session(name) if source == Some(SessionClaim::EXPLICIT) => {
            Caller::Session(sessions.current(&name))
        }
        Caller::Session(name) if source == Some(SessionClaim::MADE_UP) => {
            in_tree(&sessions, process).unwrap_or(Caller::Session(name))
        }
        Caller::Session(name) => Caller::Session(match sessions.registered().next() {
            Some(_) => sessions.meant(&tree(process), &name),
            None => sessions.current(&name),
        }),
        Caller::Person if claim.is_none() => in_tree(&sessions, process).unwrap_or(Caller::Person),
        other => other,
    })
}

/// The session of the nearest agent that this process was started by.
fn in_tree(sessions: &Sessions, process: Identity) -> Option<Caller> {
    sessions.registered().next()?;
    let nearest = sessions.nearest(&tree(process))?;
    Some(Caller::Session(nearest.session.clone()))
}

/// A process and its ancestors, nearest first.
pub(super) fn tree(process: Identity) -> Vec<AgentProcess> {
    ancestors(process).into_iter().map(agent_process).collect()
}

fn ancestors(process: Identity) -> Vec<Identity> {
    let chain = proc::ancestry(process.pid);
    // Gone, and its number another's: nothing is known of it.
    if chain.first() == Some(&process) { chain } else { Vec::new() }
}

/// The process of this agent that has started a hook or a server of ours: the nearest ancestor, but for the shell that was
/// given the line. It must have the agent's name in its first words: a hook that somebody tries out at a prompt must not
/// turn that shell into an agent.
pub(super) fn agent_of(process: Identity, agent: &str) -> Option<Identity> {
    let parent = ancestors(process).into_iter().skip(1).find_map(|ancestor| {
        let arguments = proc::arguments(ancestor.pid);
        (!proc::is_shell_with_a_line(&arguments)).then_some((ancestor, arguments))
    });
    let (parent, arguments) = parent?;
    let is_agent = proc::is_named(&arguments, agent);
    (is_agent && meanwhile_supervisor::process::is_alive(parent)).then_some(parent)
}

/// A caller outside of every task, by what it says of itself.
pub(crate) fn outside(claim: Option<&SessionClaim>) -> Result<Caller, ApiError> {
    let Some(claim) = claim else { return Ok(Caller::Person) };
    let session = session_name(&claim.name)?;
    Ok(if session.is_user() { Caller::Person } else { Caller::Session(session) })
}

fn inside(context: &Context, id: TaskId, claim: Option<&SessionClaim>) -> Result<Caller, ApiError> {
    let Some(record) = context.read(|reader| reader.task(id))? else { return Ok(Caller::Unseen) };
    let Placement { session, ancestors, .. } = record.placement;
    // What an agent's environment says inside a task is about its own conversation; only a claim
    // that was typed is one to be somebody else.
    let explicit = claim.filter(|claim| claim.source == SessionClaim::EXPLICIT);
    if let Some(claim) = explicit
        && session_name(&claim.name)? != session
    {
        return Err(ApiError::new(
            ErrorCode::SessionClaim,
            format!("task {id} belongs to session {session} and cannot speak for `{}`", claim.name),
        )
        .hint("leave out --session and MEANWHILE_SESSION inside a task"));
    }
    Ok(Caller::Task { id, session, ancestors })
}

/// A session's name: `main` is an alias of `user`.
///
/// # Errors
/// When it is empty, too long or has a control character.
pub(super) fn session_name(name: &str) -> Result<SessionId, ApiError> {
    if name == "main" {
        return Ok(SessionId::user());
    }
    if name.is_empty() || name.len() > SESSION_BYTES || name.chars().any(char::is_control) {
        return Err(ApiError::new(
            ErrorCode::Usage,
            "name of the session must be one line of 1 to 200 bytes",
        )
        .hint("for example --session review-42"));
    }
    Ok(SessionId::new(name))
}

impl Caller {
    /// The session that its tasks belong to.
    pub(super) fn session(&self) -> SessionId {
        match self {
            Self::Person | Self::Unseen => SessionId::user(),
            Self::Session(session) | Self::Task { session, .. } => session.clone(),
        }
    }

    /// As whom the log names it.
    pub(super) fn actor(&self) -> Actor {
        match self {
            Self::Person | Self::Unseen => Actor::Person,
            Self::Session(session) => Actor::Session(session.clone()),
            Self::Task { id, .. } => Actor::Task(*id),
        }
    }

    pub(crate) const fn is_person(&self) -> bool {
        matches!(self, Self::Person)
    }

    /// The task it runs in.
    pub(super) const fn task(&self) -> Option<TaskId> {
        match self {
            Self::Task { id, .. } => Some(*id),
            Self::Person | Self::Session(_) | Self::Unseen => None,
        }
    }

    /// The one session it may look at; none for all of them.
    pub(super) fn only_session(&self) -> Option<SessionId> {
        match self {
            Self::Person | Self::Unseen => None,
            Self::Session(session) | Self::Task { session, .. } => Some(session.clone()),
        }
    }

    /// Refuses to show a task of somebody else.
    pub(super) fn may_see(&self, id: TaskId, placement: &Placement) -> Result<(), ApiError> {
        match self.only_session() {
            Some(session) if session != placement.session => {
                Err(forbidden(format!("task {id} belongs to another session")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what is for people alone.
    pub(super) fn must_be_person(&self, what: &str) -> Result<(), ApiError> {
        if self.is_person() {
            Ok(())
        } else {
            Err(forbidden(format!("{what} is for people, not for agents or tasks")))
        }
    }

    /// Refuses changes by somebody nothing is known of.
    pub(super) fn may_change(&self) -> Result<(), ApiError> {
        match self {
            Self::Unseen => Err(ApiError::new(
                ErrorCode::Forbidden,
                "the calling process cannot be seen, so it may read and wait only",
            )
            .hint("call from the pid namespace that the daemon runs in, outside of the container")),
            Self::Person | Self::Session(_) | Self::Task { .. } => Ok(()),
        }
    }
}

pub(super) fn forbidden(message: String) -> ApiError {
    ApiError::new(ErrorCode::Forbidden, message)
        .hint("tasks and agents see and change the tasks of their own session")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(source: &str, name: &str) -> SessionClaim {
        SessionClaim { source: source.into(), name: name.into() }
    }

    #[test]
    fn a_claim_makes_a_session_and_user_or_main_is_the_person() {
        assert_eq!(outside(None), Ok(Caller::Person));
        for name in ["user", "main"] {
            assert_eq!(outside(Some(&claim("explicit", name))), Ok(Caller::Person));
        }
        let session = Caller::Session(SessionId::new("s1"));
        assert_eq!(outside(Some(&claim("claude", "s1"))), Ok(session));
        for bad in ["", "a\nb", &"x".repeat(201)] {
            assert_eq!(outside(Some(&claim("explicit", bad))).unwrap_err().code, ErrorCode::Usage);
        }
    }

    #[test]
    fn a_process_that_is_not_the_agent_is_not_taken_for_it() {
        let own = proc::own_identity().unwrap();
        assert_eq!(agent_of(own, "no such agent"), None);
        assert_eq!(agent_of(own, ""), None);
        let other = Identity { start_time: own.start_time + 1, ..own };
        assert_eq!(tree(other), []);
        assert!(tree(own).len() > 1);
    }

    #[test]
    fn agents_and_tasks_see_their_own_session_and_people_everything() {
        let placement = crate::view::tests::record(1).placement;
        let of =
            |session: &str| Placement { session: SessionId::new(session), ..placement.clone() };
        let id = TaskId::from_random(1);
        let agent = Caller::Session(SessionId::new("a"));
        assert!(agent.may_see(id, &of("a")).is_ok());
        assert_eq!(agent.may_see(id, &of("b")).unwrap_err().code, ErrorCode::Forbidden);
        assert!(Caller::Person.may_see(id, &of("b")).is_ok());
        assert!(Caller::Unseen.may_see(id, &of("b")).is_ok());
        assert!(Caller::Unseen.may_change().is_err());
        assert!(agent.must_be_person("x").is_err());
    }
}
