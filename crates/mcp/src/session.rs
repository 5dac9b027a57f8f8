//! Which session a call belongs to, and the client that speaks for it.
//!
//! What it is for: launches belong to the conversation that made them. What it owns: the order of the evidence that an
//! MCP server has, and the clients. What it never does: believe it where the kernel knows better: a server inside a
//! task speaks for that task, whatever is claimed (the daemon sees to that).
//!
//! The order: an option or MEANWHILE_SESSION of this process; what the call itself says; what the agent said to this
//! process when it started it; else a session of the client's own. Never the shared one of a person.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use meanwhile_api::client::Client;
use meanwhile_api::headers::{SESSION, SessionClaim};
use meanwhile_api::{ApiError, ErrorCode, sanitise};
use rmcp::RoleServer;
use rmcp::service::RequestContext;
use serde_json::Value;

use crate::arguments::Arguments;
use crate::limits;
use crate::setup::Connect;

/// What calls carry that says which conversation they are part of: who says so, and under which key.
const IN_CALLS: [(&str, &str); 2] = [("codex", "threadId"), ("vscode", "vscode.conversationId")];

/// What our plugin in OpenCode puts among the arguments of a call, before the call is sent: one server serves all sessions
/// of an OpenCode server, and nothing else in the call tells them apart. No schema has it, and only that program is believed.
const ARGUMENT: &str = "meanwhile_session";
const OPENCODE: &str = "opencode";

/// The source of a session that we made up for a client that says nothing.
pub(crate) const MADE_UP: &str = SessionClaim::MADE_UP;

/// The source of a session of a server that anybody may ask: what it was started by says nothing of who asks.
const OVER_HTTP: &str = SessionClaim::OVER_HTTP;

/// The HTTP header of a session with its state on our side (MCP before 2026-07-28).
const MCP_SESSION: &str = "mcp-session-id";

/// The longest name of a session that is taken from a call; the daemon refuses longer ones than 200 bytes.
const NAME_BYTES: usize = 120;

/// Speaks for sessions.
pub(crate) struct Sessions {
    connect: Connect,
    claim: Option<SessionClaim>,
    /// What tells a client apart that says nothing: this process has one client, and this is its name.
    only_client: Option<String>,
    clients: Mutex<HashMap<String, Client>>,
}

impl Sessions {
    /// Of a process that serves the one client that started it.
    pub(crate) fn of_one_client(
        connect: Connect,
        claim: Option<SessionClaim>,
    ) -> Result<Sessions, ApiError> {
        let mut bytes = [0; 5];
        getrandom::fill(&mut bytes).map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("draw a random session: {error}"))
        })?;
        let own = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Sessions { connect, claim, only_client: Some(own), clients: Mutex::default() })
    }

    /// Of a process that serves anybody: what its own environment says of an agent is about nobody who asks.
    pub(crate) fn of_anybody(connect: Connect, claim: Option<SessionClaim>) -> Sessions {
        let claim = claim.filter(|claim| claim.source == SessionClaim::EXPLICIT);
        Sessions { connect, claim, only_client: None, clients: Mutex::default() }
    }

    /// Whom a call speaks for.
    pub(crate) fn claim(
        &self,
        call: &RequestContext<RoleServer>,
        arguments: &mut Arguments,
    ) -> SessionClaim {
        let in_arguments = in_arguments(call, arguments);
        let ours = self.claim.as_ref();
        if let Some(explicit) = ours.filter(|claim| claim.source == SessionClaim::EXPLICIT) {
            return explicit.clone();
        }
        let named = in_header(call).or_else(|| in_call(call)).or(in_arguments);
        named.or_else(|| ours.cloned()).unwrap_or_else(|| self.made_up(call))
    }

    /// The client that speaks for this session.
    pub(crate) fn client(&self, claim: &SessionClaim) -> Result<Client, ApiError> {
        self.client_for(claim.to_header(), Some(claim))
    }

    /// A client that speaks for nobody: what it is asked for was handed out by an id that names it.
    pub(crate) fn onlooker(&self) -> Result<Client, ApiError> {
        self.client_for(String::new(), None)
    }

    fn client_for(&self, key: String, claim: Option<&SessionClaim>) -> Result<Client, ApiError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        if clients.len() >= limits::SESSIONS_MAX {
            clients.clear();
        }
        let client = (self.connect)(claim.cloned())?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn made_up(&self, call: &RequestContext<RoleServer>) -> SessionClaim {
        let program =
            call.client_info().map(|info| plain(&info.name)).filter(|name| !name.is_empty());
        let program = program.unwrap_or_else(|| "client".to_owned());
        let own =
            self.only_client.clone().or_else(|| header(call, MCP_SESSION).map(|id| plain(&id)));
        let name = match own {
            Some(own) => format!("mcp-{program}-{}", cut(&own, 12)),
            // Without a state on our side nothing tells two windows of one program apart but this header of ours.
            None => format!("mcp-{program}"),
        };
        let source = if self.only_client.is_some() { MADE_UP } else { OVER_HTTP };
        SessionClaim { source: source.to_owned(), name }
    }
}

fn in_call(call: &RequestContext<RoleServer>) -> Option<SessionClaim> {
    IN_CALLS.into_iter().find_map(|(source, key)| {
        let name = call.meta.get(key).and_then(Value::as_str).filter(|name| is_name(name))?;
        Some(SessionClaim { source: source.to_owned(), name: name.to_owned() })
    })
}

/// Takes out what no tool knows.
fn in_arguments(
    call: &RequestContext<RoleServer>,
    arguments: &mut Arguments,
) -> Option<SessionClaim> {
    let program = call.client_info()?.name.clone();
    if program != OPENCODE {
        return None;
    }
    let Some(Value::String(name)) = arguments.remove(ARGUMENT) else { return None };
    is_name(&name).then(|| SessionClaim { source: OPENCODE.to_owned(), name })
}

/// A client over HTTP may name its session in a header of its configuration.
fn in_header(call: &RequestContext<RoleServer>) -> Option<SessionClaim> {
    let name = header(call, SESSION).filter(|name| is_name(name))?;
    Some(SessionClaim { source: OVER_HTTP.to_owned(), name })
}

fn header(call: &RequestContext<RoleServer>, name: &str) -> Option<String> {
    let parts = call.extensions.get::<hyper::http::request::Parts>()?;
    parts.headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES
        && !matches!(name, "user" | "main")
        && sanitise::line(name) == name
}

/// Letters, digits and dashes of a name, lower case and short.
fn plain(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    cut(&name.chars().map(kept).collect::<String>(), 40).trim_matches('-').to_owned()
}

fn cut(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_cannot_name_the_session_of_a_person() {
        for bad in ["", "user", "main", "a\nb", "\u{1b}[2J", &"x".repeat(121)] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_name("0199a8e2-1d7c-7f51-8f5e-0123456789ab"));
    }

    #[test]
    fn a_program_makes_a_plain_name() {
        assert_eq!(plain("Visual Studio Code"), "visual-studio-code");
        assert_eq!(plain("../../x\u{202e}"), "x");
        assert_eq!(plain(&"é".repeat(100)), "");
    }
}
