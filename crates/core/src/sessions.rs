//! Which conversation each agent process is in, and under which name one that moved goes on.
//!
//! ```text
//!   a process begins S1, then S2 (cleared, resumed) ──► S1 is left, S2 succeeds it: tasks and notices follow
//!   a claim "S1" from a child of that process        ──► S2 (an MCP server keeps the environment it was started with)
//!   a claim "S1" from anywhere                       ──► S2, unless somebody is in S1
//! ```
//!
//! Owns that memory and its bounds. Never looks whether a process lives, and never decides who may say what: the shell
//! does, by the tree that a caller is in. A name has at most one successor, and none that leads back to it.

use std::collections::{BTreeMap, VecDeque};

use crate::id::SessionId;

/// Processes in a session that are remembered, those heard of last: more agents than anybody has open at once.
pub const REGISTERED: usize = 256;
/// Names with a successor that are remembered, the latest: a person clears a conversation some times a day.
pub const SUCCESSORS: usize = 1_000;

/// A process of this boot, which no later one with its number can be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentProcess {
    /// Its number.
    pub pid: u32,
    /// When it was started, as the kernel counts.
    pub start_time: u64,
}

/// What launches of a session run with where their caller has nothing of its own: an MCP server is often started with
/// three variables and in another directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Names the environment, which is kept in a file for its owner alone and never here.
    pub environment: String,
    /// The directory.
    pub cwd: Vec<u8>,
}

/// A process in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Which process.
    pub process: AgentProcess,
    /// The name of the conversation.
    pub session: SessionId,
    /// Whether it is there still.
    pub stay: Stay,
}

/// Whether a process is in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It is.
    In(Option<Surroundings>),
    /// It was, and went on to another one.
    Left,
}

/// Whether a process that begins a conversation goes on from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// It has one conversation at a time: this one takes the place of the one before.
    Instead,
    /// It may have several at once.
    Beside,
}

/// Everything that is known of sessions. Small and bounded: it is written whole when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// The latest last; one per process and session.
    registered: VecDeque<Registration>,
    /// From a name to the one it goes on under, which has no successor itself.
    successors: BTreeMap<SessionId, SessionId>,
    /// The keys of those, the latest last.
    order: VecDeque<SessionId>,
}

impl Sessions {
    /// A process is in this session from now on. The sessions that end with it and go on under this name: those that
    /// nobody else is in. Said again, it says nothing new.
    pub fn begin(
        &mut self,
        process: AgentProcess,
        session: &SessionId,
        how: Begins,
        surroundings: Option<Surroundings>,
    ) -> Vec<SessionId> {
        let before = self.take(process, session);
        let kept = before.and_then(|before| match before.stay {
            Stay::In(kept) => kept,
            Stay::Left => None,
        });
        let stay = Stay::In(surroundings.or(kept));
        let mut left = Vec::new();
        if how == Begins::Instead {
            for one in self.registered.iter_mut().filter(|one| one.process == process) {
                if one.stay != Stay::Left {
                    one.stay = Stay::Left;
                    left.push(one.session.clone());
                }
            }
        }
        // Whoever is in a session is in it by its own name.
        self.forget_successor_of(session);
        self.registered.push_back(Registration { process, session: session.clone(), stay });
        if self.registered.len() > REGISTERED {
            self.registered.pop_front();
        }
        left.retain(|old| self.of_session(old).is_none());
        for old in &left {
            self.succeed(old, session);
        }
        left
    }

    /// A session goes on under another name from now on, whoever was in it.
    pub fn succeed(&mut self, from: &SessionId, to: &SessionId) {
        if from == to || from.is_user() || to.is_user() {
            return;
        }
        self.forget_successor_of(to);
        // What led to it leads on: no chain is longer than one step, and none leads back.
        for successor in self.successors.values_mut().filter(|successor| *successor == from) {
            successor.clone_from(to);
        }
        self.forget_successor_of(from);
        self.successors.insert(from.clone(), to.clone());
        self.order.push_back(from.clone());
        if self.order.len() > SUCCESSORS
            && let Some(oldest) = self.order.pop_front()
        {
            self.successors.remove(&oldest);
        }
    }

    /// The conversation of this process is closed: nothing more is launched from what it was in.
    pub fn close(&mut self, process: AgentProcess, session: &SessionId) {
        let closed = |one: &&mut Registration| one.process == process && one.session == *session;
        for one in self.registered.iter_mut().filter(closed) {
            if let Stay::In(surroundings) = &mut one.stay {
                *surroundings = None;
            }
        }
    }

    /// Forgets processes that are gone.
    pub fn keep_processes(&mut self, is_there: impl Fn(AgentProcess) -> bool) {
        self.registered.retain(|one| is_there(one.process));
    }

    /// The name that a session goes on under; its own where it does not.
    #[must_use]
    pub fn current(&self, session: &SessionId) -> SessionId {
        self.successors.get(session).unwrap_or(session).clone()
    }

    /// Whom a process with these ancestors speaks for that says so of itself, by what it was once started with.
    #[must_use]
    pub fn meant(&self, ancestors: &[AgentProcess], said: &SessionId) -> SessionId {
        let left = |process: &AgentProcess| {
            let of_this = |one: &&Registration| one.process == *process;
            let mut here = self.registered.iter().filter(of_this);
            here.any(|one| one.session == *said && one.stay == Stay::Left)
                .then(|| self.of(*process))?
        };
        let now = ancestors.iter().find_map(left);
        now.map_or_else(|| self.current(said), |now| now.session.clone())
    }

    /// The session that the nearest of these ancestors is in, the latest where it is in several.
    #[must_use]
    pub fn nearest(&self, ancestors: &[AgentProcess]) -> Option<&Registration> {
        ancestors.iter().find_map(|process| self.of(*process))
    }

    /// The session that a process began last and is in.
    #[must_use]
    pub fn of(&self, process: AgentProcess) -> Option<&Registration> {
        self.registered.iter().rev().find(|one| one.process == process && one.stay != Stay::Left)
    }

    /// The process that is in a session; the latest where several are.
    #[must_use]
    pub fn of_session(&self, session: &SessionId) -> Option<&Registration> {
        self.registered.iter().rev().find(|one| one.session == *session && one.stay != Stay::Left)
    }

    /// What launches of a session run with: as one of these ancestors has it, else as whoever is in it has it.
    #[must_use]
    pub fn surroundings(
        &self,
        ancestors: &[AgentProcess],
        session: &SessionId,
    ) -> Option<&Surroundings> {
        let of = |one: &'_ Registration| one.session == *session;
        let known = self.registered.iter().rev().filter(|one| of(one)).filter_map(|one| {
            let Stay::In(Some(surroundings)) = &one.stay else { return None };
            Some((one.process, surroundings))
        });
        let known: Vec<_> = known.collect();
        let near = ancestors.iter().find_map(|a| known.iter().find(|(process, _)| process == a));
        near.or(known.first()).map(|(_, surroundings)| *surroundings)
    }

    /// Everybody who is or was in a session, the latest last.
    pub fn registered(&self) -> impl Iterator<Item = &Registration> {
        self.registered.iter()
    }

    /// Every name with the one it goes on under, the latest last.
    pub fn successors(&self) -> impl Iterator<Item = (&SessionId, &SessionId)> {
        self.order.iter().filter_map(|from| Some((from, self.successors.get(from)?)))
    }

    /// What was written once, in the order that it was told in.
    #[must_use]
    pub fn from_parts(
        registered: impl IntoIterator<Item = Registration>,
        successors: impl IntoIterator<Item = (SessionId, SessionId)>,
    ) -> Self {
        let mut sessions = Self::default();
        for (from, to) in successors {
            sessions.succeed(&from, &to);
        }
        for one in registered {
            sessions.take(one.process, &one.session);
            sessions.registered.push_back(one);
        }
        let too_many = sessions.registered.len().saturating_sub(REGISTERED);
        sessions.registered.drain(..too_many);
        sessions
    }

    fn take(&mut self, process: AgentProcess, session: &SessionId) -> Option<Registration> {
        let is = |one: &Registration| one.process == process && one.session == *session;
        self.registered.iter().position(is).and_then(|at| self.registered.remove(at))
    }

    fn forget_successor_of(&mut self, session: &SessionId) {
        if self.successors.remove(session).is_some() {
            self.order.retain(|from| from != session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(name: impl ToString) -> SessionId {
        SessionId::new(name.to_string())
    }

    const fn process(pid: u32) -> AgentProcess {
        AgentProcess { pid, start_time: 7 }
    }

    fn begin(sessions: &mut Sessions, pid: u32, session: &str) -> Vec<SessionId> {
        sessions.begin(process(pid), &named(session), Begins::Instead, None)
    }

    #[test]
    fn a_conversation_that_is_cleared_goes_on_under_its_new_name() {
        let mut sessions = Sessions::default();
        assert_eq!(begin(&mut sessions, 1, "s1"), []);
        assert_eq!(begin(&mut sessions, 1, "s1"), [], "said again");
        assert_eq!(begin(&mut sessions, 1, "s2"), [named("s1")]);
        assert_eq!(begin(&mut sessions, 1, "s3"), [named("s2")]);
        for old in ["s1", "s2", "s3"] {
            assert_eq!(sessions.current(&named(old)), named("s3"));
        }
        assert_eq!(sessions.current(&named("other")), named("other"));
        let nearest = sessions.nearest(&[process(9), process(1)]).map(|one| one.session.clone());
        assert_eq!(nearest, Some(named("s3")));
    }

    #[test]
    fn who_comes_back_to_a_conversation_takes_the_other_along() {
        let mut sessions = Sessions::default();
        begin(&mut sessions, 1, "s1");
        begin(&mut sessions, 1, "s2");
        assert_eq!(begin(&mut sessions, 1, "s1"), [named("s2")]);
        assert_eq!(sessions.current(&named("s1")), named("s1"));
        assert_eq!(sessions.current(&named("s2")), named("s1"));
    }

    #[test]
    fn a_conversation_that_somebody_else_is_in_stays_what_it_is() {
        let mut sessions = Sessions::default();
        begin(&mut sessions, 1, "s1");
        begin(&mut sessions, 2, "s1");
        assert_eq!(begin(&mut sessions, 1, "s2"), []);
        assert_eq!(sessions.current(&named("s1")), named("s1"));
        // What the first has started before still says that it is in the old one.
        assert_eq!(sessions.meant(&[process(5), process(1)], &named("s1")), named("s2"));
        assert_eq!(sessions.meant(&[process(5), process(2)], &named("s1")), named("s1"));
        assert_eq!(sessions.meant(&[process(5)], &named("s1")), named("s1"));
    }

    #[test]
    fn a_process_with_several_conversations_is_in_all_of_them() {
        let mut sessions = Sessions::default();
        for session in ["a", "b"] {
            let replaced = sessions.begin(process(1), &named(session), Begins::Beside, None);
            assert_eq!(replaced, []);
        }
        for session in ["a", "b"] {
            assert_eq!(sessions.meant(&[process(1)], &named(session)), named(session));
        }
        assert_eq!(sessions.of(process(1)).map(|one| one.session.clone()), Some(named("b")));
    }

    #[test]
    fn a_process_with_the_number_of_another_is_not_that_one() {
        let mut sessions = Sessions::default();
        begin(&mut sessions, 1, "s1");
        let later = AgentProcess { pid: 1, start_time: 8 };
        assert_eq!(sessions.of(later), None);
        assert_eq!(sessions.begin(later, &named("s2"), Begins::Instead, None), []);
        sessions.keep_processes(|one| one.start_time == 8);
        assert_eq!(sessions.registered().count(), 1);
    }

    #[test]
    fn surroundings_are_those_of_the_callers_own_tree_first_and_go_when_it_closes() {
        let mut sessions = Sessions::default();
        let of = |name: &str| Surroundings { environment: name.into(), cwd: b"/w".to_vec() };
        for (pid, name) in [(1, "one"), (2, "two")] {
            sessions.begin(process(pid), &named("s"), Begins::Instead, Some(of(name)));
        }
        let seen = |sessions: &Sessions, ancestors: &[AgentProcess]| {
            sessions.surroundings(ancestors, &named("s")).map(|s| s.environment.clone())
        };
        assert_eq!(seen(&sessions, &[process(5), process(1)]), Some("one".into()));
        assert_eq!(seen(&sessions, &[process(5)]), Some("two".into()));
        assert_eq!(begin(&mut sessions, 2, "s"), []);
        assert_eq!(seen(&sessions, &[]), Some("two".into()), "said again without them");
        sessions.close(process(2), &named("s"));
        assert_eq!(seen(&sessions, &[process(2)]), Some("one".into()));
        begin(&mut sessions, 1, "next");
        assert_eq!(seen(&sessions, &[process(1)]), None, "it has left");
    }

    #[test]
    fn the_persons_own_session_is_neither_given_away_nor_taken_over() {
        let mut sessions = Sessions::default();
        sessions.succeed(&SessionId::user(), &named("s"));
        sessions.succeed(&named("s"), &SessionId::user());
        assert_eq!(sessions, Sessions::default());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut sessions = Sessions::default();
        for n in 0..2 * u32::try_from(SUCCESSORS).unwrap() {
            begin(&mut sessions, 1, &format!("s{n}"));
            sessions.begin(process(n + 2), &named(format!("o{n}")), Begins::Beside, None);
        }
        assert_eq!(sessions.registered().count(), REGISTERED);
        assert_eq!(sessions.successors().count(), SUCCESSORS);
        assert_eq!(sessions.successors.len(), SUCCESSORS);
    }

    proptest! {
        /// Whatever is said in whatever order: one step leads to where a conversation is, and what is written and read
        /// back is the same.
        #[test]
        fn no_name_leads_back_to_itself(steps in proptest::collection::vec((0..4_u32, 0..6_u32, 0..6_u32), 0..60)) {
            let mut sessions = Sessions::default();
            for (pid, from, to) in steps {
                if pid == 0 {
                    sessions.succeed(&named(from), &named(to));
                } else {
                    let how = if from % 2 == 0 { Begins::Instead } else { Begins::Beside };
                    sessions.begin(process(pid), &named(to), how, None);
                    prop_assert_eq!(sessions.current(&named(to)), named(to));
                }
                for (from, to) in sessions.successors() {
                    prop_assert_ne!(from, to);
                    prop_assert_eq!(&sessions.current(to), to, "it has no successor itself");
                }
            }
            let again = Sessions::from_parts(
                sessions.registered().cloned(),
                sessions.successors().map(|(from, to)| (from.clone(), to.clone())),
            );
            prop_assert_eq!(again, sessions);
        }
    }
}
