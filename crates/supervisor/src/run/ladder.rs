//! The kill ladder: ask the whole tree to end, wait, then kill until nothing is left.
//!
//! ```text
//!   begin -> SIGTERM + SIGCONT to every process -> grace -> cgroup.kill / stop, walk, kill, again -> empty
//!                                                                \-> not empty after 60 s: reported, goes on
//! ```
//!
//! Owns the timing and the signals; every signal goes through a pidfd whose identity was compared. Never
//! decides that the tree is empty: the reaper does.

use std::collections::HashSet;
use std::time::Duration;

use rustix::process::Signal;

use crate::limits::{KILL_WALK_EVERY, UNKILLABLE_AFTER};
use crate::process::{self, Identity, Member};

use super::cgroup::Cgroup;
use super::clock::Moment;

/// Walks of one freezing pass: a fork bomb that is still ahead after so many meets the kill of all that stand
/// still, and the next pass.
const FREEZE_WALKS: u32 = 32;

/// Longest pause between two kill passes: a process in an uninterruptible sleep ends when it wakes, not sooner
/// for being asked often.
const PASS_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Where a stop is.
#[derive(Debug)]
pub(super) enum Ladder {
    /// The tree was asked and has until then.
    Asked { kill_at: Moment },
    /// The tree is being killed.
    Killing { since: Moment, next: Moment, pause: Duration, reported: bool },
}

/// What a step of the ladder brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing to tell.
    Going,
    /// The tree resists for too long; told once.
    Unkillable,
}

/// Every process of the task: what descends from this supervisor and what is in the cgroup.
pub(super) fn members(cgroup: Option<&Cgroup>) -> Vec<Member> {
    let mut members = process::descendants(std::process::id());
    let known: HashSet<u32> = members.iter().map(|member| member.identity.pid).collect();
    for pid in cgroup.map(Cgroup::pids).unwrap_or_default() {
        if let Some(member) = Member::of(pid)
            && !known.contains(&pid)
        {
            members.push(member);
        }
    }
    members.retain(|member| !member.zombie);
    members
}

impl Ladder {
    /// Asks the tree to end. Stopped processes are woken, or they could not hear it.
    pub(super) fn begin(cgroup: Option<&Cgroup>, now: Moment, grace: Duration) -> Self {
        for member in members(cgroup) {
            for signal in [Signal::TERM, Signal::CONT] {
                // Gone already is as good as signalled.
                let _ = process::signal(member.identity, signal);
            }
        }
        meanwhile_faultpoint::fault_point!("ladder.asked");
        Self::Asked { kill_at: now.after(grace) }
    }

    /// Brings the kill forward; never puts it off.
    pub(super) fn hasten(&mut self, kill_at: Moment) {
        if let Self::Asked { kill_at: at } = self {
            *at = (*at).min(kill_at);
        }
    }

    /// When [`Ladder::advance`] has something to do.
    pub(super) fn next(&self) -> Moment {
        match self {
            Self::Asked { kill_at } => *kill_at,
            Self::Killing { next, .. } => *next,
        }
    }

    /// Does what is due. Call it as long as the tree is not empty.
    pub(super) fn advance(&mut self, cgroup: Option<&Cgroup>, now: Moment) -> Step {
        if now < self.next() {
            return Step::Going;
        }
        meanwhile_faultpoint::fault_point!("ladder.before-kill");
        kill_all(cgroup);
        meanwhile_faultpoint::fault_point!("ladder.killed");
        match self {
            Self::Asked { .. } => {
                let next = now.after(KILL_WALK_EVERY);
                *self = Self::Killing { since: now, next, pause: KILL_WALK_EVERY, reported: false };
                Step::Going
            }
            Self::Killing { since, next, pause, reported } => {
                // The first passes are quick, for trees that fork; later ones only watch.
                if now.since(*since) > Duration::from_secs(1) {
                    *pause = (*pause * 2).min(PASS_PAUSE_MAX);
                }
                *next = now.after(*pause);
                let late = now.since(*since) >= UNKILLABLE_AFTER;
                if late && !*reported {
                    *reported = true;
                    return Step::Unkillable;
                }
                Step::Going
            }
        }
    }
}

/// One pass: the cgroup at once; then whatever walks outside of it. Nothing forks any more once all of it
/// stands still, so the freezing walk repeats until it finds nobody new.
fn kill_all(cgroup: Option<&Cgroup>) {
    if let Some(cgroup) = cgroup {
        let _ = cgroup.kill();
    }
    let mut frozen: HashSet<Identity> = HashSet::new();
    for _ in 0..FREEZE_WALKS {
        let mut found = false;
        for member in members(cgroup) {
            if frozen.insert(member.identity) {
                found = true;
                let _ = process::signal(member.identity, Signal::STOP);
            }
        }
        if !found {
            break;
        }
    }
    for identity in frozen {
        let _ = process::signal(identity, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_that_resists_is_reported_once_after_a_minute_and_watched_on() {
        let start = Moment::now();
        let mut ladder = Ladder::Asked { kill_at: start };
        let mut reports = Vec::new();
        let mut passes = 0;
        while ladder.next().since(start) < Duration::from_secs(120) {
            let now = ladder.next();
            // This process has no children here, so the passes signal nobody.
            if ladder.advance(None, now) == Step::Unkillable {
                reports.push(now.since(start));
            }
            passes += 1;
        }
        assert_eq!(reports.len(), 1);
        assert!(reports[0] >= UNKILLABLE_AFTER && reports[0] < UNKILLABLE_AFTER * 2);
        assert!(passes < 300, "{passes} passes: it must not spin");
    }

    #[test]
    fn a_later_stop_never_lengthens_the_grace() {
        let now = Moment::now();
        let mut ladder = Ladder::Asked { kill_at: now.after(Duration::from_secs(5)) };
        ladder.hasten(now.after(Duration::from_secs(50)));
        assert_eq!(ladder.next(), now.after(Duration::from_secs(5)));
        ladder.hasten(now.after(Duration::from_secs(1)));
        assert_eq!(ladder.next(), now.after(Duration::from_secs(1)));
    }
}
