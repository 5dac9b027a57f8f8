//! The client everyone uses: one method per route, reconnecting and resending where that is safe.
//!
//! What it is for: commands, MCP, hooks and dashboards ask the daemon through this and nothing else. What it owns: the
//! rules of section "The client" below. What it never does: start a process itself (the caller brings a function for
//! that), read the environment, print, or kill a daemon that does not answer.
//!
//! The rules:
//! - The daemon is started when needed, by the function given; reads that the offline function can answer start none.
//! - A changing request carries a random id and is sent again with the same id when the connection breaks, so that its
//!   effect happens once. Reads are sent again freely.
//! - Ten seconds without reaching a daemon is an error (exit code 5); so is a daemon that accepts and does not answer
//!   within five, which is named by its process id.
//! - A daemon of an older program is asked to hand over, once, after the answer to the request that found it (before,
//!   where it does not speak our protocol), and ours is started in its place.
//! - Waiting, following and events reconnect silently, from where they were.

mod connect;
mod exchange;
mod hand_over;
mod stream;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub use self::stream::{Events, Follow};
use crate::audit::{AuditQuery, AuditReply};
use crate::change::{CancelReply, CancelRequest, CompleteRequest, ExtendRequest, RetryRequest};
use crate::config::{ConfigEntry, ConfigQuery, ConfigReply, ConfigSet};
use crate::daemon::{DaemonStatus, StopReply, StopRequest};
use crate::error::{ApiError, ErrorCode};
use crate::event::EventsQuery;
use crate::headers::SessionClaim;
use crate::ids::{RequestId, TaskId};
use crate::inbox::{
    AckReply, AckRequest, CompactionReply, DeliverReply, DeliverRequest, InboxQuery, InboxReply,
    PresenceReply, PresenceRequest, Route as Shows,
};
use crate::lanes::LanesReply;
use crate::limits;
use crate::list::{ListQuery, ListReply, StatusQuery, StatusReply, SummaryReply};
use crate::output::{OutputQuery, OutputReply};
use crate::query::Query;
use crate::routes::{Effect, RouteId};
use crate::submit::{StdinReply, SubmitReply, SubmitRequest};
use crate::task::Task;
use crate::upkeep::{CleanReply, CleanRequest, DoctorReply, PruneReply};
use crate::wait::{WaitReply, WaitRequest};

/// Starts a daemon if none runs. It may return before the daemon listens; it is called again after a second without
/// success, and an error from it is final.
pub type StartDaemon = Box<dyn Fn() -> Result<(), ApiError> + Send + Sync>;

/// Answers a read from the store, in this process, without a daemon. `None`: this read needs a daemon.
pub type AnswerOffline =
    Box<dyn Fn(OfflineRequest<'_>) -> Option<Result<Vec<u8>, ApiError>> + Send + Sync>;

/// Where a daemon listens that is not at the usual socket: it was started with another runtime directory.
pub type FindSocket = Box<dyn Fn() -> Option<PathBuf> + Send + Sync>;

/// Whether an older daemon may be replaced from here.
pub type MayReplace = Box<dyn Fn() -> bool + Send + Sync>;

/// A read that needs no daemon; the answer is the JSON body that the daemon would send.
#[derive(Clone, Copy, Debug)]
pub struct OfflineRequest<'a> {
    /// Which route.
    pub route: RouteId,
    /// What stands for `{id}`, decoded.
    pub id: Option<&'a str>,
    /// The query string, for [`Query::from_query`].
    pub query: &'a str,
}

/// What a client needs to know.
pub struct Options {
    /// The daemon's socket; the path may be longer than a socket address holds.
    pub socket: PathBuf,
    /// Where else to look when no daemon listens there.
    pub elsewhere: Option<FindSocket>,
    /// The session the caller says it belongs to.
    pub session: Option<SessionClaim>,
    /// By which way answers are shown to the session: what they say of ended tasks counts as told.
    pub shows: Option<Shows>,
    /// How to start a daemon; without it, an absent daemon is an error at once.
    pub start: Option<StartDaemon>,
    /// Whether to replace an older daemon, where one can be started; without it, it stays.
    pub may_replace: Option<MayReplace>,
    /// How to answer reads without a daemon.
    pub offline: Option<AnswerOffline>,
    /// How long to be patient.
    pub patience: Patience,
}

impl Options {
    /// A client of this socket that neither starts a daemon nor answers offline.
    pub fn new(socket: impl Into<PathBuf>) -> Options {
        Options {
            socket: socket.into(),
            elsewhere: None,
            session: None,
            shows: None,
            start: None,
            may_replace: None,
            offline: None,
            patience: Patience::default(),
        }
    }
}

/// How long to be patient; the defaults are the constants of [`limits`].
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For an answer to a request that does not block.
    pub answer: Duration,
    /// For a daemon that is not there.
    pub reach: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { answer: limits::ANSWER_TIME, reach: limits::REACH_TIME }
    }
}

/// Talks to one daemon. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    idle: Mutex<Vec<connect::Connection>>,
    /// An older daemon was asked to hand over, or must not be.
    replaced: AtomicBool,
    /// What the last answer that said so said is unread.
    unread: AtomicU64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("socket", &self.shared.options.socket)
            .finish_non_exhaustive()
    }
}

/// Whether a call may start a daemon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// When there is none.
    WhenNeeded,
    /// Its absence is the answer.
    Never,
}

/// One request, ready to be sent any number of times.
struct Call {
    route: RouteId,
    id: Option<String>,
    query: String,
    body: Bytes,
    request_id: Option<RequestId>,
    start: Start,
}

impl Call {
    fn new(route: RouteId) -> Result<Call, ApiError> {
        let request_id = match route.route().effect {
            Effect::Reads => None,
            Effect::Changes => Some(random_request_id()?),
        };
        let (id, query, body, start) = (None, String::new(), Bytes::new(), Start::WhenNeeded);
        Ok(Call { route, id, query, body, request_id, start })
    }

    fn id(self, id: &TaskId) -> Call {
        Call { id: Some(id.as_str().to_owned()), ..self }
    }

    fn query(self, query: &impl Query) -> Call {
        Call { query: query.to_query(), ..self }
    }

    fn json(self, body: &impl Serialize) -> Result<Call, ApiError> {
        let bytes = serde_json::to_vec(body).map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("write a request as JSON: {error}"))
        })?;
        self.bytes(bytes.into())
    }

    fn bytes(self, body: Bytes) -> Result<Call, ApiError> {
        if body.len() > limits::BODY_BYTES_MAX {
            let limit = limits::BODY_BYTES_MAX >> 20;
            let message =
                format!("send a request of {} bytes: the limit is {limit} MiB", body.len());
            return Err(ApiError::new(ErrorCode::TooLarge, message)
                .hint("submit fewer tasks at once, or pass large data in files"));
        }
        Ok(Call { body, ..self })
    }

    fn never_start(self) -> Call {
        Call { start: Start::Never, ..self }
    }
}

fn random_request_id() -> Result<RequestId, ApiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("draw a random request id: {error}"))
    })?;
    Ok(RequestId::from_random(bytes))
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::new(ErrorCode::Protocol, format!("understand the daemon's answer: {error}"))
            .hint("the daemon may be of another version: meanwhile daemon stop (tasks run on)")
    })
}

impl Client {
    /// A client; it connects at the first request.
    pub fn new(options: Options) -> Client {
        let (idle, replaced) = (Mutex::default(), AtomicBool::new(false));
        let unread = AtomicU64::new(0);
        Client { shared: Arc::new(Shared { options, idle, replaced, unread }) }
    }

    /// How many notices the session had not read at the last answer, where [`Options::shows`] is set.
    pub fn unread(&self) -> u64 {
        self.shared.unread.load(Ordering::Relaxed)
    }

    async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, ApiError> {
        decode(&self.exchange(&call).await?)
    }

    /// Launches tasks, all or none; they are on disk when this returns.
    pub async fn submit(&self, request: &SubmitRequest) -> Result<SubmitReply, ApiError> {
        self.call(Call::new(RouteId::Submit)?.json(request)?).await
    }

    /// Uploads standard input for a task.
    pub async fn upload_stdin(&self, bytes: Bytes) -> Result<StdinReply, ApiError> {
        if bytes.len() > limits::STDIN_BYTES_MAX {
            let limit = limits::STDIN_BYTES_MAX >> 20;
            let message = format!("spool standard input: it is longer than {limit} MiB");
            return Err(ApiError::new(ErrorCode::TooLarge, message).hint("use --stdin FILE"));
        }
        self.call(Call::new(RouteId::Stdin)?.bytes(bytes)?).await
    }

    /// Lists tasks.
    pub async fn list(&self, query: &ListQuery) -> Result<ListReply, ApiError> {
        self.call(Call::new(RouteId::List)?.query(query)).await
    }

    /// Counts tasks by state.
    pub async fn summary(&self, query: &ListQuery) -> Result<SummaryReply, ApiError> {
        self.call(Call::new(RouteId::Summary)?.query(query)).await
    }

    /// Shows several tasks.
    pub async fn status(&self, ids: Vec<TaskId>) -> Result<Vec<Task>, ApiError> {
        let query = StatusQuery { id: ids };
        let reply: StatusReply = self.call(Call::new(RouteId::Status)?.query(&query)).await?;
        Ok(reply.tasks)
    }

    /// Shows one task.
    pub async fn task(&self, id: &TaskId) -> Result<Task, ApiError> {
        self.call(Call::new(RouteId::Task)?.id(id)).await
    }

    /// Reads one page of output.
    pub async fn output(&self, id: &TaskId, query: &OutputQuery) -> Result<OutputReply, ApiError> {
        self.call(Call::new(RouteId::Output)?.id(id).query(query)).await
    }

    /// Reads output page by page as it is written, from `query.since` (else from the start) to the end.
    pub fn follow(&self, id: &TaskId, query: OutputQuery) -> Follow {
        Follow::new(self.clone(), id.clone(), query)
    }

    /// Waits for tasks; after a lost connection it waits on, for the rest of the time.
    pub async fn wait(&self, request: &WaitRequest) -> Result<WaitReply, ApiError> {
        self.patiently(RouteId::Wait, request.timeout, |timeout| {
            let mut request = request.clone();
            request.timeout = timeout;
            request
        })
        .await
    }

    /// A request that blocks, asked again after a lost connection for what is left of its time.
    async fn patiently<Q: Serialize, A: DeserializeOwned>(
        &self,
        route: RouteId,
        timeout: Option<crate::Span>,
        request: impl Fn(Option<crate::Span>) -> Q,
    ) -> Result<A, ApiError> {
        let started = Instant::now();
        let mut reach = self.reach();
        loop {
            let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let left = timeout
                .map(|timeout| crate::Span::from_ms(timeout.as_ms().saturating_sub(elapsed)));
            let call = Call::new(route)?.json(&request(left))?;
            if let Some(body) = self.try_exchange(&call, &mut reach).await? {
                return decode(&body);
            }
        }
    }

    /// Reads the inbox and leaves it as it is.
    pub async fn inbox(&self, query: &InboxQuery) -> Result<InboxReply, ApiError> {
        self.call(Call::new(RouteId::Inbox)?.query(query)).await
    }

    /// Takes what is unread, or waits for it; after a lost connection it waits on, for the rest of the time.
    pub async fn deliver(&self, request: &DeliverRequest) -> Result<DeliverReply, ApiError> {
        self.patiently(RouteId::Deliver, request.timeout, |timeout| {
            let mut request = request.clone();
            request.timeout = timeout;
            request
        })
        .await
    }

    /// Says that notices have arrived.
    pub async fn acknowledge(&self, request: &AckRequest) -> Result<AckReply, ApiError> {
        self.call(Call::new(RouteId::Acknowledge)?.json(request)?).await
    }

    /// Says what the session is doing.
    pub async fn presence(&self, request: &PresenceRequest) -> Result<PresenceReply, ApiError> {
        self.call(Call::new(RouteId::Presence)?.json(request)?).await
    }

    /// What the session must know after its conversation was shortened.
    pub async fn compaction(&self) -> Result<CompactionReply, ApiError> {
        self.call(Call::new(RouteId::Compaction)?).await
    }

    /// Cancels tasks.
    pub async fn cancel(&self, request: &CancelRequest) -> Result<CancelReply, ApiError> {
        self.call(Call::new(RouteId::Cancel)?.json(request)?).await
    }

    /// Starts the next attempt of a task.
    pub async fn retry(&self, id: &TaskId, request: &RetryRequest) -> Result<Task, ApiError> {
        self.call(Call::new(RouteId::Retry)?.id(id).json(request)?).await
    }

    /// Says how a task ended.
    pub async fn complete(&self, id: &TaskId, request: &CompleteRequest) -> Result<Task, ApiError> {
        self.call(Call::new(RouteId::Complete)?.id(id).json(request)?).await
    }

    /// Gives a task more time.
    pub async fn extend(&self, id: &TaskId, request: &ExtendRequest) -> Result<Task, ApiError> {
        self.call(Call::new(RouteId::Extend)?.id(id).json(request)?).await
    }

    /// Shows the lanes.
    pub async fn lanes(&self) -> Result<LanesReply, ApiError> {
        self.call(Call::new(RouteId::Lanes)?).await
    }

    /// Expires stale tasks.
    pub async fn prune(&self) -> Result<PruneReply, ApiError> {
        self.call(Call::new(RouteId::Prune)?).await
    }

    /// Deletes finished tasks.
    pub async fn clean(&self, request: &CleanRequest) -> Result<CleanReply, ApiError> {
        self.call(Call::new(RouteId::Clean)?.json(request)?).await
    }

    /// Checks health.
    pub async fn doctor(&self) -> Result<DoctorReply, ApiError> {
        self.call(Call::new(RouteId::Doctor)?).await
    }

    /// Reads the configuration.
    pub async fn config(&self, query: &ConfigQuery) -> Result<ConfigReply, ApiError> {
        self.call(Call::new(RouteId::ConfigGet)?.query(query)).await
    }

    /// Changes one setting.
    pub async fn config_set(&self, request: &ConfigSet) -> Result<ConfigEntry, ApiError> {
        self.call(Call::new(RouteId::ConfigSet)?.json(request)?).await
    }

    /// The daemon's facts; it is started when needed.
    pub async fn daemon(&self) -> Result<DaemonStatus, ApiError> {
        self.call(Call::new(RouteId::Daemon)?).await
    }

    /// The facts of the daemon that runs; `None` when none does.
    pub async fn running_daemon(&self) -> Result<Option<DaemonStatus>, ApiError> {
        none_if_absent(self.call(Call::new(RouteId::Daemon)?.never_start()).await)
    }

    /// Stops the daemon; `None` when none runs (any more).
    pub async fn stop(&self, request: &StopRequest) -> Result<Option<StopReply>, ApiError> {
        none_if_absent(
            self.call(Call::new(RouteId::DaemonStop)?.json(request)?.never_start()).await,
        )
    }

    /// Who asked for what; for people.
    pub async fn audit(&self, query: &AuditQuery) -> Result<AuditReply, ApiError> {
        self.call(Call::new(RouteId::Audit)?.query(query)).await
    }

    /// The stream of events; it resumes by itself after a lost connection.
    pub fn events(&self, query: EventsQuery) -> Events {
        Events::new(self.clone(), query)
    }
}

fn none_if_absent<T>(result: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code == ErrorCode::Unreachable => Ok(None),
        Err(error) => Err(error),
    }
}
