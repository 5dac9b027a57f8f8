//! What the simulated daemon and supervisors say to each other, and what owner files hold.
//!
//! Owns the shapes only: the subset of the real protocol and records that decides what becomes of attempts.

use meanwhile_core::event::Exit;
use meanwhile_core::{AttemptToken, TaskId};

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) task: TaskId,
    pub(super) attempt: u32,
}

/// An attempt with what fences it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) key: Key,
    pub(super) token: AttemptToken,
}

pub(super) type SupId = u32;
pub(super) type ConnId = u32;

/// From the daemon.
#[derive(Clone, Debug)]
pub(super) enum Down {
    Init,
    /// Carries the lock of the attempt's owner file.
    Start(Start),
    Stop {
        token: AttemptToken,
        grace_ms: u64,
    },
    Extend {
        token: AttemptToken,
        timeout_ms: Option<u64>,
    },
    Recorded {
        token: AttemptToken,
    },
    Stopping,
    /// The other end is closed.
    End,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) job: Job,
    pub(super) timeout_ms: Option<u64>,
    pub(super) grace_ms: u64,
    pub(super) keep_leaked: bool,
}

/// From a supervisor.
#[derive(Clone, Debug)]
pub(super) enum Up {
    Hello {
        current: Option<Running>,
    },
    Started {
        token: AttemptToken,
    },
    Ended(Record),
    Refused {
        token: AttemptToken,
    },
    Unkillable {
        token: AttemptToken,
    },
    /// The other end is closed, or the connection broke.
    End {
        broken: bool,
    },
}

/// What a greeting says of the attempt at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) token: AttemptToken,
    pub(super) main: bool,
    pub(super) phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Runs,
    Unkillable,
    /// Its end is on its way, or its leftovers are kept.
    Over,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) token: AttemptToken,
    pub(super) exit: Option<Exit>,
    pub(super) spawn_error: bool,
    pub(super) why: Why,
    pub(super) tree: TreeState,
    pub(super) run_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Exited,
    TimedOut { after_ms: u64 },
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TreeState {
    Pending,
    Empty,
    Kept,
}

/// Who owns an attempt, by its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) token: AttemptToken,
    pub(super) boot: u32,
    pub(super) sup: SupId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Nobody,
    /// The daemon or a start message under way.
    Flight,
    Supervisor(SupId),
}

/// One write into an owner file; a header empties it first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Write {
    Header(Header),
    Started,
    Pending(Record),
    Final(Record),
}

/// An owner file: every write with its time, so that a power cut can take back the latest.
#[derive(Clone, Debug)]
pub(super) struct OwnerFile {
    pub(super) holder: Holder,
    writes: Vec<(u64, Write)>,
}

/// What an owner file says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    pub(super) header: Option<Header>,
    pub(super) started: bool,
    pub(super) exit: Option<Record>,
}

impl OwnerFile {
    pub(super) const fn new() -> Self {
        Self { holder: Holder::Nobody, writes: Vec::new() }
    }

    pub(super) fn write(&mut self, now: u64, write: Write) {
        self.writes.push((now, write));
    }

    pub(super) fn view(&self) -> View {
        let mut view = View::default();
        let mut last = None;
        for (_, write) in &self.writes {
            match write {
                Write::Header(header) => {
                    view = View { header: Some(*header), ..View::default() };
                    last = None;
                }
                Write::Started => view.started = true,
                Write::Pending(record) => view.exit = Some(*record),
                Write::Final(record) => last = Some(*record),
            }
        }
        view.exit = last.or(view.exit);
        view
    }

    /// Takes back up to `back` writes that are younger than `since`. False when nothing is left.
    pub(super) fn cut(&mut self, since: u64, back: usize) -> bool {
        for _ in 0..back {
            if self.writes.last().is_some_and(|(at, _)| *at >= since) {
                self.writes.pop();
            }
        }
        !self.writes.is_empty()
    }
}
