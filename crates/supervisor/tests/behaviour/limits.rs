//! Limits of a task where no cgroup controller enforces them, and what it gets of the machine.

use meanwhile_supervisor::exit::EndWhy;
use rustix::thread::sched_getaffinity;

use crate::rig::{PROBE, Rig, exit_code, exit_signal};

#[test]
fn a_tree_over_its_memory_is_killed_with_the_cause() {
    let mut rig = Rig::new();
    let mut spec = rig.spec(&format!("{PROBE} hold 64; echo never"));
    spec.memory_max = Some(32 << 20);
    rig.start(&spec);
    let record = rig.end();
    let EndWhy::MemoryLimit { used } = record.why else { panic!("{record:?}") };
    assert!(used > 32 << 20, "{used}");
    // SIGKILL follows SIGTERM at once: whichever the program meets first.
    assert!(matches!(exit_signal(&record), Some(libc::SIGTERM | libc::SIGKILL)), "{record:?}");
    assert!(!rig.log(1).contains("never"));
}

#[test]
fn a_tree_with_too_many_processes_is_killed_with_the_cause() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("for i in 1 2 3 4 5 6; do sleep 60 & done; wait");
    spec.pids_max = Some(4);
    rig.start(&spec);
    let EndWhy::PidsLimit { count } = rig.end().why else { panic!("it must be the limit") };
    assert_eq!(count, 7);
}

#[test]
fn a_tree_within_its_limits_is_left_alone() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("sleep 0.6; exit 3");
    spec.memory_max = Some(1 << 30);
    spec.pids_max = Some(100);
    rig.start(&spec);
    let record = rig.end();
    assert_eq!((exit_code(&record), record.why), (Some(3), EndWhy::Exited));
}

#[test]
fn processors_niceness_and_the_memory_killers_preference_are_set_before_the_program_runs() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("nproc; nice; cat /proc/self/oom_score_adj");
    spec.cpus = Some(1);
    spec.nice = Some(5);
    rig.start(&spec);
    assert_eq!(exit_code(&rig.end()), Some(0));
    let supervisor = format!("/proc/{}/oom_score_adj", rig.supervisor.id());
    let supervisor: i32 = std::fs::read_to_string(supervisor).unwrap().trim().parse().unwrap();
    let preferred = (supervisor + 100).min(1000);
    assert_eq!(rig.log(1), format!("1\n5\n{preferred}\n"));
    assert!(sched_getaffinity(None).unwrap().count() >= 1);
}
