//! Real processes that try to get away: new sessions, double forks, shed environments.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::cgroup::TestSubtree;

const SOON: Duration = Duration::from_secs(30);

/// A supervisor that is certainly gone: our own number with a start before ours.
fn gone() -> Identity {
    let own = proc::own_identity().unwrap();
    Identity { start_time: own.start_time - 1, ..own }
}

fn remains(task: TaskId, main: Option<Identity>) -> Remains {
    Remains { task, attempt: 1, cgroup: None, supervisor: gone(), main }
}

/// A shell that runs `line` and prints the pids it was told to.
struct Shell {
    child: Child,
    pids: Vec<u32>,
}

impl Shell {
    /// The line has to print one line of pids.
    fn start(task: Option<TaskId>, line: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::piped());
        if let Some(task) = task {
            command.env("MEANWHILE_TASK", task.to_string()).env("MEANWHILE_ATTEMPT", "1");
        }
        let mut child = command.spawn().unwrap();
        let mut told = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut told).unwrap();
        let pids = told.split_whitespace().map(|word| word.parse().unwrap()).collect();
        Self { child, pids }
    }

    fn identities(&self) -> Vec<Identity> {
        let all = self.pids.iter().copied().chain([self.child.id()]);
        all.map(|pid| proc::identity(pid).unwrap()).collect()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for pid in &self.pids {
            // Only what is still the process this test started: its parent is the shell or init.
            if let Some(identity) = proc::identity(*pid) {
                let _ = meanwhile_supervisor::process::signal(identity, Signal::KILL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check_all_dead(processes: &[Identity], killed: &Killed) {
    assert_eq!(killed.left, [], "verified empty");
    for process in processes {
        assert!(!is_alive(*process), "{process:?} survived");
        assert!(killed.killed.contains(process), "{process:?} is not reported");
    }
}

#[test]
fn what_descends_from_the_main_process_is_ended_with_it() {
    let shell = Shell::start(None, "sleep 600 & setsid sleep 600 & echo $!; wait");
    let main = proc::identity(shell.child.id());
    let processes = shell.identities();
    let killed = kill_remains(&remains(TaskId::from_random(1), main), SOON).unwrap();
    check_all_dead(&processes, &killed);
}

#[test]
fn an_orphan_in_its_own_session_is_found_by_its_marks() {
    let task = TaskId::from_random(u64::from(std::process::id()));
    let line = "(setsid sh -c 'echo $$; exec sleep 600' &) ; sleep 600";
    let shell = Shell::start(Some(task), line);
    let processes = shell.identities();
    let killed = kill_remains(&remains(task, None), SOON).unwrap();
    check_all_dead(&processes, &killed);
}

#[test]
fn another_attempts_processes_are_left_alone() {
    let task = TaskId::from_random(u64::from(std::process::id()) + 1);
    let shell = Shell::start(Some(task), "echo $$; exec sleep 600");
    let other = Remains { attempt: 2, ..remains(task, None) };
    assert_eq!(kill_remains(&other, SOON).unwrap(), Killed::default());
    let reused = shell.identities()[0];
    let reused = Identity { start_time: reused.start_time - 1, ..reused };
    let stale = remains(TaskId::from_random(2), Some(reused));
    assert_eq!(kill_remains(&stale, SOON).unwrap(), Killed::default());
    assert!(is_alive(shell.identities()[0]));
}

#[test]
fn a_task_with_a_living_supervisor_is_not_touched() {
    let shell = Shell::start(None, "echo $$; exec sleep 600");
    let main = shell.identities()[0];
    let supervisor = proc::own_identity().unwrap();
    let alive = Remains { supervisor, ..remains(TaskId::from_random(3), Some(main)) };
    let error = kill_remains(&alive, SOON).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(is_alive(main));
}

/// The one that only a cgroup catches: no marks, no ancestor of ours. Without a cgroup to be had
/// there is nothing to prove, and the reason is not empty.
#[test]
fn a_daemon_that_shed_everything_is_ended_by_its_cgroup() {
    let Some(subtree) = TestSubtree::enter("remains") else { return };
    let task = TaskId::from_random(4);
    let directory = subtree.task(task, 1);
    std::fs::create_dir(&directory).unwrap();
    let enter = format!("echo 0 > {}/cgroup.procs", directory.display());
    let escape = "(env -i setsid sh -c 'echo $$; exec sleep 600' &) ; sleep 600";
    let shell = Shell::start(None, &format!("{enter} && {escape}"));
    let processes = shell.identities();
    let tree = Tree { cgroup: Some(directory.clone()), supervisor: gone() };
    let usage = usage(&tree);
    assert!(processes.iter().all(|p| usage.processes.contains(p)), "{usage:?}");
    assert!(usage.rss > 0);

    let remains = Remains { cgroup: Some(directory.clone()), ..remains(task, None) };
    let killed = kill_remains(&remains, SOON).unwrap();
    assert_eq!(killed.left, []);
    assert!(processes.iter().all(|p| !is_alive(*p)));
    assert!(!directory.exists());
}

#[test]
fn usage_without_a_cgroup_is_that_of_the_supervisors_descendants() {
    // It tells its number when it runs already and then stands still.
    let shell = Shell::start(None, "sh -c 'echo $$; kill -STOP $$' & wait");
    let supervisor = proc::identity(shell.child.id()).unwrap();
    let seen = usage(&Tree { cgroup: None, supervisor });
    assert_eq!(seen.processes.iter().map(|p| p.pid).collect::<Vec<_>>(), shell.pids);
    assert!(seen.rss > 0);
    let stranger = Identity { start_time: supervisor.start_time + 1, ..supervisor };
    assert_eq!(usage(&Tree { cgroup: None, supervisor: stranger }), Usage::default());
}
