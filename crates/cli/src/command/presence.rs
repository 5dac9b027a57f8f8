//! Where an agent is, as its hooks tell the daemon.
//!
//! What it is for: launches and notices belong to a conversation, and conversations go on under other names (cleared,
//! resumed) while their agent runs on, and what it has started with it. What it owns: which agents have one conversation
//! at a time, and what is recorded for launches that ask for the session's environment. What it never does: fail: an agent
//! goes on without it.

use meanwhile_api::caller::CallerContext;
use meanwhile_api::client::Client;
use meanwhile_api::inbox::{Place, PresenceRequest};
use meanwhile_api::{ApiError, ErrorCode, OsText};
use meanwhile_integrations::Agent;
use meanwhile_integrations::hook::{Beginning, Call, Moment};

use crate::command::caller;
use crate::entry;

/// Says which conversation the agent is in, at the moments that may be the first that somebody hears of it.
pub(crate) async fn began(client: &Client, agent: Agent, call: &Call) {
    let recorded = match call.moment {
        Moment::Start(_) | Moment::Prompt => surroundings(call).ok(),
        Moment::Stop { .. } => None,
        Moment::AfterTool | Moment::SubagentStop { .. } | Moment::End => return,
    };
    let place = place(agent, call.moment);
    // A task's agent has no session of its own, and an older daemon does not know the word.
    let said = client.presence(&PresenceRequest::Began { place, caller: recorded }).await;
    if said.is_err_and(|error| error.code != ErrorCode::Forbidden) {
        // An environment that no task could be given keeps nobody from being told.
        let _not_missed = client.presence(&PresenceRequest::Began { place, caller: None }).await;
    }
}

/// The conversation is closed.
pub(crate) async fn closed(client: &Client) {
    let _not_missed = client.presence(&PresenceRequest::Closed {}).await;
}

/// What the agent has given its hook, in the directory that it says it is in.
fn surroundings(call: &Call) -> Result<CallerContext, ApiError> {
    let said = call.cwd.as_deref().filter(|cwd| cwd.starts_with('/')).map(OsText::from);
    let mut context = caller::capture(caller::Place::of(said.as_ref()))?;
    if let Some(cwd) = said {
        context.cwd = cwd;
    }
    context.terminal = None;
    Ok(context)
}

/// Whether an agent has one conversation at a time.
fn place(agent: Agent, moment: Moment) -> Place {
    let moved = matches!(moment, Moment::Start(Beginning::Cleared | Beginning::Resumed));
    match agent {
        Agent::Claude | Agent::Gemini | Agent::Droid => Place::Instead,
        // Its terminal has one, its servers have many.
        Agent::Codex if moved && !entry::callers().iter().any(|words| is_server(words)) => {
            Place::Instead
        }
        Agent::Codex | Agent::OpenCode | Agent::Copilot => Place::Beside,
    }
}

fn is_server(words: &[Vec<u8>]) -> bool {
    words.iter().any(|word| matches!(word.as_slice(), b"app-server" | b"mcp-server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_agent_with_one_conversation_at_a_time_leaves_the_one_before() {
        let cleared = Moment::Start(Beginning::Cleared);
        let check =
            |agent, moment, expected| assert_eq!(place(agent, moment), expected, "{agent:?}");
        for agent in [Agent::Claude, Agent::Gemini, Agent::Droid] {
            check(agent, cleared, Place::Instead);
            check(agent, Moment::Prompt, Place::Instead);
        }
        check(Agent::Codex, cleared, Place::Instead);
        check(Agent::Codex, Moment::Start(Beginning::New), Place::Beside);
        check(Agent::Codex, Moment::Prompt, Place::Beside);
        for agent in [Agent::OpenCode, Agent::Copilot] {
            check(agent, cleared, Place::Beside);
        }
    }

    #[test]
    fn a_server_of_codex_is_known_by_its_words() {
        let words = |line: &str| -> Vec<Vec<u8>> {
            line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
        };
        assert!(is_server(&words("codex app-server --listen x")));
        assert!(!is_server(&words("codex resume")));
    }
}
