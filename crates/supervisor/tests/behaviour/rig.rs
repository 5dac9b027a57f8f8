//! A supervisor in a process of its own, and this test as its daemon.
//!
//! Owns a temporary home and the supervisor's process, which it kills at the end (its task dies with it).

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meanwhile_supervisor::exit::ExitRecord;
use meanwhile_supervisor::limits::PROTOCOL;
use meanwhile_supervisor::log::{LogView, Stream};
use meanwhile_supervisor::owner::{Owner, OwnerHeader, OwnerView};
use meanwhile_supervisor::process::{Identity, boot_id, is_alive, pid_namespace, start_time};
use meanwhile_supervisor::wire::{
    Connection, FromSupervisor, Init, Received, RefusedWhy, StartSpec, StopWhy, TaskId,
    ToSupervisor, Token,
};
use rustix::event::{PollFd, PollFlags};
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

pub(crate) const PROBE: &str = env!("CARGO_BIN_EXE_supervise-probe");

/// Far beyond everything that is waited for, so that only a broken promise meets it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) home: tempfile::TempDir,
    pub(crate) supervisor: Child,
    pub(crate) daemon: Connection,
    attempts: u32,
}

/// One end of a supervisor's socket that hung up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl Rig {
    /// A supervisor with a usual `Init`.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Init)) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("run")).unwrap();
        let run = File::open(home.path().join("run")).unwrap();
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        for fd in [theirs.as_fd(), run.as_fd()] {
            rustix::io::fcntl_setfd(fd, FdFlags::empty()).unwrap();
        }
        let supervisor = Command::new(PROBE)
            .args(meanwhile_supervisor::supervise_args(theirs.as_raw_fd(), run.as_raw_fd()))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Connection::new(ours).unwrap();
        let mut rig = Self { home, supervisor, daemon, attempts: 0 };
        assert!(matches!(rig.hear(), Ok(FromSupervisor::Hello { current: None, .. })));
        let mut init = rig.init();
        change(&mut init);
        rig.tell(&ToSupervisor::Init(init));
        rig
    }

    pub(crate) fn init(&self) -> Init {
        let home = self.home.path().as_os_str();
        Init {
            home: home.as_bytes().to_vec(),
            exe: PROBE.as_bytes().to_vec(),
            daemon_args: vec![b"daemon".to_vec(), home.as_bytes().to_vec()],
            daemon_env: vec![b"PATH=/usr/bin:/bin".to_vec(), b"ALLOWED=yes".to_vec()],
            daemon_cgroup: None,
            socket_name: b"nonce.sock".to_vec(),
            idle_ms: 60_000,
            max_tasks: 1000,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn tell(&mut self, message: &ToSupervisor) {
        self.daemon.tell(message);
        self.daemon.flush().unwrap();
    }

    /// The next message, or that the supervisor is gone.
    pub(crate) fn hear(&mut self) -> Result<FromSupervisor, Gone> {
        hear(&mut self.daemon)
    }

    /// Waits for the message that is meant, passing over others.
    pub(crate) fn hear_until<T>(&mut self, mut pick: impl FnMut(FromSupervisor) -> Option<T>) -> T {
        loop {
            let message = self.hear().expect("the supervisor must stay");
            if let Some(picked) = pick(message) {
                return picked;
            }
        }
    }

    /// A spec for a shell script with its own attempt directory.
    pub(crate) fn spec(&mut self, script: &str) -> StartSpec {
        self.attempts += 1;
        let mut token = [0; 16];
        token[..4].copy_from_slice(&self.attempts.to_le_bytes());
        let argv = ["/bin/sh", "-c", script].iter().map(|arg| arg.as_bytes().to_vec()).collect();
        let cwd = self.home.path().as_os_str().as_bytes().to_vec();
        let mut spec =
            StartSpec::new(Token(token), TaskId(*b"0123456789"), self.attempts, argv, cwd);
        spec.env = vec![b"PATH=/usr/local/bin:/usr/bin:/bin".to_vec()];
        spec
    }

    pub(crate) fn dir(&self, attempt: u32) -> PathBuf {
        self.path(&format!("attempt{attempt}"))
    }

    /// Claims the attempt's directory for the supervisor, as a daemon does.
    pub(crate) fn claim(&self, spec: &StartSpec) -> (OwnedFd, OwnedFd) {
        let path = self.dir(spec.attempt);
        let _ = std::fs::create_dir(&path);
        let dir = File::open(&path).unwrap();
        let pid = self.supervisor.id();
        let header = OwnerHeader {
            token: spec.token,
            boot_id: boot_id().unwrap(),
            pid_namespace: pid_namespace().unwrap(),
            pid,
            start_time: start_time(pid).unwrap(),
            cgroup: spec.cgroup.clone(),
            protocol: PROTOCOL,
            socket_name: b"nonce.sock".to_vec(),
        };
        (Owner::create(&dir, &header).unwrap().into_fd(), dir.into())
    }

    pub(crate) fn start(&mut self, spec: &StartSpec) {
        let (owner, dir) = self.claim(spec);
        self.daemon.queue_start(spec, owner, dir).unwrap();
        self.daemon.flush().unwrap();
    }

    /// Starts and waits until the program runs. Gives its pid.
    pub(crate) fn run(&mut self, spec: &StartSpec) -> u32 {
        self.start(spec);
        self.hear_until(|message| match message {
            FromSupervisor::Started { pid, .. } => Some(pid),
            FromSupervisor::SpawnFailed { what, .. } => panic!("{what} was not started"),
            FromSupervisor::Refused { why, .. } => panic!("refused: {why:?}"),
            _ => None,
        })
    }

    /// Starts a script and waits for its end.
    pub(crate) fn run_to_end(&mut self, script: &str) -> ExitRecord {
        let spec = self.spec(script);
        self.start(&spec);
        self.end()
    }

    /// Waits for the end and records it.
    pub(crate) fn end(&mut self) -> ExitRecord {
        let record = self.hear_end();
        self.tell(&ToSupervisor::Recorded { token: record.token });
        record
    }

    pub(crate) fn hear_end(&mut self) -> ExitRecord {
        self.hear_until(|message| match message {
            FromSupervisor::Ended(record) => Some(*record),
            FromSupervisor::Refused { why, .. } => panic!("refused: {why:?}"),
            _ => None,
        })
    }

    pub(crate) fn hear_refused(&mut self) -> RefusedWhy {
        self.hear_until(|message| match message {
            FromSupervisor::Refused { why, .. } => Some(why),
            _ => None,
        })
    }

    pub(crate) fn stop(&mut self, spec: &StartSpec, grace_ms: u64) {
        self.tell(&ToSupervisor::Stop { token: spec.token, why: StopWhy::Cancel, grace_ms });
    }

    /// Everything in the task's log.
    pub(crate) fn log(&self, attempt: u32) -> String {
        let mut view =
            LogView::open(File::open(self.dir(attempt)).unwrap(), Stream::Output).unwrap();
        let page = view.forward(0, usize::MAX, 1 << 20).unwrap();
        String::from_utf8_lossy(&page.bytes).into_owned()
    }

    /// What the owner file of an attempt says.
    pub(crate) fn owner(&self, attempt: u32) -> OwnerView {
        Owner::open(File::open(self.dir(attempt)).unwrap()).unwrap().read().unwrap()
    }

    /// Another connection to the supervisor's listening socket.
    pub(crate) fn connect(&self) -> Connection {
        let path = self.path("run/nonce.sock");
        wait_for("the listening socket", || path.exists());
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        Connection::new(socket).unwrap()
    }

    /// Waits until the supervisor has ended, and tells its exit code.
    pub(crate) fn wait_gone(&mut self) -> Option<i32> {
        let mut status = None;
        wait_for("the supervisor's end", || {
            status = self.supervisor.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// Replaces the daemon's end, so that the supervisor sees its daemon go.
    pub(crate) fn die(&mut self) {
        let (dead, _) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        self.daemon = Connection::new(dead).unwrap();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

pub(crate) fn hear(connection: &mut Connection) -> Result<FromSupervisor, Gone> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(message) = connection.next_from_supervisor().unwrap() {
            return Ok(message);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "the supervisor said nothing more");
        let timeout = rustix::time::Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap(),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut fds = [PollFd::new(&*connection, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&timeout)).unwrap();
        if connection.receive().unwrap() == Received::Closed {
            return connection.next_from_supervisor().unwrap().ok_or(Gone);
        }
    }
}

/// Waits for something that announces itself by no message.
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited for {what} in vain");
        // sleep: what is waited for here (files, states of processes) announces itself by no event.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The pid that a script wrote into a file of the home, and its start time.
pub(crate) fn written_pid(path: &Path) -> Identity {
    let mut pid = None;
    wait_for("a pid in a file", || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        pid = text.strip_suffix('\n').and_then(|text| text.parse().ok());
        pid.is_some()
    });
    let pid = pid.unwrap();
    Identity { pid, start_time: start_time(pid).unwrap_or(0) }
}

pub(crate) fn assert_dead(identity: Identity) {
    assert!(!is_alive(identity), "process {} lives", identity.pid);
}

pub(crate) fn exit_code(record: &ExitRecord) -> Option<i32> {
    let status = record.wait_status?;
    libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
}

pub(crate) fn exit_signal(record: &ExitRecord) -> Option<i32> {
    let status = record.wait_status?;
    libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
}

/// A directory where cgroups can be made, if this machine has one.
pub(crate) fn cgroup_root() -> Option<PathBuf> {
    ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().map(PathBuf::from).find(|root| {
        let probe = root.join(OsStr::new(&format!("mw-probe-{}", std::process::id())));
        let made = root.join("cgroup.procs").exists() && std::fs::create_dir(&probe).is_ok();
        let usable = made && probe.join("cgroup.kill").exists();
        let _ = std::fs::remove_dir(&probe);
        usable
    })
}
