//! What each finding is called and what it is said to weaken.

use super::*;
use crate::cgroup::{CgroupMode, Request, probe};
use crate::environment::Environment;
use crate::home::test_home;

fn check(fact: &Fact, status: Status, words: &str) {
    assert_eq!(fact.status, status, "{fact:?}");
    assert!(fact.what.contains(words), "{fact:?}");
    assert_eq!(fact.promise.is_some(), status != Status::Ok, "{fact:?}");
    assert_eq!(fact.hint.is_some(), status != Status::Ok, "{fact:?}");
}

fn subtree(controllers: Controllers, has_kill: bool) -> Result<Subtree, NoCgroup> {
    Ok(Subtree::for_tests("/c/meanwhile-x".into(), controllers, has_kill))
}

#[test]
fn without_a_cgroup_the_reason_is_said() {
    let off = Err(NoCgroup::SwitchedOff);
    let facts = cgroup_facts(CgroupFacts::Daemon(&off));
    assert_eq!(facts.len(), 1);
    check(&facts[0], Status::Weaker, "isolation.cgroup is off");
    check(&cgroup_facts(CgroupFacts::Prospect(&Ok(Prospect::ByScope)))[0], Status::Ok, "scope");
}

#[test]
fn missing_controllers_and_a_missing_kill_are_named() {
    let some = Controllers { memory: false, pids: true, cpu: false };
    let facts = cgroup_facts(CgroupFacts::Daemon(&subtree(some, false)));
    check(&facts[0], Status::Ok, "/c/meanwhile-x");
    check(&facts[1], Status::Weaker, "one by one");
    check(&facts[2], Status::Weaker, "missing: memory, cpu");
    let all = Controllers { memory: true, pids: true, cpu: true };
    let facts = cgroup_facts(CgroupFacts::Daemon(&subtree(all, true)));
    assert!(facts.iter().all(|fact| fact.status == Status::Ok), "{facts:?}");
}

#[test]
fn whether_tasks_outlive_a_logout_depends_on_where_the_daemon_is() {
    let mut killing = Logind::default();
    killing.set_for_tests();
    let at = |cgroup: &str, lingers, logind: &Logind, systemd| {
        logout(&Logout {
            systemd,
            is_root: false,
            user: Some("ann".into()),
            lingers,
            logind: logind.clone(),
            cgroup: Some(cgroup.into()),
        })
    };
    let manager = "/user.slice/user-1000.slice/user@1000.service/app.slice/m.scope";
    let session = "/user.slice/user-1000.slice/session-3.scope";
    let kind = Logind::default();
    check(&at(manager, false, &kind, true), Status::Bad, "every task with it");
    check(&at(manager, true, &killing, true), Status::Ok, "lingering");
    check(&at(session, false, &kind, true), Status::Ok, "nothing ends");
    check(&at(session, true, &killing, true), Status::Bad, "KillUserProcesses");
    check(&at("/system.slice/m.service", false, &killing, true), Status::Ok, "nothing ends");
    check(&at(manager, false, &killing, false), Status::Ok, "no systemd");
}

#[test]
fn disks_are_judged_by_what_they_lose() {
    check(&home_disk(Some(FileSystem::Local)), Status::Ok, "local");
    check(&home_disk(Some(FileSystem::Memory)), Status::Weaker, "tmpfs");
    check(&home_disk(Some(FileSystem::Network("nfs".into()))), Status::Bad, "nfs");
    check(&space(Some(5 * LITTLE_SPACE)), Status::Ok, "5120 MiB");
    check(&space(Some(LITTLE_SPACE - 1)), Status::Weaker, "1023 MiB");
    check(&space(Some(0)), Status::Bad, "0 MiB");
}

#[test]
fn a_home_that_cannot_be_written_is_told_with_the_reason() {
    check(&writable(Ok(())), Status::Ok, "can be written");
    check(&writable(Err(Errno::ROFS)), Status::Bad, "read-only");
    check(&writable(Err(Errno::ACCESS)), Status::Bad, "cannot be written");
    check(&writable(Err(Errno::NOSPC)), Status::Ok, "space");
    let base = tempfile::tempdir().unwrap();
    assert_eq!(try_to_write(&Dir::open(base.path(), &[]).unwrap()), Ok(()));
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn what_hides_waiting_tasks_is_found() {
    let proc = "22 1 0:5 / /proc rw - proc proc rw";
    check(&judge_waiting(true, None, proc), Status::Ok, "kernel tells");
    check(&judge_waiting(true, Some(1), proc), Status::Ok, "kernel tells");
    check(&judge_waiting(true, Some(2), proc), Status::Weaker, "administrators");
    check(&judge_waiting(false, Some(0), proc), Status::Weaker, "no /proc/PID/syscall");
    let hidden = format!("{proc},hidepid=ptraceable");
    check(&judge_waiting(true, Some(0), &hidden), Status::Weaker, "hides");
}

#[test]
fn a_clock_from_before_this_program_is_wrong() {
    check(&wall_clock(0), Status::Bad, "before");
    check(&wall_clock(clock::wall().0), Status::Ok, "plausible");
}

#[test]
fn this_machine_is_examined_without_changing_it() {
    let (_base, home) = test_home();
    let environment = Environment::new();
    let mode = CgroupMode::Auto;
    let request = Request { mode, home_hash: "doctor", environment: &environment };
    let found = probe(&request);
    let before = crate::proc::cgroup(std::process::id());
    let facts = examine(&Examination {
        cgroup: CgroupFacts::Prospect(&found),
        state: Some(&home.state),
        user: None,
        daemon_cgroup: before.as_deref(),
    });
    let names: Vec<_> = facts.iter().map(|fact| fact.name).collect();
    let expected = [
        "cgroup",
        "logout",
        "home",
        "writable",
        "disk",
        "pidfd",
        "subreaper",
        "waiting",
        "descriptors",
        "clock",
    ];
    assert_eq!(names, expected);
    assert_eq!(crate::proc::cgroup(std::process::id()), before);
}

#[test]
fn a_user_is_known_by_the_number() {
    let passwd = b"root:x:0:0::/root:/bin/sh\n\xff\nann:x:1000:1000::/home/ann:/bin/sh\n";
    assert_eq!(user_name(passwd, 1000).as_deref(), Some("ann"));
    assert_eq!(user_name(passwd, 7), None);
}
