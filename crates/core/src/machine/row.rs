//! What scheduling needs to know of one task: some 120 bytes, boxes only for what few tasks have.
//!
//! Owns: the shape of a row and how it comes from a spec. Never holds the spec itself.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::event::Stop;
use crate::id::{AttemptToken, TaskId};
use crate::spec::{Dependency, Placement, TaskSpec};
use crate::state::State;
use crate::time::{Due, Wall};

/// One task of which something may still come.
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
    pub(super) crashes: u32,
    pub(super) retries_used: u32,
    pub(super) lost_retries: u32,
    pub(super) priority: i32,
    /// Number in `Core::lanes`.
    pub(super) lane: u32,
    /// Number in `Core::sessions`.
    pub(super) session: u32,
    pub(super) order: u64,
    pub(super) queued_at: Wall,
    /// Running time allowed to any attempt, in ms.
    pub(super) timeout: Option<NonZeroU64>,
    /// Running time allowed to this attempt after an extension, in ms.
    pub(super) extended: Option<NonZeroU64>,
    pub(super) ancestors: Box<[TaskId]>,
    pub(super) retry: Option<Box<Retry>>,
    /// What must have ended before it starts. Boxed twice: a fat pointer would cost every row.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24 in each of 100,000 rows")]
    pub(super) after: Option<Box<Vec<Dependency>>>,
    /// Not to be started before; none once it has started.
    pub(super) not_before: Option<Box<Due>>,
    pub(super) active: Option<Box<Active>>,
}

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
    pub(super) fn new(spec: &TaskSpec, placement: &Placement, lane: u32, session: u32) -> Self {
        let policy = &spec.retry;
        Self {
            state: State::Queued,
            place: Place::Nowhere,
            over_limit: placement.over_limit,
            counted: !(placement.by_person && placement.ancestors.is_empty()),
            idempotent: spec.idempotent,
            wants_ready: spec.ready.is_some(),
            ready: false,
            seat_kept: false,
            attempt: 1,
            crashes: 0,
            retries_used: 0,
            lost_retries: 0,
            priority: placement.priority,
            lane,
            session,
            order: 0,
            queued_at: Wall::default(),
            timeout: millis(spec.timing.timeout),
            extended: None,
            ancestors: placement.ancestors.clone().into_boxed_slice(),
            retry: (policy.retries > 0 || spec.idempotent).then(|| {
                Box::new(Retry {
                    retries: policy.retries,
                    backoff: policy.backoff,
                    on_codes: policy.on_codes.clone().into_boxed_slice(),
                })
            }),
            after: (!spec.after.is_empty()).then(|| Box::new(spec.after.clone())),
            not_before: None,
            active: None,
        }
    }

    /// Running time allowed to this attempt.
    pub(super) fn allowed(&self) -> Option<Duration> {
        self.extended.or(self.timeout).map(|ms| Duration::from_millis(ms.get()))
    }

    pub(super) fn token(&self) -> Option<AttemptToken> {
        self.active.as_ref().map(|a| a.token)
    }

    pub(super) fn stop(&self) -> Option<&Stop> {
        self.active.as_ref()?.stop.as_ref()
    }

    pub(super) fn after(&self) -> &[Dependency] {
        self.after.as_deref().map_or(&[], Vec::as_slice)
    }
}
