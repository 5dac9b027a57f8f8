//! Shedding what a daemon inherited from the command that happened to start it.
//!
//! Owns the limits and preferences of our own process. A client under `ulimit -t 10`, `nice` or
//! `taskset` asks that of its task, not of a daemon that serves everybody after it. For a daemon that
//! was started on demand: one that an administrator starts keeps what the administrator gave it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Limits that would end or cripple the daemon. Each is raised as far as it may be.
const IN_THE_WAY: &[Resource] = &[
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::As,
    Resource::Nproc,
    Resource::Nofile,
];

/// Raises what may be raised, writes no core files (they would hold environments), runs on every
/// processor, and gives the process our name whatever descriptor it was executed from.
///
/// What is refused stays as it was: nothing here is needed to run.
pub fn settle() {
    for resource in IN_THE_WAY {
        let Rlimit { current, maximum } = getrlimit(*resource);
        // Who may raise the hard limit, too, does: the next tasks are others'. (There is no unlimited number of open
        // files: the kernel's own bound holds.)
        let nothing = Rlimit { current: None, maximum: None };
        let raised = *resource != Resource::Nofile && setrlimit(*resource, nothing).is_ok();
        if !raised && current != maximum {
            let _ = setrlimit(*resource, Rlimit { current: maximum, maximum });
        }
    }
    let maximum = getrlimit(Resource::Core).maximum;
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
    let _ = rustix::process::setpriority_process(None, 0);
    let mut all = CpuSet::new();
    for cpu in 0..CpuSet::MAX_CPU {
        all.set(cpu);
    }
    // The kernel takes those of them that there are and that our cpuset allows.
    let _ = sched_setaffinity(None, &all);
    let _ = rustix::thread::set_name(c"meanwhile");
}

/// The most bytes that a file of ours may have, where that is limited.
#[must_use]
pub fn file_size_limit() -> Option<u64> {
    getrlimit(Resource::Fsize).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_does_not_keep_the_limits_of_the_command_that_started_it() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let low = Rlimit { current: Some(64), maximum: hard };
        setrlimit(Resource::Nofile, low).unwrap();
        let mut first = CpuSet::new();
        let before = rustix::thread::sched_getaffinity(None).unwrap();
        let cpu = (0..CpuSet::MAX_CPU).find(|cpu| before.is_set(*cpu)).unwrap();
        first.set(cpu);
        sched_setaffinity(None, &first).unwrap();

        settle();

        assert_eq!(getrlimit(Resource::Nofile).current, hard);
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        let after = rustix::thread::sched_getaffinity(None).unwrap();
        assert!(after.count() >= before.count());
        assert_eq!(rustix::thread::name().unwrap().to_bytes(), b"meanwhile");
    }
}
