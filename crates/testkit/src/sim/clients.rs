//! Clients: what they ask, send again, and were told.
//!
//! Owns the requests with their ids, and the promises that answers are. A client that was not answered asks
//! again under the same id; one that has vanished is owed nothing, but what it asked for may still happen, once.

use meanwhile_core::input::Until;
use meanwhile_core::spec::{Placement, TaskSpec};
use meanwhile_core::{RequestId, State, TaskId, WaitId};

/// A launch before it has an id.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) spec: TaskSpec,
    pub(super) placement: Placement,
    /// Dependencies within the batch, by position.
    pub(super) after_entries: Vec<usize>,
    pub(super) run: u16,
    pub(super) fate: u32,
}

/// What a request is for.
#[derive(Clone, Debug)]
pub(super) enum Want {
    Submit(Vec<Draft>),
    Cancel { targets: Vec<TaskId>, cascade: bool },
    Retry(TaskId),
    Complete { task: TaskId, failed: bool },
    Extend { task: TaskId, more_ms: u64 },
    Prune,
    Forget(Vec<TaskId>),
}

/// Answers of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Submitted(Vec<TaskId>),
    /// Task, state before, whether anything was done.
    Changed(Vec<(TaskId, State, bool)>),
}

/// Where a request stands for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// To be sent (again).
    Open,
    Answered(Reply),
    Refused(String),
    Gone,
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: RequestId,
    pub(super) want: Want,
    /// The tree it runs in, and dies with.
    pub(super) inside: Option<usize>,
    pub(super) standing: Standing,
    pub(super) sent: u32,
    /// It will be sent again at some moment.
    pub(super) planned: bool,
}

/// A client that blocks.
#[derive(Clone, Debug)]
pub(super) struct WaitClient {
    pub(super) inside: Option<(TaskId, usize)>,
    pub(super) targets: Vec<TaskId>,
    /// Those that had not ended when it last asked, each with the attempt it was at.
    pub(super) pending: Vec<(TaskId, u32)>,
    pub(super) any: bool,
    pub(super) until: Until,
    /// When it gives up, by the clock of processes.
    pub(super) gives_up: Option<u64>,
    pub(super) standing: WaitStanding,
    /// It will be asked for again at some moment.
    pub(super) planned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitStanding {
    Idle,
    Asked(WaitId),
    /// Vanished; the daemon has not heard of it yet.
    Vanished(WaitId),
    Over,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Clients {
    pub(super) requests: Vec<Request>,
    /// When each was first sent, jumps of the clock counted as time.
    pub(super) since: Vec<u64>,
    pub(super) waits: Vec<WaitClient>,
    pub(super) answers: u64,
    pub(super) resent: u64,
}

impl Reply {
    /// As it is kept for a request that is sent again.
    pub(super) fn to_saved(&self) -> Vec<u8> {
        let mut words = Vec::new();
        match self {
            Self::Submitted(ids) => {
                words.push("submitted".to_owned());
                words.extend(ids.iter().map(ToString::to_string));
            }
            Self::Changed(changes) => {
                words.push("changed".to_owned());
                let word = |(id, state, acted): &(TaskId, State, bool)| {
                    format!("{id}:{}:{}", state.name(), u8::from(*acted))
                };
                words.extend(changes.iter().map(word));
            }
        }
        words.join(" ").into_bytes()
    }

    pub(super) fn from_saved(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut words = text.split(' ');
        match words.next()? {
            "submitted" => {
                words.map(|w| w.parse().ok()).collect::<Option<_>>().map(Self::Submitted)
            }
            "changed" => {
                let change = |word: &str| {
                    let mut parts = word.split(':');
                    let id = parts.next()?.parse().ok()?;
                    Some((id, State::from_name(parts.next()?)?, parts.next()? == "1"))
                };
                words.map(change).collect::<Option<_>>().map(Self::Changed)
            }
            _ => None,
        }
    }
}

impl Clients {
    /// Whether the daemon must take a client inside this task for blocked.
    pub(super) fn blocks_inside(&self, task: TaskId) -> bool {
        self.waits.iter().any(|wait| {
            wait.inside.is_some_and(|(inside, _)| inside == task)
                && matches!(wait.standing, WaitStanding::Asked(_) | WaitStanding::Vanished(_))
        })
    }

    pub(super) fn by_wait(&self, id: WaitId) -> Option<usize> {
        self.waits.iter().position(|wait| {
            matches!(wait.standing, WaitStanding::Asked(w) | WaitStanding::Vanished(w) if w == id)
        })
    }

    /// The daemon is gone, with every connection to it. Says who has to ask again.
    pub(super) fn disconnected(&mut self) -> (Vec<usize>, Vec<usize>) {
        let mut open = Vec::new();
        for (at, request) in self.requests.iter_mut().enumerate() {
            if request.standing == Standing::Open && !request.planned {
                request.planned = true;
                open.push(at);
            }
        }
        let mut waits = Vec::new();
        for (at, wait) in self.waits.iter_mut().enumerate() {
            match wait.standing {
                WaitStanding::Asked(_) => {
                    wait.standing = WaitStanding::Idle;
                    if !std::mem::replace(&mut wait.planned, true) {
                        waits.push(at);
                    }
                }
                WaitStanding::Vanished(_) => wait.standing = WaitStanding::Over,
                WaitStanding::Idle | WaitStanding::Over => {}
            }
        }
        (open, waits)
    }
}
