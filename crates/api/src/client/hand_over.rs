//! An older daemon makes room for ours.
//!
//! What it is for: after an upgrade of the program the daemon of before still runs; the first newer client replaces it.
//! What it owns: when that is done, and the way from "the old one goes" to "ours listens". What it never does: fail the
//! request that found the old daemon, or try twice.
//!
//! ```text
//! answer of an older daemon --stop{hand_over}, over the same connection--> it goes (tasks run on)
//!    --its socket is gone--> start ours
//! ```

use std::sync::atomic::Ordering;

use hyper::header::{HeaderMap, HeaderValue};
use tokio::time::{Instant, sleep, timeout};

use super::connect::{ConnectError, Connection};
use super::{Call, Client, Start};
use crate::daemon::StopRequest;
use crate::error::ApiError;
use crate::routes::RouteId;
use crate::version::ProtocolRange;
use crate::{headers, limits, version};

/// What a reply says about the daemon that sent it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    /// Its program is older than ours.
    pub(super) older: bool,
    /// It cannot speak our protocol.
    pub(super) too_old: bool,
    /// The newest protocol that both know.
    protocol: u32,
}

impl Age {
    pub(super) fn of(reply: &HeaderMap) -> Age {
        let header = |name: &str| reply.get(name).and_then(|value| value.to_str().ok());
        let range: Option<ProtocolRange> =
            header(headers::PROTOCOL).and_then(|text| text.parse().ok());
        let max = range.map_or(version::PROTOCOL, |range| range.max);
        let older = header(headers::DAEMON_VERSION)
            .is_some_and(|daemon| version::is_older(daemon, version::PROGRAM));
        let too_old = max < version::PROTOCOL;
        Age { older: older || too_old, too_old, protocol: max.min(version::PROTOCOL) }
    }
}

impl Client {
    /// Replaces the daemon at the other end of this connection by ours, if this client may start one and has not tried
    /// before; whether it is gone.
    pub(super) async fn replace(&self, call: &Call, connection: Connection, age: Age) -> bool {
        let options = &self.shared.options;
        let may = options.may_replace.as_ref().filter(|_| call.start == Start::WhenNeeded);
        let (Some(start), Some(may_replace)) = (&options.start, may) else { return false };
        if self.shared.replaced.swap(true, Ordering::Relaxed) || !may_replace() {
            return false;
        }
        let old = connection.daemon_pid;
        if !matches!(self.dismiss(connection, age.protocol).await, Ok(true)) {
            return false;
        }
        self.forget_idle();
        if self.is_gone(old).await {
            // When ours does not start now, the next request says why.
            let _ = start();
        }
        true
    }

    /// Asks it to go; whether it does. Asked over its own connection, so that a daemon which somebody else has put in
    /// its place meanwhile is not meant.
    async fn dismiss(&self, mut connection: Connection, protocol: u32) -> Result<bool, ApiError> {
        let stop = StopRequest { cancel_all: false, hand_over: true };
        let call = Call::new(RouteId::DaemonStop)?.json(&stop)?;
        let mut request = self.request(&call)?;
        request.headers_mut().insert(headers::PROTOCOL, HeaderValue::from(protocol));
        let sent = async {
            connection.sender.ready().await?;
            connection.sender.send_request(request).await
        };
        match timeout(self.shared.options.patience.answer, sent).await {
            Ok(Ok(reply)) => Ok(reply.status().is_success()),
            // The connection broke: it goes already.
            Ok(Err(_)) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    /// Waits until it no longer listens; false when another listens in its place, or it stays.
    async fn is_gone(&self, old: Option<i32>) -> bool {
        let since = Instant::now();
        let mut pause = limits::REACH_PAUSE_MIN;
        while since.elapsed() < self.shared.options.patience.reach {
            match self.connect().await {
                Err(ConnectError::Absent(_)) => return true,
                Ok(connection) if connection.daemon_pid != old => return false,
                Ok(_) | Err(_) => sleep(pause).await,
            }
            pause = (pause * 2).min(limits::REACH_PAUSE_MAX);
        }
        false
    }
}
