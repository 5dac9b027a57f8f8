//! Header names of ours, and who the caller says it is.
//!
//! What it is for: what every request carries beside its body. What it owns: the names and the text form of a session
//! claim. What it never does: believe a claim (the daemon asks the kernel about the peer first).

use crate::query::{percent_decode, percent_encode};

/// The protocol version of the client, an integer; replies carry the daemon's range as `MIN-MAX`.
pub const PROTOCOL: &str = "meanwhile-protocol";

/// The version of the client's program, for the daemon's log.
pub const CLIENT_VERSION: &str = "meanwhile-client-version";

/// The version of the daemon's program, in every reply, so that a newer client can ask it to hand over.
pub const DAEMON_VERSION: &str = "meanwhile-daemon-version";

/// The id of a changing request (see [`crate::RequestId`]). Without one, the request is not protected against being
/// sent twice.
pub const REQUEST_ID: &str = "meanwhile-request-id";

/// The session the caller says it belongs to: `SOURCE:NAME`, the name percent-encoded (see [`SessionClaim`]).
pub const SESSION: &str = "meanwhile-session";

/// By which way the caller shows the answer to its session (a name of [`crate::inbox::Route`]): what it says of tasks
/// that have ended then counts as told, and the answer says in [`UNREAD`] what else there is. A caller that shows it to
/// nobody leaves it out.
pub const SHOWS: &str = "meanwhile-shows";

/// How many notices the caller's session has not read, in answers to callers that sent [`SHOWS`]; absent where there is
/// none. Counted up to 1,000.
pub const UNREAD: &str = "meanwhile-unread";

/// The last event seen, of Server-Sent Events.
pub const LAST_EVENT_ID: &str = "last-event-id";

/// The session a caller says it belongs to, and how it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionClaim {
    /// How it knows: `explicit` (option or MEANWHILE_SESSION), or the agent that said so (`claude`, `codex`, ...),
    /// or nobody (`mcp`: it was made up).
    pub source: String,
    /// The session.
    pub name: String,
}

impl SessionClaim {
    /// The source of a claim by option or MEANWHILE_SESSION.
    pub const EXPLICIT: &'static str = "explicit";

    /// The source of a name that was made up for a client that says nothing: whoever knows better may.
    pub const MADE_UP: &'static str = "mcp";

    /// The source of a session of a server that anybody may ask: what has started it says nothing of who asks.
    pub const OVER_HTTP: &'static str = "http";

    /// The agent that said so; none where no agent did.
    #[must_use]
    pub fn agent(&self) -> Option<&str> {
        let nobody = [SessionClaim::EXPLICIT, SessionClaim::MADE_UP, SessionClaim::OVER_HTTP];
        Some(self.source.as_str()).filter(|source| !nobody.contains(source))
    }

    /// A claim by option or MEANWHILE_SESSION.
    pub fn explicit(name: impl Into<String>) -> SessionClaim {
        SessionClaim { source: SessionClaim::EXPLICIT.to_owned(), name: name.into() }
    }

    /// For the header.
    pub fn to_header(&self) -> String {
        format!("{}:{}", percent_encode(&self.source), percent_encode(&self.name))
    }

    /// From the header; `None` when it is malformed or a part is empty.
    pub fn from_header(value: &str) -> Option<SessionClaim> {
        let (source, name) = value.split_once(':')?;
        let (source, name) = (percent_decode(source)?, percent_decode(name)?);
        (!source.is_empty() && !name.is_empty()).then_some(SessionClaim { source, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_agents_word_is_an_agents() {
        let of = |source: &str| SessionClaim { source: source.to_owned(), name: "s".to_owned() };
        assert_eq!(of("claude").agent(), Some("claude"));
        for source in ["explicit", "mcp", "http"] {
            assert_eq!(of(source).agent(), None, "{source}");
        }
    }

    #[test]
    fn a_session_claim_survives_its_header() {
        for name in ["user", "größe: mit Leerzeichen", "a:b%c\r\nx"] {
            let claim = SessionClaim { source: "claude".to_owned(), name: name.to_owned() };
            let header = claim.to_header();
            assert!(header.bytes().all(|byte| byte.is_ascii_graphic()), "{header}");
            assert_eq!(SessionClaim::from_header(&header), Some(claim));
        }
        for bad in ["", "user", ":user", "explicit:", "explicit:%ff"] {
            assert_eq!(SessionClaim::from_header(bad), None, "{bad}");
        }
    }
}
