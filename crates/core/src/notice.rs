//! Notices: what a session is told of its tasks.
//!
//! Owns: which end is worth a notice, what it is judged together with (its scope), and its id, which is a
//! function of what it is about: a delivery that is repeated is recognisably the same. Never decides when a
//! session is woken (`inbox` does) and holds no text: that is made where it is shown.

use std::fmt;
use std::str::FromStr;

use crate::id::{GroupName, SessionId, TaskId, TurnName};
use crate::spec::{Placement, TaskSpec};
use crate::state::State;
use crate::time::Wall;

/// What a notice is about.
///
/// Questions, stuck tasks and matched lines will be further kinds; their episode is the number of the question,
/// of the time it was stuck, of the match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeKind {
    /// The task is over: no further attempt follows by itself.
    Done,
    /// Four fifths of the running time allowed are gone.
    Deadline,
}

/// Which notice: the same for every delivery of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoticeId {
    /// About which task.
    pub task: TaskId,
    /// About which attempt, from 1.
    pub attempt: u32,
    /// What about it.
    pub kind: NoticeKind,
    /// What tells two of a kind apart within an attempt: 0 for an end, the second of the deadline for a deadline.
    pub episode: u64,
}

/// When a task's session is told of its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Notify {
    /// At once of a failure; of successes when the last of the scope is done.
    #[default]
    AllDone,
    /// At once of each.
    Each,
    /// Of failures alone.
    Failures,
    /// Of nothing.
    Never,
}

/// Tasks that are judged together: "all done" is about these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The session that is told.
    pub session: SessionId,
    /// Which of its tasks.
    pub part: Part,
}

/// A part of a session's tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Those that were launched without a group and without a word about the turn.
    #[default]
    Rest,
    /// A group.
    Group(GroupName),
    /// Those launched in the same turn of the parent.
    Turn(TurnName),
}

/// That a notice is written, as a part of the fact it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Who is told, and what it is judged together with.
    pub scope: Scope,
    /// As the task was launched.
    pub notify: Notify,
}

/// Why a text is not the id of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeIdError;

impl NoticeId {
    /// That of an end.
    #[must_use]
    pub const fn of_end(task: TaskId, attempt: u32) -> Self {
        Self { task, attempt, kind: NoticeKind::Done, episode: 0 }
    }

    /// That of a deadline: another one after an extension, the same after a restart.
    #[must_use]
    pub const fn of_deadline(task: TaskId, attempt: u32, deadline: Wall) -> Self {
        let episode = (deadline.0 / 1000).unsigned_abs();
        Self { task, attempt, kind: NoticeKind::Deadline, episode }
    }
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Done, Self::Deadline];

    /// The word on the wire and in ids.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Deadline => "deadline",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Notify {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::AllDone, Self::Each, Self::Failures, Self::Never];
    /// Under which name a launch keeps it.
    pub const OPTION: &'static str = "notify";

    /// The word of `--notify`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllDone => "all-done",
            Self::Each => "each",
            Self::Failures => "failures",
            Self::Never => "none",
        }
    }

    /// The policy of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// As the task was launched.
    #[must_use]
    pub fn of(spec: &TaskSpec) -> Self {
        option(spec, Self::OPTION).and_then(Self::from_name).unwrap_or_default()
    }

    /// Whether its session is told that the task ended so. A service that was stopped is no news: somebody
    /// wanted it, and nothing else ends one that works.
    #[must_use]
    pub const fn tells(self, state: State, service: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Failures => is_failure(state),
            Self::AllDone | Self::Each => !(service && matches!(state, State::Cancelled)),
        }
    }

    /// Whether its session is told that its time runs out.
    #[must_use]
    pub const fn warns(self) -> bool {
        !matches!(self, Self::Never)
    }
}

/// Whether a task that ended so needs somebody to look: what was cancelled was meant to end.
#[must_use]
pub const fn is_failure(state: State) -> bool {
    match state {
        State::Failed | State::Interrupted => true,
        State::Queued
        | State::Starting
        | State::Running
        | State::InputRequired
        | State::Completed
        | State::Cancelled => false,
    }
}

impl Scope {
    /// Under which name a launch keeps the turn it was made in.
    pub const TURN_OPTION: &'static str = "turn";

    /// Where a task that is launched so belongs.
    #[must_use]
    pub fn of(spec: &TaskSpec, placement: &Placement) -> Self {
        let turn = || option(spec, Self::TURN_OPTION).map(|turn| Part::Turn(TurnName::new(turn)));
        let group = placement.group.clone().map(Part::Group);
        let part = group.or_else(turn).unwrap_or_default();
        Self { session: placement.session.clone(), part }
    }
}

impl Part {
    /// One word of text: empty, `g:NAME` or `t:NAME`.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Rest => String::new(),
            Self::Group(name) => format!("g:{name}"),
            Self::Turn(name) => format!("t:{name}"),
        }
    }

    /// Reads [`Part::to_text`] back.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => text.is_empty().then_some(Self::Rest),
            Some(("g", name)) => Some(Self::Group(GroupName::new(name))),
            Some(("t", name)) => Some(Self::Turn(TurnName::new(name))),
            Some(_) => None,
        }
    }
}

fn option<'a>(spec: &'a TaskSpec, wanted: &str) -> Option<&'a str> {
    spec.extra.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

impl fmt::Display for NoticeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, attempt, kind, episode } = self;
        write!(f, "{task}.{attempt}.{}", kind.name())?;
        match episode {
            0 => Ok(()),
            episode => write!(f, ".{episode}"),
        }
    }
}

impl FromStr for NoticeId {
    type Err = NoticeIdError;

    fn from_str(text: &str) -> Result<Self, NoticeIdError> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(NoticeIdError);
        let task = next()?.parse().map_err(|_| NoticeIdError)?;
        let attempt = number(next()?)?.try_into().map_err(|_| NoticeIdError)?;
        let kind = NoticeKind::from_name(next()?).ok_or(NoticeIdError)?;
        let episode = parts.next().map_or(Ok(0), number)?;
        let id = Self { task, attempt, kind, episode };
        // One writing for each: what is written otherwise is somebody's guess.
        if id.to_string() == text { Ok(id) } else { Err(NoticeIdError) }
    }
}

fn number(text: &str) -> Result<u64, NoticeIdError> {
    text.parse().map_err(|_| NoticeIdError)
}

impl fmt::Display for NoticeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the id of a notice, such as 7z3kq9x2mn.1.done")
    }
}

impl std::error::Error for NoticeIdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written_and_has_one_writing() {
        let task = TaskId::from_random(0x1234_5678_9abc);
        for (kind, episode) in [(NoticeKind::Done, 0), (NoticeKind::Deadline, 1_790_000_000)] {
            let id = NoticeId { task, attempt: 3, kind, episode };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let id = task.to_string();
        for wrong in ["", "x", &id, "zzzz.1.done", ".1.done"] {
            assert_eq!(wrong.parse::<NoticeId>(), Err(NoticeIdError), "{wrong}");
        }
        for rest in ["1", "1.done.", "01.done", "1.done.0", "1.other", "-1.done", "1.done.1.2"] {
            let wrong = format!("{id}.{rest}");
            assert_eq!(wrong.parse::<NoticeId>(), Err(NoticeIdError), "{wrong}");
        }
    }

    #[test]
    fn each_policy_tells_of_exactly_these_ends() {
        let check = |notify: Notify, service: bool, expected: &str| {
            let told = State::ALL.into_iter().filter(|s| s.is_terminal());
            let told: Vec<_> =
                told.filter(|s| notify.tells(*s, service)).map(State::name).collect();
            assert_eq!(told.join(" "), expected, "{notify:?} service: {service}");
        };
        check(Notify::AllDone, false, "completed failed cancelled interrupted");
        check(Notify::AllDone, true, "completed failed interrupted");
        check(Notify::Each, false, "completed failed cancelled interrupted");
        check(Notify::Failures, false, "failed interrupted");
        check(Notify::Failures, true, "failed interrupted");
        check(Notify::Never, false, "");
    }

    #[test]
    fn a_part_reads_back_whatever_its_name() {
        for part in [
            Part::Rest,
            Part::Group(GroupName::new("a:b")),
            Part::Group(GroupName::new("")),
            Part::Turn(TurnName::new("t:1")),
        ] {
            assert_eq!(Part::from_text(&part.to_text()), Some(part));
        }
        assert_eq!(Part::from_text("x:1"), None);
        assert_eq!(Part::from_text("x"), None);
    }
}
