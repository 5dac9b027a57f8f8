//! One request and its answer, sent again until there is one.
//!
//! What it is for: the rules of patience. What it owns: the retry loop, starting a daemon, the offline answer, and the
//! errors for a daemon that is absent or silent. What it never does: send a changing request under a second id.
//!
//! ```text
//! connect --absent--> offline answer | start a daemon, pause, connect again (10 s)
//!    | sends --broken, stopping--> pause, connect again, same request id
//!    | no answer in 5 s (requests that do not block) --> error that names the daemon's pid
//!    v
//!  answer: body | ApiError
//! ```

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::time::{Instant, sleep, timeout};

use super::connect::{ConnectError, Connection};
use super::hand_over::Age;
use super::{Call, Client, OfflineRequest, Patience, Start};
use crate::error::{ApiError, ErrorCode, ErrorReply};
use crate::routes::{Answers, Body, Effect, RouteId};
use crate::{headers, limits, version};

/// How many unused connections are kept.
const IDLE_CONNECTIONS_MAX: usize = 4;

/// How long a connection must have lived for its loss to be a new incident with its own ten seconds, rather than one
/// more sign of a daemon that keeps dying.
const NEW_INCIDENT: Duration = Duration::from_secs(1);

/// How long a blocking request waits before the client looks whether the daemon answers at all.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// How long to wait for a started daemon before starting one again.
const START_AGAIN: Duration = Duration::from_secs(1);

/// How many body bytes a daemon surely reads and stores per second; large bodies get so much more time.
const BODY_BYTES_PER_SECOND: usize = 4 << 20;

/// The time that is left to reach a daemon.
pub(super) struct Reach {
    patience: Patience,
    failing_since: Option<Instant>,
    started_at: Option<Instant>,
    pause: Duration,
}

impl Reach {
    /// Notes a failure: pauses, or says that the time is over.
    async fn failed(&mut self, why: &str, client: &Client) -> Result<(), ApiError> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() + self.pause > self.patience.reach {
            return Err(client.unreachable(why, self.patience.reach));
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(limits::REACH_PAUSE_MAX);
        Ok(())
    }

    /// Notes that a connection that was opened then is lost.
    fn lost(&mut self, opened: Instant) {
        if opened.elapsed() >= NEW_INCIDENT {
            self.failing_since = None;
            self.started_at = None;
            self.pause = limits::REACH_PAUSE_MIN;
        }
    }
}

/// What came of an attempt to get an answer.
pub(super) enum Answer {
    /// A reply with its body still to be read.
    Reply(Response<Incoming>, Connection),
    /// The offline function's answer.
    Offline(Bytes),
    /// The connection broke; ask again.
    Lost,
}

impl Client {
    pub(super) fn reach(&self) -> Reach {
        let (patience, pause) = (self.shared.options.patience, limits::REACH_PAUSE_MIN);
        Reach { patience, failing_since: None, started_at: None, pause }
    }

    /// The body of the answer, however often it takes.
    pub(super) async fn exchange(&self, call: &Call) -> Result<Bytes, ApiError> {
        let mut reach = self.reach();
        loop {
            if let Some(body) = self.try_exchange(call, &mut reach).await? {
                return Ok(body);
            }
        }
    }

    /// The body of the answer; `None` when the connection broke and the request may be sent again.
    pub(super) async fn try_exchange(
        &self,
        call: &Call,
        reach: &mut Reach,
    ) -> Result<Option<Bytes>, ApiError> {
        let within = self.answer_time(call);
        let (response, connection) = match self.ask(call, reach).await? {
            Answer::Offline(body) => return Ok(Some(body)),
            Answer::Lost => return Ok(None),
            Answer::Reply(response, connection) => (response, connection),
        };
        let (opened, status, age) =
            (Instant::now(), response.status(), Age::of(response.headers()));
        self.note_unread(response.headers());
        let pid = connection.daemon_pid;
        let collected = match timeout_opt(within, response.into_body().collect()).await {
            Some(collected) => collected,
            None => return Err(self.unresponsive(pid)),
        };
        let Ok(collected) = collected else {
            self.after_loss(call, reach, opened, "the connection broke in the answer").await?;
            return Ok(None);
        };
        let body = collected.to_bytes();
        if status.is_success() {
            if age.older {
                self.replace(call, connection, age).await;
            } else {
                self.keep(connection);
            }
            return Ok(Some(body));
        }
        let error = read_error(status.as_u16(), &body);
        // It has done nothing, and the daemon that takes its place can.
        if error.code == ErrorCode::Protocol && age.too_old {
            return match self.replace(call, connection, age).await {
                true => Ok(None),
                false => Err(error),
            };
        }
        if error.code == ErrorCode::Stopping {
            self.after_loss(call, reach, opened, &error.message).await?;
            return Ok(None);
        }
        self.keep(connection);
        Err(error)
    }

    fn note_unread(&self, headers: &hyper::HeaderMap) {
        let unread = headers.get(headers::UNREAD).and_then(|value| value.to_str().ok());
        let unread = unread.and_then(|text| text.parse().ok()).unwrap_or(0);
        self.shared.unread.store(unread, std::sync::atomic::Ordering::Relaxed);
    }

    /// Sends the request once and waits for the head of the answer.
    pub(super) async fn ask(&self, call: &Call, reach: &mut Reach) -> Result<Answer, ApiError> {
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => match self.open(call, reach).await? {
                Opened::Connection(connection) => connection,
                Opened::Offline(body) => return Ok(Answer::Offline(body)),
            },
        };
        let opened = Instant::now();
        let request = self.request(call)?;
        let pid = connection.daemon_pid;
        let sent = async {
            connection.sender.ready().await?;
            connection.sender.send_request(request).await
        };
        let answered = match self.answer_time(call) {
            Some(within) => timeout(within, sent).await.ok(),
            None => {
                tokio::pin!(sent);
                tokio::select! {
                    answer = &mut sent => Some(answer),
                    () = self.hangs() => None,
                }
            }
        };
        match answered {
            Some(Ok(response)) => Ok(Answer::Reply(response, connection)),
            Some(Err(error)) => {
                self.after_loss(call, reach, opened, &error.to_string()).await?;
                Ok(Answer::Lost)
            }
            None => Err(self.unresponsive(pid)),
        }
    }

    /// A new connection, with a daemon started for it when needed.
    async fn open(&self, call: &Call, reach: &mut Reach) -> Result<Opened, ApiError> {
        loop {
            let error = match self.connect().await {
                Ok(connection) => return Ok(Opened::Connection(connection)),
                Err(error) => error,
            };
            let why = match error {
                ConnectError::Final(error) => return Err(self.cannot_connect(&error)),
                ConnectError::Busy(error) => error.to_string(),
                ConnectError::Absent(error) => {
                    if let Some(body) = self.offline(call)? {
                        return Ok(Opened::Offline(body));
                    }
                    self.start(call, reach, &error)?;
                    error.to_string()
                }
            };
            reach.failed(&why, self).await?;
        }
    }

    /// A connection to the daemon where it usually listens, else where it says it does.
    pub(super) async fn connect(&self) -> Result<Connection, ConnectError> {
        let options = &self.shared.options;
        let absent = match Connection::open(&options.socket).await {
            Err(ConnectError::Absent(error)) => error,
            other => return other,
        };
        match options.elsewhere.as_ref().and_then(|find| find()) {
            Some(socket) => match Connection::open(&socket).await {
                Err(ConnectError::Absent(_) | ConnectError::Final(_)) => {
                    Err(ConnectError::Absent(absent))
                }
                other => other,
            },
            None => Err(ConnectError::Absent(absent)),
        }
    }

    /// Has a daemon started, unless that was tried a moment ago.
    fn start(&self, call: &Call, reach: &mut Reach, why: &io::Error) -> Result<(), ApiError> {
        let start = match (&self.shared.options.start, call.start) {
            (Some(start), Start::WhenNeeded) => start,
            (None, _) | (_, Start::Never) => {
                return Err(self.unreachable(&why.to_string(), Duration::ZERO));
            }
        };
        if reach.started_at.is_none_or(|at| at.elapsed() >= START_AGAIN) {
            start()?;
            reach.started_at = Some(Instant::now());
        }
        Ok(())
    }

    fn offline(&self, call: &Call) -> Result<Option<Bytes>, ApiError> {
        let Some(answer) = &self.shared.options.offline else { return Ok(None) };
        if call.start == Start::Never || call.route.route().effect != Effect::Reads {
            return Ok(None);
        }
        let request =
            OfflineRequest { route: call.route, id: call.id.as_deref(), query: &call.query };
        answer(request).transpose().map(|body| body.map(Bytes::from))
    }

    pub(super) fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, ApiError> {
        let route = call.route.route();
        let mut target = route.path_for(call.id.as_deref().unwrap_or_default());
        if !call.query.is_empty() {
            target.push('?');
            target.push_str(&call.query);
        }
        let mut request = Request::builder()
            .method(route.method.name())
            .uri(target)
            .header("host", "meanwhile")
            .header(headers::PROTOCOL, version::PROTOCOL)
            .header(headers::CLIENT_VERSION, version::PROGRAM);
        match route.body {
            Body::Empty => {}
            Body::Json(_) => request = request.header("content-type", "application/json"),
            Body::Bytes => request = request.header("content-type", "application/octet-stream"),
        }
        if let Some(id) = &call.request_id {
            request = request.header(headers::REQUEST_ID, id.as_str());
        }
        if let Some(session) = &self.shared.options.session {
            request = request.header(headers::SESSION, session.to_header());
        }
        if let Some(shows) = self.shared.options.shows {
            request = request.header(headers::SHOWS, shows.name());
        }
        request.body(Full::new(call.body.clone())).map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("build a request: {error}"))
        })
    }

    /// After a broken connection: pauses before the next try, or gives up.
    async fn after_loss(
        &self,
        call: &Call,
        reach: &mut Reach,
        opened: Instant,
        why: &str,
    ) -> Result<(), ApiError> {
        if call.start == Start::Never && self.is_absent().await {
            return Err(self.unreachable(why, Duration::ZERO));
        }
        reach.lost(opened);
        reach.failed(why, self).await
    }

    /// After a stream broke: pauses before the next try, or gives up.
    pub(super) async fn stream_lost(
        &self,
        reach: &mut Reach,
        opened: Instant,
    ) -> Result<(), ApiError> {
        reach.lost(opened);
        reach.failed("the stream of events broke", self).await
    }

    async fn is_absent(&self) -> bool {
        matches!(self.connect().await, Err(ConnectError::Absent(_)))
    }

    /// How long the answer may take; `None` for requests that block by their nature.
    fn answer_time(&self, call: &Call) -> Option<Duration> {
        let follows = call.query.split('&').any(|pair| pair == "follow=1");
        match call.route.route().answers {
            Answers::AtOnce if !follows => {
                let extra = Duration::from_secs((call.body.len() / BODY_BYTES_PER_SECOND) as u64);
                Some(self.shared.options.patience.answer + extra)
            }
            Answers::AtOnce | Answers::Later => None,
        }
    }

    /// Returns when a daemon that has not answered a blocking request for a while answers nobody else either. Looks
    /// once: whoever waits for hours asks nothing more.
    async fn hangs(&self) {
        sleep(LOOK_AFTER).await;
        let asked = async {
            let mut connection = self.connect().await.ok()?;
            let request = self.request(&Call::new(RouteId::Daemon).ok()?).ok()?;
            connection.sender.ready().await.ok()?;
            connection.sender.send_request(request).await.ok()
        };
        if timeout(self.shared.options.patience.answer, asked).await.is_ok() {
            // It lives, or has gone, which the connection of the request itself tells.
            std::future::pending::<()>().await;
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.shared.idle.lock().expect("no holder of this lock panics");
        while let Some(connection) = idle.pop() {
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.shared.idle.lock().expect("no holder of this lock panics");
        if idle.len() < IDLE_CONNECTIONS_MAX && !connection.sender.is_closed() {
            idle.push(connection);
        }
    }

    pub(super) fn forget_idle(&self) {
        self.shared.idle.lock().expect("no holder of this lock panics").clear();
    }

    fn cannot_connect(&self, error: &io::Error) -> ApiError {
        let socket = self.shared.options.socket.display();
        ApiError::new(ErrorCode::Unreachable, format!("connect to {socket}: {error}"))
            .hint("check who owns that file, then: meanwhile doctor")
    }

    fn unreachable(&self, why: &str, after: Duration) -> ApiError {
        let socket = self.shared.options.socket.display();
        let tried = match after {
            Duration::ZERO => String::new(),
            after => format!(" within {} s", after.as_secs_f64()),
        };
        let message = format!("no daemon at {socket}{tried}: {why}");
        ApiError::new(ErrorCode::Unreachable, message)
            .hint("see why it does not start: meanwhile daemon run")
            .hint("check the installation: meanwhile doctor")
    }

    fn unresponsive(&self, pid: Option<i32>) -> ApiError {
        let seconds = self.shared.options.patience.answer.as_secs_f64();
        let Some(pid) = pid else {
            let message = format!("no answer from the daemon within {seconds} s");
            return ApiError::new(ErrorCode::Unresponsive, message).hint("meanwhile doctor");
        };
        let message = format!("no answer from the daemon (pid {pid}) within {seconds} s");
        ApiError::new(ErrorCode::Unresponsive, message)
            .hint(format!("it is left alone; see what it does: ps -o pid,stat,wchan:20,args {pid}"))
            .hint(format!("tasks survive it: kill -KILL {pid}, then try again"))
            .detail("pid", pid)
    }
}

enum Opened {
    Connection(Connection),
    Offline(Bytes),
}

async fn timeout_opt<T>(within: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match within {
        Some(within) => timeout(within, future).await.ok(),
        None => Some(future.await),
    }
}

/// The error in a reply; one that is not ours (a proxy's page) is named by its status.
pub(super) fn read_error(status: u16, body: &[u8]) -> ApiError {
    match serde_json::from_slice::<ErrorReply>(body) {
        Ok(reply) => reply.error,
        Err(_) => ApiError::new(
            ErrorCode::Protocol,
            format!("understand the daemon's answer: HTTP status {status} without an error object"),
        ),
    }
}
