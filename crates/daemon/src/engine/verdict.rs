//! What became of an attempt, read from its owner file: the file is the truth, messages are hints.
//!
//! | lock | file says                | verdict                                            |
//! |------|--------------------------|----------------------------------------------------|
//! | held | anything                 | a supervisor lives (or a start is in flight to one) |
//! | free | nothing: it is damaged   | it may have run: lost, and nobody can say where     |
//! | free | an exit record           | it ended so                                        |
//! | free | not started              | it never ran                                       |
//! | free | started (or the mark is damaged), this boot | it ran; its supervisor is gone: lost |
//! | free | started, another boot    | the machine was restarted under it                 |
//!
//! What the files say is the truth within one boot. After another, a file or a mark may be missing because it was not on
//! disk when the power went: whoever asks then takes "never ran" for "not known" (`hear`).
//!
//! Never invents an end, never changes anything.

use meanwhile_core::AttemptToken;
use meanwhile_host::home::Home;
use meanwhile_supervisor::exit::{ExitRecord, TreeState};
use meanwhile_supervisor::owner::{Lock, Owner, OwnerHeader, OwnerView};
use rustix::io::Errno;

use super::fleet::Job;

/// What the owner file of an attempt says.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Somebody holds the lock: who, by the header.
    Held(Option<OwnerHeader>),
    /// Nothing of it was ever executed.
    NeverRan,
    /// It ended. Leftovers may live if the record was written before they were looked after.
    Ended { record: Box<ExitRecord>, leftovers: bool, view: Box<OwnerView> },
    /// It ran, and nobody saw its end.
    Lost(Box<OwnerView>),
    /// It may have run: the file was claimed, and does not even say by whom.
    Damaged,
    /// It ran, and the machine was restarted since.
    Rebooted,
}

/// Reads it.
///
/// # Errors
/// When the home cannot be read: then nothing is known, and nothing may be concluded.
pub(super) fn verdict(home: &Home, boot_id: &[u8; 16], job: Job) -> Result<Verdict, String> {
    let path = home.paths.attempt(job.task, job.attempt);
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Verdict::NeverRan),
        Ok(_) | Err(_) => {}
    }
    let dir = home
        .existing_attempt(job.task, job.attempt)
        .ok_or_else(|| format!("open {}: it is not there or not private", path.display()))?;
    let owner = match Owner::open(&dir) {
        Ok(owner) => owner,
        Err(Errno::NOENT) => return Ok(Verdict::NeverRan),
        Err(errno) => return Err(format!("open the owner file of {}: {errno}", job.task)),
    };
    let fail = |errno| format!("read the owner file of {}: {errno}", job.task);
    let lock = owner.try_lock().map_err(fail)?;
    let view = owner.read().map_err(fail)?;
    Ok(judge(lock, view, boot_id, job.token))
}

fn judge(lock: Lock, view: OwnerView, boot_id: &[u8; 16], token: AttemptToken) -> Verdict {
    if lock == Lock::Held {
        return Verdict::Held(view.header);
    }
    let Some(header) = &view.header else { return Verdict::Damaged };
    // A header of another token is what an earlier start of the same attempt left; this one never came
    // as far as claiming the file.
    if header.token.0 != token.0 {
        return Verdict::NeverRan;
    }
    let same_boot = header.boot_id == *boot_id;
    if let Some(record) = view.exit.clone().filter(|r| r.token.0 == token.0) {
        let leftovers = same_boot && record.tree == TreeState::Pending;
        return Verdict::Ended { record: Box::new(record), leftovers, view: Box::new(view) };
    }
    match (view.started.is_some() || view.damaged, same_boot) {
        (false, _) => Verdict::NeverRan,
        (true, true) => Verdict::Lost(Box::new(view)),
        (true, false) => Verdict::Rebooted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meanwhile_supervisor::exit::{EndWhy, Leaked, Usage};
    use meanwhile_supervisor::owner::StartedMark;
    use meanwhile_supervisor::wire::Token;

    const BOOT: [u8; 16] = [1; 16];
    const TOKEN: AttemptToken = AttemptToken([9; 16]);

    fn view(boot: u8, token: u8, started: bool) -> OwnerView {
        OwnerView {
            header: Some(OwnerHeader {
                token: Token([token; 16]),
                boot_id: [boot; 16],
                pid_namespace: 1,
                pid: 1,
                start_time: 1,
                cgroup: None,
                protocol: 1,
                socket_name: Vec::new(),
            }),
            started: started.then_some(StartedMark { wall_ms: 1, boottime_ms: 1 }),
            main: None,
            exit: None,
            damaged: false,
        }
    }

    #[test]
    fn without_an_exit_record_no_end_is_invented() {
        let check = |lock, view| judge(lock, view, &BOOT, TOKEN);
        assert!(matches!(check(Lock::Held, view(1, 9, true)), Verdict::Held(Some(_))));
        assert!(matches!(check(Lock::Taken, view(1, 9, false)), Verdict::NeverRan));
        assert!(matches!(check(Lock::Taken, view(2, 9, false)), Verdict::NeverRan));
        assert!(matches!(check(Lock::Taken, view(1, 9, true)), Verdict::Lost(_)));
        assert!(matches!(check(Lock::Taken, view(2, 9, true)), Verdict::Rebooted));
        assert!(matches!(check(Lock::Taken, view(1, 8, true)), Verdict::NeverRan), "another token");
    }

    #[test]
    fn damage_is_never_read_as_an_attempt_that_did_not_start() {
        let check = |view| judge(Lock::Taken, view, &BOOT, TOKEN);
        let without_a_header = OwnerView { header: None, damaged: true, ..view(1, 9, true) };
        assert!(matches!(check(without_a_header), Verdict::Damaged));
        let no_mark = |boot| OwnerView { damaged: true, ..view(boot, 9, false) };
        assert!(matches!(check(no_mark(1)), Verdict::Lost(_)));
        assert!(matches!(check(no_mark(2)), Verdict::Rebooted));
        let held = OwnerView { header: None, damaged: true, ..view(1, 9, true) };
        assert!(matches!(judge(Lock::Held, held, &BOOT, TOKEN), Verdict::Held(None)));
    }

    fn ended(boot: u8, token: u8, tree: TreeState) -> OwnerView {
        let record = ExitRecord {
            token: Token([token; 16]),
            wait_status: Some(0),
            spawn_error: None,
            why: EndWhy::Exited,
            tree,
            run_ms: 1,
            started_wall_ms: 1,
            ended_wall_ms: 2,
            usage: Usage::default(),
            log_bytes: 0,
            dropped_bytes: 0,
            leaked: Leaked::default(),
        };
        OwnerView { exit: Some(record), ..view(boot, 9, true) }
    }

    #[test]
    fn leftovers_are_looked_for_on_the_boot_that_knew_them_and_a_strange_record_is_none() {
        let check = |view| judge(Lock::Taken, view, &BOOT, TOKEN);
        let leftovers = |view| match check(view) {
            Verdict::Ended { leftovers, .. } => leftovers,
            other => panic!("{other:?}"),
        };
        assert!(leftovers(ended(1, 9, TreeState::Pending)));
        assert!(!leftovers(ended(1, 9, TreeState::Empty)));
        assert!(!leftovers(ended(2, 9, TreeState::Pending)), "they went with their boot");
        assert!(matches!(check(ended(1, 8, TreeState::Empty)), Verdict::Lost(_)));
    }
}
