//! What the HTTP thread asks of the loop thread, and what it is answered.
//!
//! ```text
//!   http thread ── Letter{ask, request, reply} ──► Postbox (channel + eventfd) ──► loop thread
//!        ▲                                                                             │
//!        └────────────── oneshot: Result<Reply, ApiError>, after the commit ───────────┘
//! ```
//!
//! Owns the words between the two threads. Never decides anything: asks are prepared and checked by
//! the HTTP side as far as files and the store's past allow, and judged by the core.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use meanwhile_api::ApiError;
use meanwhile_core::inbox::Manner;
use meanwhile_core::input::Until;
use meanwhile_core::machine::{LaneView, TaskView};
use meanwhile_core::sessions::{AgentProcess, Begins, Surroundings};
use meanwhile_core::spec::{Placement, Readiness};
use meanwhile_core::{
    Actor, Answer, AttemptToken, Event, NoticeId, RequestId, SessionId, State, TaskId, TaskSpec,
    WaitId,
};
use meanwhile_store::NoticeRecord;
use tokio::sync::{oneshot, watch};

use crate::engine::Heard;
use crate::settings::Settings;

/// One ask under way.
#[derive(Debug)]
pub struct Letter {
    /// What is asked.
    pub ask: Ask,
    /// The id of a changing request: one that was seen before is answered as it was then.
    pub request: Option<RequestId>,
    /// Where the answer goes; gone when the client is.
    pub reply: oneshot::Sender<Result<Reply, ApiError>>,
    /// Whether it is still to be done.
    pub claim: Claim,
}

/// Decides a race: a letter is done by the loop, or given up by whoever asked, and never both.
#[derive(Clone, Debug, Default)]
pub struct Claim(Arc<AtomicBool>);

impl Claim {
    /// True for the first who asks.
    #[must_use]
    pub fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// What can be asked of the loop.
#[derive(Debug)]
pub enum Ask {
    /// Accept these, all or none. Ids are fresh; dependencies are ids of kept tasks or of the batch.
    Submit(Vec<PreparedTask>),
    /// End these.
    Cancel { targets: Vec<TaskId>, by: Actor, cascade: bool },
    /// Another attempt of an ended task. `env`: the caller's captured environment replaces one that
    /// was deleted.
    Retry { task: TaskId, by: Actor, env: Option<String> },
    /// Stop it and count it as done or failed.
    Complete { task: TaskId, by: Actor, failed: bool, message: String },
    /// More running time.
    Extend { task: TaskId, by: Actor, more: Duration },
    /// Expire stale tasks; look again after tasks whose supervisor may be gone.
    Prune,
    /// Delete these ended tasks and their files; unfinished ones are left out.
    Forget { tasks: Vec<TaskId> },
    /// Answered when the wait is over. Ask it by [`Postbox::wait`], which also tells of a client
    /// that vanished.
    Wait { id: WaitId, wait: WaitFor },
    /// The client of that wait is gone.
    Hangup(WaitId),
    /// Answered with what is unread; one that waits, when its session is to be told. Ask it by [`Postbox::deliver`].
    Deliver { id: WaitId, want: DeliverFor },
    /// These notices have arrived. Written down before it is answered, or with whatever is committed next.
    /// `reader` is the agent that a hook has told, which shows by its next hook that it has read it.
    Acknowledge { ids: Vec<NoticeId>, at_once: bool, reader: Option<Told> },
    /// A session says what it does.
    Presence { session: SessionId, what: Heard },
    /// A session goes on under another name.
    Rebind { from: SessionId, to: SessionId },
    /// An agent process is in a session.
    Begin {
        process: AgentProcess,
        session: SessionId,
        how: Begins,
        surroundings: Option<Surroundings>,
    },
    /// The conversation of an agent process is closed.
    Close { process: AgentProcess, session: SessionId },
    /// How the scheduler sees these now (none: it has ended or is unknown).
    Views(Vec<TaskId>),
    /// Write down what may wait for the next commit: somebody is about to count it.
    WriteDown,
    /// Every lane with a task in it or a limit of its own.
    Lanes,
    /// New settings are in force from now on.
    Configure(Box<Settings>),
    /// A readiness check succeeded.
    Ready { task: TaskId, token: AttemptToken, how: String },
    /// Bytes for the task's held-open standard input or terminal.
    Input { task: TaskId, bytes: Vec<u8>, close: bool },
    /// Figures of the loop itself.
    Status,
    /// End the daemon; tasks go on, unless all are to be cancelled first. One that hands over is missed by its
    /// supervisors, so that there is a daemon again even if the newer one does not come.
    Stop { cancel_all: bool, hand_over: bool, by: Actor },
    /// From a helper thread of the loop: the remains of a lost attempt were looked after.
    RemainsGone { task: TaskId, token: AttemptToken, emptied: bool },
}

/// What a blocked client waits for.
#[derive(Clone, Debug)]
pub struct WaitFor {
    /// The task the client runs in.
    pub inside: Option<TaskId>,
    /// Kept tasks, ended ones too.
    pub targets: Vec<TaskId>,
    /// Answer at the first success.
    pub any: bool,
    /// The end, or readiness.
    pub until: Until,
    /// Answer (`timed_out`) after this long.
    pub timeout: Option<Duration>,
}

/// What somebody wants to be told.
#[derive(Clone, Debug)]
pub struct DeliverFor {
    /// Whose; none is everybody's.
    pub session: Option<SessionId>,
    /// Who takes it, as [`Holder`] writes it: what is leased to this holder comes again.
    pub holder: String,
    /// Whether a turn of the parent is started by it.
    pub manner: Manner,
    /// Wait until there is something to tell.
    pub wait: bool,
    /// Answer ([`Handed::TimedOut`]) after this long.
    pub timeout: Option<Duration>,
    /// Most notices to be handed out.
    pub at_most: usize,
}

/// Which agent was told of its session's notices.
#[derive(Clone, Debug)]
pub struct Told {
    /// Whose notices.
    pub session: SessionId,
    /// The agent.
    pub process: AgentProcess,
}

/// Who takes notices, as it is written: the way, a random word of the client's, and the process that asked.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// By which way.
    pub route: &'a str,
    /// The client's.
    pub word: &'a str,
    /// What is leased to a process that is gone is free at once.
    pub process: Option<AgentProcess>,
}

impl std::fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { route, word, process } = self;
        match process {
            Some(AgentProcess { pid, start_time }) => {
                write!(f, "{route}:{word}@{pid}.{start_time}")
            }
            None => write!(f, "{route}:{word}@"),
        }
    }
}

/// The process in a written holder.
#[must_use]
pub fn process_of_holder(text: &str) -> Option<AgentProcess> {
    let (pid, start_time) = text.rsplit_once('@')?.1.split_once('.')?;
    Some(AgentProcess { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? })
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Handed {
    /// Leased to the holder; so many more are unread.
    Notices { notices: Vec<NoticeRecord>, more: usize },
    /// There is nothing.
    Nothing,
    /// Nothing came in time.
    TimedOut,
    /// Another waiter of the session has come, or the session goes on under another name.
    TakenOver,
}

/// A checked launch.
#[derive(Debug)]
pub struct PreparedTask {
    /// Fresh random id.
    pub id: TaskId,
    /// Defaults applied, paths absolute, program found.
    pub spec: Box<TaskSpec>,
    /// Where it belongs.
    pub placement: Box<Placement>,
}

/// What the loop answers, after everything it says is on disk.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The ids in the order asked; an old id where an idempotency key or request id was known.
    Submitted(Vec<TaskId>),
    /// What became of each target.
    Changed(Vec<Change>),
    /// A wait is over.
    Waited(Answer),
    /// What was unread, or why nothing is handed out.
    Handed(Handed),
    /// In the order asked.
    Views(Vec<Option<LiveTask>>),
    /// All lanes.
    Lanes(Vec<LaneView>),
    /// Figures of the loop.
    Status(LoopStatus),
    /// It is done.
    Done,
}

/// How the loop sees a task that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveTask {
    /// The scheduler's view.
    pub view: TaskView,
    /// Its start, while that is not on disk: it is written with whatever is committed next.
    pub started: Option<Event>,
}

/// One task of a changing request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub task: TaskId,
    /// Its state when the request was applied.
    pub before: State,
    /// Whether anything was done; false when it had ended already.
    pub acted: bool,
}

/// Figures of the loop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoopStatus {
    /// Supervisors connected: with a task, and idle.
    pub supervisors_busy: u32,
    /// Supervisors waiting for the next task.
    pub supervisors_idle: u32,
    /// Unfinished tasks in memory.
    pub unfinished: u32,
    /// Turns, commits and events since the start.
    pub turns: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Facts committed.
    pub events: u64,
    /// Why starts are held, if they are.
    pub held: Option<String>,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
}

/// The HTTP thread's end: posts letters and wakes the loop.
#[derive(Clone, Debug)]
pub struct Postbox {
    letters: mpsc::Sender<Letter>,
    bell: Arc<Bell>,
    /// Numbers the waits of all clones.
    waits: Arc<AtomicU64>,
    /// Why the loop can do nothing at this moment, if it cannot.
    stalled: watch::Sender<Option<ApiError>>,
}

/// Tells the loop that a wait's client is gone, unless the wait was answered first.
struct HangupGuard<'a> {
    postbox: &'a Postbox,
    id: Option<WaitId>,
}

impl Drop for HangupGuard<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.postbox.tell(Ask::Hangup(id));
        }
    }
}

/// An eventfd: rung by whoever has posted something, heard by the loop's epoll.
#[derive(Debug)]
pub struct Bell(rustix::fd::OwnedFd);

impl Bell {
    /// A bell that nobody has rung.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> rustix::io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Self)
    }

    /// Wakes the loop. A full counter means that it has been rung already.
    pub fn ring(&self) {
        let _full_is_rung = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Silences it until it is rung again.
    pub fn hush(&self) {
        let mut count = [0; 8];
        let _empty_is_silent = rustix::io::read(&self.0, &mut count);
    }

    /// For the loop's epoll.
    #[must_use]
    pub fn fd(&self) -> rustix::fd::BorrowedFd<'_> {
        rustix::fd::AsFd::as_fd(&self.0)
    }
}

impl Postbox {
    /// The two ends. What bounds the channel is the number of connections the server serves.
    #[must_use]
    pub fn new(bell: Arc<Bell>) -> (Self, mpsc::Receiver<Letter>) {
        let (letters, received) = mpsc::channel();
        let stalled = watch::Sender::new(None);
        (Self { letters, bell, waits: Arc::default(), stalled }, received)
    }

    /// Posts an ask without waiting for its answer.
    pub fn post(&self, letter: Letter) {
        if self.letters.send(letter).is_ok() {
            self.bell.ring();
        }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// What the loop answers; `Stopping` when the loop is gone; why it is held up, if it is. What it had not begun is
    /// not done then. Whoever waits or stops the daemon is patient.
    pub async fn ask(&self, ask: Ask, request: Option<RequestId>) -> Result<Reply, ApiError> {
        let patient = matches!(ask, Ask::Wait { .. } | Ask::Deliver { .. } | Ask::Stop { .. });
        let (reply, mut answer) = oneshot::channel();
        let claim = Claim::default();
        self.post(Letter { ask, request, reply, claim: claim.clone() });
        let mut stalled = self.stalled.subscribe();
        let held_up = async {
            let seen = stalled.wait_for(Option::is_some).await.map(|why| why.clone());
            match seen.ok().flatten().filter(|_| !patient) {
                Some(why) => why,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = &mut answer => answer.unwrap_or_else(|_| {
                Err(ApiError::new(meanwhile_api::ErrorCode::Stopping, "daemon is stopping")
                    .hint("try again: a new one is started when needed"))
            }),
            why = held_up => Err(if claim.take() {
                why.hint("nothing was done; ask again when it is free")
            } else {
                why.hint("what was asked is done once it is free: look before you ask again")
            }),
        }
    }

    /// Takes what is unread, or waits for it. Dropping the future (its client vanished) tells the loop.
    ///
    /// # Errors
    /// A stopping daemon.
    pub async fn deliver(&self, want: DeliverFor) -> Result<Handed, ApiError> {
        let id = WaitId(self.waits.fetch_add(1, Ordering::Relaxed));
        let mut guard = HangupGuard { postbox: self, id: Some(id) };
        let reply = self.ask(Ask::Deliver { id, want }, None).await;
        guard.id = None;
        match reply? {
            Reply::Handed(handed) => Ok(handed),
            other => unreachable!("a delivery is answered by notices, not by {other:?}"),
        }
    }

    /// Tells the loop something that nobody waits for.
    pub fn tell(&self, ask: Ask) {
        let (reply, _nobody_listens) = oneshot::channel();
        self.post(Letter { ask, request: None, reply, claim: Claim::default() });
    }

    /// Says that the loop can do nothing for this reason, or that it can again.
    pub fn stall(&self, why: Option<ApiError>) {
        self.stalled.send_replace(why);
    }

    /// Whether it can do nothing at this moment.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled.borrow().is_some()
    }

    /// Waits until `wait` is over. Dropping the future (its client vanished) tells the loop.
    ///
    /// # Errors
    /// What the loop answers: an unknown task, a wait for oneself or an ancestor, a stopping daemon.
    pub async fn wait(&self, wait: WaitFor) -> Result<Answer, ApiError> {
        let id = WaitId(self.waits.fetch_add(1, Ordering::Relaxed));
        let mut guard = HangupGuard { postbox: self, id: Some(id) };
        let reply = self.ask(Ask::Wait { id, wait }, None).await;
        guard.id = None;
        match reply? {
            Reply::Waited(answer) => Ok(answer),
            other => unreachable!("a wait is answered by its end, not by {other:?}"),
        }
    }
}

/// Starts readiness checks; the loop calls it when a task that has one runs. Success comes back as
/// [`Ask::Ready`]; the check ends by itself when the attempt does.
pub trait ReadinessWatch: Send {
    /// Watches for the readiness of one attempt.
    fn watch(&self, task: TaskId, attempt: u32, token: AttemptToken, readiness: Readiness);
}
