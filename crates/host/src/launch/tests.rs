//! What a launched process finds when it looks at itself, told by a shell that is launched.

use std::io::Read;
use std::os::fd::AsFd;

use super::*;

fn strings(list: &[&str]) -> Vec<CString> {
    list.iter().map(|s| CString::new(*s).unwrap()).collect()
}

struct Shell {
    executable: OwnedFd,
}

impl Shell {
    fn new() -> Self {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Self { executable: rustix::fs::open("/bin/sh", flags, Mode::empty()).unwrap() }
    }

    /// Runs a line whose descriptor 3 is a pipe to us; what it wrote there, and the process.
    fn run(&self, line: &str, lineage: Lineage) -> (String, Launched) {
        let (reader, writer) = io::pipe().unwrap();
        let arguments = strings(&["sh", "-c", line]);
        let environment = strings(&["PATH=/usr/bin:/bin", "ONLY=this"]);
        let launched = launch(&Launch {
            executable: self.executable.as_fd(),
            arguments: &arguments,
            environment: &environment,
            stderr: None,
            inherited: &[writer.as_fd()],
            lineage,
        })
        .unwrap();
        drop(writer);
        let mut told = String::new();
        (&reader).read_to_string(&mut told).unwrap();
        (told, launched)
    }

    fn tell(&self, line: &str) -> String {
        let (told, launched) = self.run(line, Lineage::Child);
        assert!(wait(launched.pid).unwrap().success(), "{line}");
        told.trim_end().to_owned()
    }
}

#[test]
fn a_launched_process_has_its_descriptors_and_no_other() {
    // Descriptors of ours without close-on-exec, as careless libraries leave them.
    let _leaky: Vec<OwnedFd> = (0..5)
        .map(|_| {
            let fd = rustix::fs::open("/dev/zero", OFlags::RDONLY, Mode::empty()).unwrap();
            rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty()).unwrap();
            fd
        })
        .collect();
    let told = Shell::new().tell(
        "told=$(cd /proc/$$/fd && for f in *; do echo $f $(readlink $f); done); echo \"$told\" >&3",
    );
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(&lines[..3], ["0 /dev/null", "1 /dev/null", "2 /dev/null"], "{told}");
    assert!(lines[3].starts_with("3 pipe:"), "{told}");
    // What follows is the shell's own pipe, from which it reads the list.
    assert!(lines[4..].iter().all(|line| line.contains("pipe:")), "{told}");
    assert!(lines.len() <= 5, "{told}");
}

#[test]
fn a_launched_process_is_clean() {
    let shell = Shell::new();
    assert_eq!(shell.tell("pwd >&3"), "/");
    assert_eq!(shell.tell("umask >&3"), "0077");
    assert_eq!(shell.tell("echo $ONLY-$HOME- >&3"), "this--");
    let own_session = shell.tell("read -r stat < /proc/$$/stat; set -- $stat; echo $1 $5 $6 >&3");
    let numbers: Vec<&str> = own_session.split(' ').collect();
    assert!(numbers.iter().all(|n| *n == numbers[0]), "pid, group and session: {own_session}");
}

#[test]
fn ignored_and_blocked_signals_of_ours_are_not_handed_on() {
    // Rust programs ignore SIGPIPE, so there is something to hand on.
    let line = "while read -r line; do case $line in SigBlk*|SigIgn*) echo $line >&3;; esac; done";
    let told = Shell::new().tell(&format!("{line} < /proc/$$/status"));
    for line in told.lines() {
        let (name, mask) = line.split_once(':').unwrap();
        assert_eq!(u64::from_str_radix(mask.trim(), 16), Ok(0), "{name}: {told}");
    }
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[test]
fn an_orphan_is_nobodys_child_of_ours() {
    let line = "read -r stat < /proc/$$/stat; set -- $stat; echo $$ $4 >&3";
    let (told, launched) = Shell::new().run(line, Lineage::Orphan);
    let (pid, parent) = told.trim_end().split_once(' ').unwrap();
    assert_eq!(pid, launched.pid.to_string());
    assert_ne!(parent, std::process::id().to_string());
    let error = wait(launched.pid).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
}

#[test]
fn what_cannot_be_executed_fails_here_and_leaves_no_process() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("no-program");
    std::fs::write(&path, "just text").unwrap();
    let executable =
        rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    for lineage in [Lineage::Child, Lineage::Orphan] {
        let error = launch(&Launch {
            executable: executable.as_fd(),
            arguments: &strings(&["x"]),
            environment: &[],
            stderr: None,
            inherited: &[],
            lineage,
        })
        .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    }
}

#[test]
fn many_threads_launch_at_once() {
    let shell = Shell::new();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let shell = &shell;
            scope.spawn(move || assert_eq!(shell.tell(&format!("echo {n} >&3")), n.to_string()));
        }
    });
}

#[test]
fn the_pidfd_tells_the_end() {
    let (_, launched) = Shell::new().run("exit 7", Lineage::Child);
    let pidfd = launched.pidfd.unwrap();
    let mut ready = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut ready, None).unwrap();
    assert_eq!(wait(launched.pid).unwrap().code(), Some(7));
}

#[test]
fn the_standard_descriptors_are_never_taken_over() {
    for number in 0..3 {
        assert!(take_inherited(number).is_err());
    }
    assert_eq!(take_inherited(40_000).unwrap_err().raw_os_error(), Some(libc::EBADF));
}
