//! Both ends of the pipe, a real detached start (a shell stands in for the daemon), and the way round
//! through a supervisor (a thread stands in for it).

use std::os::unix::net::UnixListener;

use super::*;
use crate::caller::Attempt;
use crate::home::test_home;
use crate::proc::{self, Identity};

const SOON: Duration = Duration::from_secs(30);

fn said(speak: impl FnOnce(Readiness)) -> Result<Message, StartError> {
    let (reader, writer) = io::pipe().unwrap();
    speak(Readiness { pipe: Some(OwnedFd::from(writer).into()) });
    read_message(reader.into(), SOON)
}

#[test]
fn what_the_daemon_says_is_what_the_caller_hears() {
    assert_eq!(said(Readiness::ready).unwrap(), Message::Ready);
    assert_eq!(said(Readiness::already_running).unwrap(), Message::Running);
    let text = "open meanwhile.db: it is damaged\nhint: see the manual\n";
    let failed = said(|r| r.failed(6, text)).unwrap();
    assert_eq!(failed, Message::Failed { code: 6, text: text.into() });
    assert!(matches!(said(drop), Err(StartError::Died)));
}

#[test]
fn a_daemon_that_says_nothing_in_time_is_not_waited_for() {
    let (reader, _writer) = io::pipe().unwrap();
    let heard = read_message(reader.into(), Duration::ZERO);
    assert!(matches!(heard, Err(StartError::TimedOut(_))));
}

struct Setting {
    _base: tempfile::TempDir,
    home: Home,
    shell: Executable,
    environment: Environment,
}

impl Setting {
    fn new() -> Self {
        let (base, home) = test_home();
        let shell = Executable::of(Path::new("/bin/sh")).unwrap();
        let mut environment = Environment::new();
        environment.set("PATH", "/usr/bin:/bin");
        environment.set("MEANWHILE_SESSION", "s");
        Self { _base: base, home, shell, environment }
    }

    fn request<'a>(&'a self, inside: &'a Inside) -> StartRequest<'a> {
        let Self { home, shell: executable, environment, .. } = self;
        StartRequest { executable, home, environment, inside, patience: SOON }
    }

    fn execute(&self, line: &str) -> Result<(u32, Message), StartError> {
        let arguments = ["-c", line].map(OsString::from).to_vec();
        execute_and_listen(&self.request(&Inside::NoTask), arguments)
    }
}

#[test]
fn a_detached_daemon_is_nobodys_child_and_reports_through_the_pipe() {
    let setting = Setting::new();
    let line = "read -r s < /proc/$$/stat; set -- $s; \
                printf 'failed 7\\n%s %s-%s' $$ $4 \"$MEANWHILE_SESSION\" >&3";
    let (pid, message) = setting.execute(line).unwrap();
    let Message::Failed { code: 7, text } = message else { panic!("{message:?}") };
    let (told_pid, rest) = text.split_once(' ').unwrap();
    let (parent, session) = rest.split_once('-').unwrap();
    assert_eq!(told_pid, pid.to_string());
    assert_ne!(parent, std::process::id().to_string());
    assert_eq!(session, "", "the caller's session is not the daemon's");
}

#[test]
fn the_caller_goes_on_while_the_daemon_runs() {
    let setting = Setting::new();
    let (pid, message) = setting.execute("echo ready >&3; exec 3>&-; exec sleep 600").unwrap();
    assert_eq!(message, Message::Ready);
    let daemon = proc::identity(pid).expect("it runs on");
    meanwhile_supervisor::process::signal(daemon, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_program_that_is_no_daemon_is_told_as_dead() {
    let setting = Setting::new();
    // The shell does not understand the daemon's arguments.
    let error = start(&setting.request(&Inside::NoTask)).unwrap_err();
    assert!(matches!(error, StartError::Died), "{error:?}");
    assert_eq!(error.exit_code(), 5);
}

#[test]
fn a_start_that_another_daemon_won_waits_for_that_one() {
    let setting = Setting::new();
    let _listener = setting.home.state.bind_socket(SOCKET).unwrap();
    let (_, message) = setting.execute("echo running >&3").unwrap();
    assert_eq!(message, Message::Running);
    assert_eq!(wait_until_it_listens(&setting.home, Instant::now()), Some(()));
}

#[test]
fn a_home_in_a_named_directory_names_it_to_the_daemon() {
    let setting = Setting::new();
    let home = setting.home.state.path().as_os_str();
    assert_eq!(
        daemon_arguments(&setting.home.paths),
        ["--home".as_ref(), home, "daemon".as_ref(), "run".as_ref()]
    );
}

/// Answers one client as a supervisor does, and then stands in for the daemon's socket too.
fn supervisor(listener: &UnixListener, home: &Home, result: DaemonResult) -> Option<UnixListener> {
    listener.set_nonblocking(false).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut asked = [0; 6];
    Read::read_exact(&mut &stream, &mut asked).unwrap();
    let mut connection = Connection::new(stream.into()).unwrap();
    connection.say(&FromSupervisor::Hello { protocol: 1, pid: 1, start_time: 1, current: None });
    connection.say(&FromSupervisor::DaemonStarted { result });
    connection.flush().unwrap();
    (result == DaemonResult::Started).then(|| home.state.bind_socket(SOCKET).unwrap())
}

#[test]
fn inside_a_task_the_supervisor_starts_the_daemon_and_nothing_is_forked() {
    let setting = Setting::new();
    let listener = setting.home.run().unwrap().bind_socket("x.sock").unwrap();
    let inside = Inside::Task {
        socket_name: "x.sock".into(),
        supervisor: Identity { pid: 1, start_time: 1 },
    };
    let ask = |result| {
        std::thread::scope(|scope| {
            let answering = scope.spawn(|| supervisor(&listener, &setting.home, result));
            let started = start(&setting.request(&inside));
            let _daemon = answering.join().unwrap();
            started
        })
    };
    let refused = ask(DaemonResult::Failed(libc::EAGAIN)).unwrap_err();
    assert!(matches!(&refused, StartError::Supervisor(_)), "{refused:?}");
    assert_eq!(ask(DaemonResult::Started).unwrap(), Started::Running);
}

#[test]
fn inside_a_task_a_daemon_that_cannot_run_says_why() {
    let setting = Setting::new();
    let listener = setting.home.run().unwrap().bind_socket("x.sock").unwrap();
    let inside = Inside::Task {
        socket_name: "x.sock".into(),
        supervisor: Identity { pid: 1, start_time: 1 },
    };
    leave_last_words(&setting.home.state, 2, "of an earlier one");
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            let daemon = supervisor(&listener, &setting.home, DaemonResult::Alive);
            leave_last_words(&setting.home.state, 6, "open it: not a database\nhint: keep it");
            daemon
        });
        start(&setting.request(&inside)).unwrap_err()
    });
    assert_eq!(error.exit_code(), 6);
    assert_eq!(error.to_string(), "open it: not a database\nhint: keep it");
    forget_last_words(&setting.home.state);
    assert_eq!(last_words(&setting.home.state), None);
}

#[test]
fn a_task_without_a_supervisor_starts_nothing() {
    let setting = Setting::new();
    let attempt = Attempt { task: meanwhile_core::TaskId::from_random(1), number: 1 };
    let error = start(&setting.request(&Inside::Orphaned(attempt))).unwrap_err();
    assert!(matches!(error, StartError::TaskOrphaned));
}

#[test]
fn a_client_with_another_runtime_directory_finds_the_daemon_by_the_lock() {
    let setting = Setting::new();
    assert!(connect(&setting.home).is_err());
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("daemon.sock");
    let _lock = lock::DaemonLock::acquire(&setting.home.state, &path).unwrap();
    let _listener = UnixListener::bind(&path).unwrap();
    connect(&setting.home).unwrap();
}
