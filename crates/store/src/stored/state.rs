//! States as small numbers, for a column that is compared and indexed. They never change.

use meanwhile_core::State;

/// The number of a state.
pub(crate) const fn to_number(state: State) -> i64 {
    match state {
        State::Queued => 0,
        State::Starting => 1,
        State::Running => 2,
        State::InputRequired => 3,
        State::Completed => 4,
        State::Failed => 5,
        State::Cancelled => 6,
        State::Interrupted => 7,
    }
}

/// Below this number a task is unfinished.
pub(crate) const FIRST_TERMINAL: i64 = to_number(State::Completed);

/// The state of a number; the error says what is damaged.
pub(crate) fn from_number(number: i64) -> Result<State, String> {
    State::ALL
        .into_iter()
        .find(|s| to_number(*s) == number)
        .ok_or_else(|| format!("no state has the number {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_states_come_before_terminal_ones() {
        for state in State::ALL {
            assert_eq!(from_number(to_number(state)), Ok(state));
            assert_eq!(state.is_terminal(), to_number(state) >= FIRST_TERMINAL, "{state:?}");
        }
        assert!(from_number(8).is_err());
    }
}
