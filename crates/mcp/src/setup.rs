//! What a server is given by the program around it.
//!
//! What it is for: this crate reads no environment, clock or file itself. What it owns: the shape of what it needs.
//! What it never does: find any of it out.

use std::sync::Arc;

use meanwhile_api::caller::CallerContext;
use meanwhile_api::client::Client;
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::{ApiError, Timestamp};

use crate::shelf::Shelf;

/// Makes a client of the daemon that speaks for a session; without one, for a person.
pub type Connect = Box<dyn Fn(Option<SessionClaim>) -> Result<Client, ApiError> + Send + Sync>;

/// Says whether the process that has started this one is there, and not about to end.
pub type ClientIsThere = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a server needs.
pub struct Setup {
    /// The way to the daemon.
    pub connect: Connect,
    /// The session this process says it belongs to, by an option or by the agent that started it.
    pub claim: Option<SessionClaim>,
    /// What launches inherit that nobody has recorded anything for: this process's directory, environment, umask and
    /// limits.
    pub caller: CallerContext,
    /// Whoever is killed closes its pipes like one that leaves.
    pub client_is_there: ClientIsThere,
    /// Where waits are put down that are for more tasks than an id should name.
    pub shelf: Shelf,
    /// The wall clock.
    pub clock: fn() -> Timestamp,
}
