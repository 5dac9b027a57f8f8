//! What scheduling needs to know of one task, in boxes what few tasks have.
//!
//! Owns: the shape of a row and how it comes from a spec. Never holds the spec itself.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::event::Stop;
use crate::id::{AttemptToken, TaskId};
use crate::notice::Notify;
use crate::spec::{Dependency, Placement, TaskSpec};
use crate::state::State;
use crate::time::{Boot, Due, Wall};

/// One task of which something may still come. 64 bytes: there may be 100,000 of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) state: State,
    /// Where it is kept while queued.
    pub(super) place: Place,
    /// Starts even beyond the lane's limit.
    pub(super) over_limit: bool,
    /// Counts against its session's limit of descendants.
    pub(super) counted: bool,
    pub(super) idempotent: bool,
    /// Has a readiness to be checked.
    pub(super) wants_ready: bool,
    pub(super) ready: bool,
    /// Terminal, but its unkillable processes hold the seat.
    pub(super) seat_kept: bool,
    pub(super) attempt: u32,
    pub(super) priority: i32,
    /// Number in `Core::lanes`.
    pub(super) lane: u32,
    /// Number in `Core::scopes`.
    pub(super) scope: u32,
    pub(super) order: u64,
    pub(super) queued_at: Wall,
    /// Running time allowed to any attempt, in ms.
    pub(super) timeout: Option<NonZeroU64>,
    /// None while all of it is as in [`NOTHING_RARE`].
    rare: Option<Box<Rare>>,
    pub(super) active: Option<Box<Active>>,
}

/// What most tasks do not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rare {
    pub(super) ancestors: Vec<TaskId>,
    /// What must have ended before it starts.
    pub(super) after: Vec<Dependency>,
    pub(super) retry: Option<Retry>,
    /// Not to be started before; none once it has started.
    pub(super) not_before: Option<Due>,
    /// Running time allowed to this attempt after an extension, in ms.
    pub(super) extended: Option<NonZeroU64>,
    pub(super) crashes: u32,
    pub(super) retries_used: u32,
    pub(super) lost_retries: u32,
    pub(super) notify: Notify,
    pub(super) service: bool,
}

/// What most tasks have instead.
static NOTHING_RARE: Rare = Rare {
    ancestors: Vec::new(),
    after: Vec::new(),
    retry: None,
    not_before: None,
    extended: None,
    crashes: 0,
    retries_used: 0,
    lost_retries: 0,
    notify: Notify::AllDone,
    service: false,
};

/// Where a row waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is not queued.
    Nowhere,
    /// For dependencies.
    Dependencies,
    /// For a moment.
    Timer,
    /// In the queue of its lane.
    Lane,
}

/// The parts of a retry policy, for tasks that have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) retries: u32,
    pub(super) backoff: Duration,
    pub(super) on_codes: Box<[i32]>,
}

/// What a row knows once its attempt has a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Active {
    pub(super) token: AttemptToken,
    /// Counts starts: the oldest holder of a lane comes first.
    pub(super) seat: u64,
    pub(super) deadline: Option<Wall>,
    /// When its session is told that time runs out; none once it was, and where it is not.
    pub(super) warn_at: Option<Boot>,
    pub(super) stop: Option<Stop>,
}

/// A duration as rows keep it.
pub(super) fn millis(d: Option<Duration>) -> Option<NonZeroU64> {
    // A time below one millisecond is still a limit, not its absence.
    d.map(|d| NonZeroU64::new(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
        .map(|ms| ms.unwrap_or(NonZeroU64::MIN))
}

impl Row {
    /// A queued row of attempt 1, without its order.
    pub(super) fn new(spec: &TaskSpec, placement: &Placement, lane: u32, scope: u32) -> Self {
        let policy = &spec.retry;
        let mut row = Self {
            state: State::Queued,
            place: Place::Nowhere,
            over_limit: placement.over_limit,
            counted: !(placement.by_person && placement.ancestors.is_empty()),
            idempotent: spec.idempotent,
            wants_ready: spec.ready.is_some(),
            ready: false,
            seat_kept: false,
            attempt: 1,
            priority: placement.priority,
            lane,
            scope,
            order: 0,
            queued_at: Wall::default(),
            timeout: millis(spec.timing.timeout),
            rare: None,
            active: None,
        };
        row.change_rare(|rare| {
            rare.ancestors.clone_from(&placement.ancestors);
            rare.after.clone_from(&spec.after);
            (rare.notify, rare.service) = (Notify::of(spec), spec.service);
            rare.retry = (policy.retries > 0 || spec.idempotent).then(|| Retry {
                retries: policy.retries,
                backoff: policy.backoff,
                on_codes: policy.on_codes.clone().into_boxed_slice(),
            });
        });
        row
    }

    pub(super) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(&NOTHING_RARE)
    }

    pub(super) fn change_rare(&mut self, change: impl FnOnce(&mut Rare)) {
        let mut rare = self.rare.take().unwrap_or_else(|| Box::new(NOTHING_RARE.clone()));
        change(&mut rare);
        self.rare = (*rare != NOTHING_RARE).then_some(rare);
    }

    /// Running time allowed to this attempt.
    pub(super) fn allowed(&self) -> Option<Duration> {
        self.rare().extended.or(self.timeout).map(|ms| Duration::from_millis(ms.get()))
    }

    pub(super) fn token(&self) -> Option<AttemptToken> {
        self.active.as_ref().map(|a| a.token)
    }

    pub(super) fn stop(&self) -> Option<&Stop> {
        self.active.as_ref()?.stop.as_ref()
    }
}
