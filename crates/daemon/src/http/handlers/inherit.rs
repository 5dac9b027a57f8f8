//! Whose environment and directory a launch inherits.
//!
//! ```text
//!   as the caller asks:  caller ── its own
//!                        session ── what the session's hooks recorded, else the agent process's, else its own
//! ```
//!
//! Owns that order. Only a session's own launches ask for its environment; a task has its own. Never shows a value.

use meanwhile_api::submit::{Inherit, SubmitRequest};
use meanwhile_api::{ApiError, OsText};
use meanwhile_core::SessionId;
use meanwhile_host::environment::Environment;
use meanwhile_host::proc;

use super::inbox::agent_that_asks;
use crate::http::caller::{Caller, tree};
use crate::http::context::Context;
use crate::http::exchange::Asked;
use crate::prepare::captured;

/// What a launch inherits.
pub(super) struct Inherited {
    pub(super) environment: Environment,
    pub(super) cwd: OsText,
    /// For `env_from`.
    pub(super) from: &'static str,
}

pub(super) async fn inherited(
    context: &Context,
    asked: &Asked,
    request: &SubmitRequest,
) -> Result<Inherited, ApiError> {
    let of_session = match (request.inherit, &asked.caller) {
        (Inherit::Session, Caller::Session(session)) => {
            recorded(context, asked, session).await.or_else(|| of_agent(asked))
        }
        (Inherit::Session | Inherit::Caller, _) => None,
    };
    // What cannot be had is not missed: the caller's own is what any other launch has.
    match of_session {
        Some(inherited) => Ok(inherited),
        None => Ok(Inherited {
            environment: captured::read(&request.caller)?,
            cwd: request.caller.cwd.clone(),
            from: "caller",
        }),
    }
}

async fn recorded(context: &Context, asked: &Asked, session: &SessionId) -> Option<Inherited> {
    // Held until it is read: nobody deletes it meanwhile.
    let envs = context.session_envs.lock().await;
    let sessions = context.sessions();
    let tree = asked.origin.map(tree).unwrap_or_default();
    let recorded = sessions.surroundings(&tree, session)?;
    let environment = envs.get(recorded.environment.parse().ok()?);
    let environment = environment
        .inspect_err(|error| tracing::warn!(%error, "the environment of a session cannot be read"))
        .ok()?;
    let cwd = OsText::from(recorded.cwd.clone());
    Some(Inherited { environment, cwd, from: "session" })
}

/// The agent has begun before there was a daemon to be told, or has no hooks of ours.
fn of_agent(asked: &Asked) -> Option<Inherited> {
    let (environment, cwd) = proc::surroundings(agent_that_asks(asked)?)?;
    Some(Inherited { environment, cwd: OsText::from(cwd), from: "agent" })
}
