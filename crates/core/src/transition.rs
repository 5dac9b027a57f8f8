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
            Fact::Ended { end } => match end.state {
                State::Cancelled | State::Failed | State::Completed => Ok(end.state),
                State::Interrupted
                | State::Queued
                | State::Starting
                | State::Running
                | State::InputRequired => illegal(),
            },
            Fact::Extended { .. } | Fact::Refused { .. } => Ok(state),
            Fact::Submitted { .. }
            | Fact::Started { .. }
            | Fact::Ready { .. }
            | Fact::StopRequested { .. }
            | Fact::Requeued { .. }
            | Fact::Retried { .. }
            | Fact::Emptied
            | Fact::Forgotten => illegal(),
        },
        State::Starting => match fact {
            Fact::Started { .. } => Ok(State::Running),
            Fact::Requeued { .. } => Ok(State::Queued),
            Fact::Ended { end } if end.state.is_terminal() => Ok(end.state),
            Fact::StopRequested { .. } | Fact::Extended { .. } | Fact::Refused { .. } => Ok(state),
            Fact::Ended { .. }
            | Fact::Submitted { .. }
            | Fact::Starting { .. }
            | Fact::Ready { .. }
            | Fact::Retried { .. }
            | Fact::Emptied
            | Fact::Forgotten => illegal(),
        },
        State::Running | State::InputRequired => match fact {
            Fact::Ended { end } if end.state.is_terminal() => Ok(end.state),
            Fact::Ready { .. }
            | Fact::Extended { .. }
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
            Fact::Emptied | Fact::Forgotten | Fact::Refused { .. } => Ok(state),
            Fact::Submitted { .. }
            | Fact::Starting { .. }
            | Fact::Started { .. }
            | Fact::Ready { .. }
            | Fact::Extended { .. }
            | Fact::StopRequested { .. }
            | Fact::Ended { .. }
            | Fact::Requeued { .. } => illegal(),
        },
    }
}
