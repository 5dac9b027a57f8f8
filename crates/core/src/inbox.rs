//! When a session is told of what it has not read.
//!
//! Owns: the rules of waking, as one function of the present. Whoever listens asks it anew whenever something has
//! changed, and otherwise at the moment it named: nothing polls, and nothing is remembered here. Never reads a
//! clock and never delivers anything.
//!
//! ```text
//!   unread notices, tasks still open, presence ──► wake_at ──► now | at this moment | not for these
//! ```

use std::time::Duration;

use crate::limits;
use crate::notice::{NoticeKind, Notify, is_failure};
use crate::state::State;
use crate::time::Boot;

/// An unread notice as far as waking is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What it is about.
    pub kind: NoticeKind,
    /// As its task was launched.
    pub notify: Notify,
    /// Its task's state when it was written.
    pub state: State,
    /// When it was written.
    pub since: Boot,
    /// Other tasks of its scope have not ended.
    pub scope_open: bool,
}

/// What a session's own program has said of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// What it is doing.
    pub doing: Doing,
    /// When its user last typed.
    pub typed_at: Option<Boot>,
    /// When it was last woken.
    pub woken_at: Option<Boot>,
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doing {
    /// Nobody has said.
    #[default]
    Unknown,
    /// It works: what there is rides along on its next tool or hook.
    Busy,
    /// It waits for its user.
    Idle { since: Boot },
}

/// Whether whoever listens has asked to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A command or tool call that waits for news: nobody is disturbed.
    Asked,
    /// A turn of the parent is started by it.
    Wakes,
}

/// The setting `notify.wake`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waking {
    /// By the rules below.
    #[default]
    Auto,
    /// For failures alone.
    Failures,
    /// For nothing.
    Never,
}

/// Why a session would be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// A failure, or one that is near.
    Failure,
    /// What was waited for is done.
    Done,
    /// Something has been lying there while nothing else happens.
    Stored,
}

impl Waking {
    /// The word of the setting.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Failures => "failures",
            Self::Never => "never",
        }
    }
}

/// When a session is to be told of these: at once where that is not after `now`, never as things stand where it
/// is none.
#[must_use]
pub fn wake_at(
    unread: &[Unread],
    presence: &Presence,
    waking: Waking,
    manner: Manner,
) -> Option<Boot> {
    let reasons = unread.iter().filter_map(|one| reason(one, presence.doing));
    match manner {
        Manner::Asked => reasons.map(|(_, at)| at).min(),
        Manner::Wakes => reasons.filter_map(|(why, at)| politely(why, at, presence, waking)).min(),
    }
}

/// Why this one would be told, and when if nobody minded.
fn reason(unread: &Unread, doing: Doing) -> Option<(Reason, Boot)> {
    let Unread { kind, notify, state, since, scope_open } = *unread;
    let fails = match kind {
        NoticeKind::Deadline => true,
        NoticeKind::Done => is_failure(state),
    };
    if fails {
        // Failures seldom come alone. The last of its scope has nothing to wait for.
        let alone = kind == NoticeKind::Done && !scope_open;
        let wait = if alone { Duration::ZERO } else { limits::COALESCE };
        return Some((Reason::Failure, since.after(wait)));
    }
    let told = match notify {
        Notify::Each => true,
        Notify::AllDone => !scope_open,
        Notify::Failures | Notify::Never => false,
    };
    match doing {
        _ if told => Some((Reason::Done, since)),
        Doing::Idle { since: idle } => {
            Some((Reason::Stored, since.max(idle).after(limits::STORED)))
        }
        Doing::Unknown | Doing::Busy => None,
    }
}

/// When it may disturb, if it may.
fn politely(why: Reason, at: Boot, presence: &Presence, waking: Waking) -> Option<Boot> {
    match (waking, why) {
        (Waking::Never, _) | (Waking::Failures, Reason::Done | Reason::Stored) => return None,
        (Waking::Auto, _) | (Waking::Failures, Reason::Failure) => {}
    }
    let after_typing = presence.typed_at.map(|typed| typed.after(limits::AFTER_TYPING));
    let after_waking = presence.woken_at.map(|woken| woken.after(limits::BETWEEN_WAKES));
    // Whoever waits for the end itself says so within this time: then it is not told twice.
    let at = at.after(limits::BEFORE_WAKING);
    let at = [after_typing, after_waking].into_iter().flatten().fold(at, Boot::max);
    match presence.doing {
        Doing::Busy => None,
        Doing::Idle { since } if why != Reason::Failure && at >= since.after(limits::LONG_IDLE) => {
            None
        }
        Doing::Idle { .. } | Doing::Unknown => Some(at),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const T: Boot = Boot(10_000_000);

    fn done(state: State) -> Unread {
        let (kind, notify) = (NoticeKind::Done, Notify::AllDone);
        Unread { kind, notify, state, since: T, scope_open: true }
    }

    fn success() -> Unread {
        done(State::Completed)
    }

    fn last(unread: Unread) -> Unread {
        Unread { scope_open: false, ..unread }
    }

    fn idle(since: Boot) -> Presence {
        Presence { doing: Doing::Idle { since }, ..Presence::default() }
    }

    fn ms(at: Option<Boot>) -> Option<u64> {
        at.map(|at| at.0 - T.0)
    }

    #[test]
    fn whoever_asks_is_told_of_the_last_of_a_scope_and_of_failures() {
        let check = |unread: &[Unread], expected: Option<u64>| {
            let at = wake_at(unread, &Presence::default(), Waking::Never, Manner::Asked);
            assert_eq!(ms(at), expected, "{unread:?}");
        };
        check(&[], None);
        check(&[success()], None);
        check(&[success(), success()], None);
        check(&[last(success())], Some(0));
        check(&[success(), last(success())], Some(0));
        check(&[done(State::Cancelled)], None);
        check(&[done(State::Failed)], Some(2_000));
        check(&[done(State::Interrupted)], Some(2_000));
        check(&[last(done(State::Failed))], Some(0));
        check(&[Unread { notify: Notify::Each, ..success() }], Some(0));
        check(&[Unread { notify: Notify::Failures, ..done(State::Failed) }], Some(2_000));
        check(&[Unread { kind: NoticeKind::Deadline, ..done(State::Running) }], Some(2_000));
        check(&[last(Unread { kind: NoticeKind::Deadline, ..done(State::Running) })], Some(2_000));
    }

    #[test]
    fn waking_is_polite() {
        let check = |unread: &[Unread], presence: Presence, expected: Option<u64>| {
            let at = wake_at(unread, &presence, Waking::Auto, Manner::Wakes);
            assert_eq!(ms(at), expected, "{unread:?} {presence:?}");
        };
        let ended = [last(success())];
        let failed = [done(State::Failed)];
        check(&ended, Presence::default(), Some(500));
        check(&ended, idle(T), Some(500));
        check(&failed, idle(T), Some(2_500));
        // Not within 5 s after the user has typed.
        check(&ended, Presence { typed_at: Some(T), ..idle(T) }, Some(5_000));
        // Not twice a minute.
        check(&ended, Presence { woken_at: Some(T), ..idle(T) }, Some(60_000));
        // What works is told by its own next tool.
        let busy = Presence { doing: Doing::Busy, ..Presence::default() };
        check(&ended, busy, None);
        check(&failed, busy, None);
        // After an hour without anybody there, only what needs somebody.
        let away = idle(Boot(T.0 - 3_600_000));
        check(&ended, away, None);
        check(&failed, away, Some(2_500));
    }

    #[test]
    fn what_is_stored_is_told_after_three_minutes_of_idleness() {
        let at = |since: Boot| {
            let manner = Manner::Wakes;
            ms(wake_at(&[success()], &idle(since), Waking::Auto, manner))
        };
        assert_eq!(at(T), Some(180_500));
        assert_eq!(at(Boot(T.0 - 60_000)), Some(180_500), "from when it was written");
        assert_eq!(at(T.after(S(60))), Some(240_500), "from when it was idle");
        assert_eq!(at(Boot(T.0 - 3_590_000)), None, "it would be after an hour");
    }

    #[test]
    fn the_setting_decides_for_whom_a_turn_is_started() {
        let both = [last(success()), done(State::Failed)];
        let at = |waking| ms(wake_at(&both, &Presence::default(), waking, Manner::Wakes));
        assert_eq!(at(Waking::Auto), Some(500));
        assert_eq!(at(Waking::Failures), Some(2_500));
        assert_eq!(at(Waking::Never), None);
    }

    fn unread() -> impl Strategy<Value = Unread> {
        let kind = prop::sample::select(NoticeKind::ALL.to_vec());
        let notify = prop::sample::select(Notify::ALL.to_vec());
        let state = prop::sample::select(State::ALL.to_vec());
        (kind, notify, state, 0u64..10_000_000, any::<bool>()).prop_map(
            |(kind, notify, state, since, scope_open)| {
                let since = Boot(since);
                Unread { kind, notify, state, since, scope_open }
            },
        )
    }

    fn presence() -> impl Strategy<Value = Presence> {
        let moment = || prop::option::of((0u64..10_000_000).prop_map(Boot));
        let doing = prop_oneof![
            Just(Doing::Unknown),
            Just(Doing::Busy),
            (0u64..10_000_000).prop_map(|since| Doing::Idle { since: Boot(since) }),
        ];
        (doing, moment(), moment()).prop_map(|(doing, typed_at, woken_at)| Presence {
            doing,
            typed_at,
            woken_at,
        })
    }

    proptest! {
        #[test]
        fn a_turn_is_never_started_against_the_rules(
            unread in prop::collection::vec(unread(), 0..6),
            presence in presence(),
            waking in prop::sample::select(vec![Waking::Auto, Waking::Failures, Waking::Never]),
        ) {
            let at = wake_at(&unread, &presence, waking, Manner::Wakes);
            let asked = wake_at(&unread, &presence, waking, Manner::Asked);
            if let Some(at) = at {
                prop_assert!(presence.typed_at.is_none_or(|typed| at >= typed.after(S(5))));
                prop_assert!(presence.woken_at.is_none_or(|woken| at >= woken.after(S(60))));
                prop_assert!(presence.doing != Doing::Busy && waking != Waking::Never);
                prop_assert!(asked.is_some_and(|asked| asked < at), "who asks is told before");
            }
        }

        #[test]
        fn more_to_tell_never_makes_it_later(
            unread in prop::collection::vec(unread(), 1..6),
            presence in presence(),
        ) {
            for manner in [Manner::Asked, Manner::Wakes] {
                let all = wake_at(&unread, &presence, Waking::Auto, manner);
                let less = wake_at(&unread[1..], &presence, Waking::Auto, manner);
                let later = |at: Option<Boot>| at.map_or(u64::MAX, |at| at.0);
                prop_assert!(later(all) <= later(less));
            }
        }

        #[test]
        fn whoever_asks_hears_of_every_scope_that_is_done(
            unread in prop::collection::vec(unread(), 1..6),
            presence in presence(),
        ) {
            let done = unread.iter().any(|one| {
                one.kind == NoticeKind::Done && one.notify == Notify::AllDone && !one.scope_open
            });
            let at = wake_at(&unread, &presence, Waking::Never, Manner::Asked);
            prop_assert!(!done || at.is_some());
        }
    }
}
