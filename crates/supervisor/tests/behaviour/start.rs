//! How a task is started.

use meanwhile_supervisor::exit::{EndWhy, SpawnStage, TreeState};
use meanwhile_supervisor::wire::{FromSupervisor, RefusedWhy, Rlimit, Stdin, ToSupervisor};
use rustix::process::{Pid, Resource, getrlimit, prlimit};

use crate::rig::{Rig, exit_code, exit_signal};

#[test]
fn a_command_runs_its_output_is_kept_and_its_exit_code_is_true() {
    let mut rig = Rig::new();
    let record = rig.run_to_end("echo out; echo err >&2; exit 7");
    assert_eq!(exit_code(&record), Some(7));
    assert_eq!((record.why.clone(), record.tree), (EndWhy::Exited, TreeState::Empty));
    assert_eq!((record.log_bytes, record.dropped_bytes), (8, 0));
    assert_eq!(rig.log(1), "out\nerr\n");
    assert_eq!(rig.owner(1).exit, Some(record));
}

#[test]
fn a_task_killed_by_a_signal_says_so() {
    let mut rig = Rig::new();
    let record = rig.run_to_end("kill -9 $$");
    assert_eq!((exit_signal(&record), record.why), (Some(9), EndWhy::Exited));
}

#[test]
fn what_cannot_start_names_the_step_the_error_and_the_thing() {
    let mut rig = Rig::new();
    std::fs::write(rig.path("plain"), "no program").unwrap();
    let plain = rig.path("plain");
    let plain = plain.to_str().unwrap();
    let mut check =
        |argv: &str, cwd: &str, stdin: Stdin, expected: (SpawnStage, i32, u8), about: &str| {
            let mut spec = rig.spec("");
            spec.argv = vec![argv.as_bytes().to_vec()];
            if !cwd.is_empty() {
                spec.cwd = cwd.as_bytes().to_vec();
            }
            spec.stdin = stdin;
            rig.start(&spec);
            let failed = rig.hear_until(|message| match message {
                FromSupervisor::SpawnFailed { stage, errno, what, .. } => {
                    Some((stage, errno, what))
                }
                _ => None,
            });
            assert_eq!(failed, (expected.0, expected.1, about.to_owned()));
            let record = rig.end();
            let error = record.spawn_error.unwrap();
            assert_eq!((error.stage, error.errno, error.exit_code()), expected);
            assert_eq!(record.wait_status, None);
        };
    let exec = SpawnStage::Exec;
    check("/no/such", "", Stdin::Null, (exec, libc::ENOENT, 127), "/no/such");
    check("nosuchprogram", "", Stdin::Null, (exec, libc::ENOENT, 127), "nosuchprogram");
    check(plain, "", Stdin::Null, (exec, libc::EACCES, 126), plain);
    check("/", "", Stdin::Null, (exec, libc::EACCES, 126), "/");
    check("true", "/no/dir", Stdin::Null, (SpawnStage::Cwd, libc::ENOENT, 1), "/no/dir");
    let missing = Stdin::Path(b"/no/input".to_vec());
    check("true", "", missing, (SpawnStage::Stdin, libc::ENOENT, 1), "/no/input");
}

/// A shortage is no fault of the task: nothing has started, and the same attempt may be tried again.
#[test]
fn a_start_for_which_there_is_no_room_is_refused_and_may_be_tried_again() {
    let mut rig = Rig::new();
    let spec = rig.spec("exit 3");
    let pid = Pid::from_child(&rig.supervisor);
    // What it opens for itself is open when it answers.
    rig.tell(&ToSupervisor::Report);
    rig.hear_until(|message| matches!(message, FromSupervisor::Hello { .. }).then_some(()));
    // The start itself brings two descriptors; there is no room for a log or a pipe beside them.
    let open = std::fs::read_dir(format!("/proc/{}/fd", rig.supervisor.id())).unwrap().count();
    let few =
        rustix::process::Rlimit { current: Some(open as u64 + 3), ..getrlimit(Resource::Nofile) };
    let usual = prlimit(Some(pid), Resource::Nofile, few).unwrap();
    for _ in 0..2 {
        rig.start(&spec);
        assert_eq!(rig.hear_refused(), RefusedWhy::Shortage(libc::EMFILE));
        let view = rig.owner(1);
        assert!(view.started.is_none() && view.exit.is_none(), "{view:?}");
    }
    prlimit(Some(pid), Resource::Nofile, usual).unwrap();
    rig.start(&spec);
    assert_eq!(exit_code(&rig.end()), Some(3));
}

#[test]
fn a_script_without_an_interpreter_line_is_run_by_sh() {
    let mut rig = Rig::new();
    let script = rig.path("script");
    std::fs::write(&script, "echo \"ran $1\"\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut spec = rig.spec("");
    spec.argv = vec![script.to_str().unwrap().as_bytes().to_vec(), b"well".to_vec()];
    rig.start(&spec);
    assert_eq!(exit_code(&rig.end()), Some(0));
    assert_eq!(rig.log(1), "ran well\n");
}

#[test]
fn a_task_has_a_session_of_its_own_and_nothing_else_of_its_supervisor() {
    let mut rig = Rig::new();
    let mut spec = rig.spec(
        "ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/0; umask; pwd; ulimit -n; \
         grep -E '^Sig(Blk|Ign)' /proc/self/status; (: </dev/tty) 2>/dev/null || echo no terminal; \
         cut -d' ' -f5,6 /proc/$$/stat; echo $$",
    );
    spec.umask = 0o027;
    spec.rlimits = vec![Rlimit { resource: libc::RLIMIT_NOFILE, soft: 99, hard: u64::MAX }];
    spec.cwd = b"/usr".to_vec();
    rig.start(&spec);
    assert_eq!(exit_code(&rig.end()), Some(0));
    let log = rig.log(1);
    let lines: Vec<&str> = log.lines().collect();
    // `ls` has its own directory open as 3.
    assert_eq!(lines[0], "0 1 2 3 /dev/null");
    assert_eq!(lines[1..4], ["0027", "/usr", "99"]);
    assert_eq!(lines[4], "SigBlk:\t0000000000000000");
    assert_eq!(lines[5], "SigIgn:\t0000000000000000");
    assert_eq!(lines[6], "no terminal");
    let pid = lines[8];
    assert_eq!(lines[7], format!("{pid} {pid}"), "its group and session are its own");
}

#[test]
fn arguments_of_a_megabyte_arrive_whole() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("for a in \"$@\"; do printf %s \"$a\"; done | wc -c");
    spec.argv.push(b"sh".to_vec());
    spec.argv.extend((0..12).map(|_| vec![b'x'; 100_000]));
    rig.start(&spec);
    assert_eq!(exit_code(&rig.end()), Some(0));
    assert_eq!(rig.log(1).trim(), "1200000");
}

#[test]
fn stdin_may_be_a_file_a_fifo_that_waits_or_held_open() {
    let mut rig = Rig::new();
    std::fs::write(rig.path("input"), "from a file\n").unwrap();
    let mut spec = rig.spec("cat");
    spec.stdin = Stdin::Path(rig.path("input").to_str().unwrap().into());
    rig.start(&spec);
    assert_eq!(exit_code(&rig.end()), Some(0));
    assert_eq!(rig.log(1), "from a file\n");

    let fifo = rig.path("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let mut spec = rig.spec("cat");
    spec.stdin = Stdin::Path(fifo.to_str().unwrap().into());
    rig.start(&spec);
    std::fs::write(&fifo, "through a fifo\n").unwrap();
    assert_eq!(exit_code(&rig.end()), Some(0));
    assert_eq!(rig.log(2), "through a fifo\n");

    use meanwhile_supervisor::wire::ToSupervisor;
    let mut spec = rig.spec("read line; echo \"got $line\"; cat; echo end");
    spec.hold_stdin = true;
    rig.run(&spec);
    rig.tell(&ToSupervisor::Input { token: spec.token, bytes: b"one\ntwo\n".to_vec() });
    rig.tell(&ToSupervisor::CloseInput { token: spec.token });
    assert_eq!(exit_code(&rig.end()), Some(0));
    assert_eq!(rig.log(3), "got one\ntwo\nend\n");
}

#[test]
fn a_terminal_is_a_terminal_with_its_size_and_its_keys() {
    use meanwhile_supervisor::wire::{PtySize, ToSupervisor};
    let mut rig = Rig::new();
    let mut spec = rig.spec("test -t 0 && test -t 1 && tty >/dev/null && stty size </dev/tty; cat");
    spec.pty = Some(PtySize { cols: 91, rows: 17 });
    rig.run(&spec);
    crate::rig::wait_for("the size", || rig.log(1).contains("17 91"));
    rig.tell(&ToSupervisor::Input { token: spec.token, bytes: b"hello\n".to_vec() });
    rig.tell(&ToSupervisor::CloseInput { token: spec.token });
    let record = rig.end();
    assert_eq!(exit_code(&record), Some(0));
    let log = rig.log(1);
    assert!(log.starts_with("17 91\r\n"), "{log:?}");
    assert!(log.ends_with("hello\r\nhello\r\n"), "echo and answer: {log:?}");
}

#[test]
fn streams_kept_apart_have_a_log_each() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("echo out; echo err >&2");
    spec.split_streams = true;
    rig.start(&spec);
    assert_eq!(rig.end().log_bytes, 8);
    assert_eq!(rig.log(1), "err\n");
    assert_eq!(std::fs::read_to_string(rig.dir(1).join("stdout.log")).unwrap(), "out\n");
}
