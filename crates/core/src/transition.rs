//! Which fact may follow which state: the one table, matched per state, without a catch-all.
//!
//! Live events and replay go through it alike. What it refuses is written to the log as refused.

use crate::event::Fact;
use crate::state::State;

/// A fact that cannot be in this state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegal {
    /// Where the attempt stood.
    pub state: State,
    /// What came.
    pub fact: &'static str,
}

/// The state after `fact`.
///
/// # Errors
/// [`Illegal`] when the fact cannot follow that state.
pub fn next(state: State, fact: &Fact) -> Result<State, Illegal> {
    let illegal = || Err(Illegal { state, fact: fact.name() });
    match state {
        State::Queued => match fact {
            Fact::Starting { .. } => Ok(State::Starting),
            Fact::Ended { end, .. } => match end.state {
                State::Cancelled | State::Failed | State::Completed => Ok(end.state),
                State::Interrupted
                | State::Queued
                | State::Starting
                | State::Running
                | State::InputRequired => illegal(),
            },
            Fact::Extended { .. } | Fact::Rebound { .. } | Fact::Refused { .. } => Ok(state),
            Fact::Submitted { .. }
            | Fact::Started { .. }
            | Fact::Ready { .. }
            | Fact::StopRequested { .. }
            | Fact::Requeued { .. }
            | Fact::Retried { .. }
            | Fact::DeadlineNear { .. }
            | Fact::Emptied
            | Fact::Forgotten => illegal(),
        },
        State::Starting => match fact {
            Fact::Started { .. } => Ok(State::Running),
            Fact::Requeued { .. } => Ok(State::Queued),
            Fact::Ended { end, .. } if end.state.is_terminal() => Ok(end.state),
            Fact::StopRequested { .. }
            | Fact::Extended { .. }
            | Fact::Rebound { .. }
            | Fact::Refused { .. } => Ok(state),
            Fact::Ended { .. }
            | Fact::Submitted { .. }
            | Fact::Starting { .. }
            | Fact::Ready { .. }
            | Fact::Retried { .. }
            | Fact::DeadlineNear { .. }
            | Fact::Emptied
            | Fact::Forgotten => illegal(),
        },
        State::Running | State::InputRequired => match fact {
            Fact::Ended { end, .. } if end.state.is_terminal() => Ok(end.state),
            Fact::Ready { .. }
            | Fact::Extended { .. }
            | Fact::DeadlineNear { .. }
            | Fact::Rebound { .. }
            | Fact::StopRequested { .. }
            | Fact::Refused { .. } => Ok(state),
            Fact::Ended { .. }
            | Fact::Submitted { .. }
            | Fact::Starting { .. }
            | Fact::Started { .. }
            | Fact::Requeued { .. }
            | Fact::Retried { .. }
            | Fact::Emptied
            | Fact::Forgotten => illegal(),
        },
        State::Completed | State::Failed | State::Cancelled | State::Interrupted => match fact {
            Fact::Retried { .. } => Ok(State::Queued),
            Fact::Emptied | Fact::Forgotten | Fact::Rebound { .. } | Fact::Refused { .. } => {
                Ok(state)
            }
            Fact::Submitted { .. }
            | Fact::Starting { .. }
            | Fact::Started { .. }
            | Fact::Ready { .. }
            | Fact::Extended { .. }
            | Fact::StopRequested { .. }
            | Fact::Ended { .. }
            | Fact::DeadlineNear { .. }
            | Fact::Requeued { .. } => illegal(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::{Actor, Cause};
    use crate::event::{End, Stop};
    use crate::id::{AttemptToken, SessionId};
    use crate::notice::{Notice, Notify, Part, Scope};
    use crate::time::Wall;

    fn notice() -> Notice {
        let scope = Scope { session: SessionId::user(), part: Part::Rest };
        Notice { scope, notify: Notify::AllDone }
    }

    /// One fact of each kind that is about an attempt, ends in each state.
    fn facts() -> Vec<Fact> {
        let ended = |state| {
            let end = End { state, cause: Cause::Lost, exit: None, run: None, seat_kept: false };
            Fact::Ended { end: Box::new(end), notice: None }
        };
        let by = Actor::Person;
        let mut facts = vec![
            Fact::Starting { token: AttemptToken([0; 16]) },
            Fact::Started { pid: 1, supervisor_pid: 2, deadline: None },
            Fact::Ready { how: String::new() },
            Fact::Extended { timeout: None, deadline: None, by: by.clone() },
            Fact::StopRequested { stop: Stop::Cancel { by } },
            Fact::Requeued { crashes: 1 },
            Fact::Retried {
                order: 1,
                not_before: None,
                by: None,
                retries_used: 0,
                lost_retries: 0,
            },
            Fact::DeadlineNear { deadline: Wall(1), notice: Box::new(notice()) },
            Fact::Rebound { session: SessionId::user() },
            Fact::Emptied,
            Fact::Refused { what: String::new() },
            Fact::Forgotten,
        ];
        facts.extend(State::ALL.map(ended));
        facts
    }

    /// Every way out of `state`, as `fact->state`; refusals on record change nothing and are left out.
    fn check(state: State, expected: &str) {
        let mut ways = Vec::new();
        for fact in facts() {
            if let Ok(to) = next(state, &fact) {
                assert!(!matches!(fact, Fact::Refused { .. }) || to == state);
                if !matches!(fact, Fact::Refused { .. }) {
                    ways.push(format!("{}->{}", fact.name(), to.name()));
                }
            }
        }
        assert_eq!(ways.join(" "), expected, "from {state:?}");
    }

    #[test]
    fn each_state_has_exactly_these_ways_out() {
        check(
            State::Queued,
            "starting->starting extended->queued rebound->queued ended->completed ended->failed ended->cancelled",
        );
        check(
            State::Starting,
            "started->running extended->starting stop_requested->starting requeued->queued rebound->starting \
             ended->completed ended->failed ended->cancelled ended->interrupted",
        );
        check(
            State::Running,
            "ready->running extended->running stop_requested->running \
             deadline_near->running rebound->running \
             ended->completed ended->failed ended->cancelled ended->interrupted",
        );
        check(
            State::InputRequired,
            "ready->input_required extended->input_required stop_requested->input_required \
             deadline_near->input_required rebound->input_required \
             ended->completed ended->failed ended->cancelled ended->interrupted",
        );
        let ended = [State::Completed, State::Failed, State::Cancelled, State::Interrupted];
        for state in ended {
            let name = state.name();
            let ways = format!("retried->queued rebound->{name} emptied->{name} forgotten->{name}");
            check(state, &ways);
        }
    }
}
