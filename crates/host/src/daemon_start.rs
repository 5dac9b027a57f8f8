//! Starting the daemon when somebody needs it, and telling them when it listens.
//!
//! Owns the detached start, the pipe by which the new daemon says how it went, and the way round when
//! the caller is inside a task: there nothing is forked, the task's supervisor starts the daemon, so
//! that a cancel cannot take it along. Never decides whether one is needed.
//!
//! ```text
//!   caller --clone, setsid, orphaned--> daemon        3: the pipe back
//!          <-- "ready PID" | "running PID" | "failed CODE\ntext" --
//! ```
//!
//! A daemon that a supervisor started has no such pipe: what it says when it cannot run is left in a file of the home.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use meanwhile_supervisor::wire::{
    Connection, DaemonResult, FromSupervisor, Received, ToSupervisor, WireError,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::caller::Inside;
use crate::dir::Dir;
use crate::environment::{Environment, daemon_environment};
use crate::home::{Home, HomePaths, SOCKET};
use crate::launch::{FIRST_INHERITED, Launch, Lineage, launch, take_inherited};
use crate::lock;
use crate::spawn_supervisor::{Executable, PROGRAM, c_string};

/// How long the caller of a command waits for a daemon to come up.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// A message is a number and at most an error text.
const LONGEST_MESSAGE: u64 = 64 * 1024;
/// How often a socket that is to appear is tried: nothing tells us. It doubles up to [`TRY_LAST`].
const TRY_FIRST: Duration = Duration::from_millis(1);
const TRY_LAST: Duration = Duration::from_millis(50);
/// How long another daemon that has the lock may take to listen before its lock is tried again.
const OTHERS_TURN: Duration = Duration::from_secs(1);
/// How many daemons may die while they start before the start is given up, and the pause after the
/// first, which doubles: about half a second in all.
const DEATHS: u32 = 5;
const AFTER_DEATH: Duration = Duration::from_millis(20);
/// The last words of a daemon that could not run, in the home: the message that a pipe would have had.
const LAST_WORDS: &str = "daemon.failed";
/// How long one connection attempt may wait for a place in the daemon's queue.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// What starting a daemon depends on.
#[derive(Debug)]
pub struct StartRequest<'a> {
    /// The program to start; ours.
    pub executable: &'a Executable,
    /// The home it is to serve.
    pub home: &'a Home,
    /// The caller's environment, of which the daemon gets what is on its list.
    pub environment: &'a Environment,
    /// Whether the caller is inside a task ([`crate::caller::inside`]).
    pub inside: &'a Inside,
    /// How long to wait for it to listen.
    pub patience: Duration,
}

/// A daemon that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// The one that was started.
    New {
        /// Its pid.
        pid: u32,
    },
    /// Another was there already, or was started at the same moment.
    Running,
}

/// Why no daemon came up.
#[derive(Debug)]
pub enum StartError {
    /// It could not be executed.
    Launch(io::Error),
    /// It said why it cannot run, and with which exit code.
    Failed {
        /// The exit code for the caller.
        code: u8,
        /// The daemon's own words, hints included.
        text: String,
    },
    /// It ended without a word.
    Died,
    /// It did not listen in time.
    TimedOut(Duration),
    /// The task we are in has lost its supervisor and is about to be ended.
    TaskOrphaned,
    /// The task's supervisor could not be asked, or could not start it.
    Supervisor(String),
}

/// The new daemon's end of the pipe to whoever started it. Dropped without a word, it says that the
/// daemon died.
#[derive(Debug)]
pub struct Readiness {
    pipe: Option<std::fs::File>,
}

/// The arguments that make a process the daemon of this home, without the program's name. They are
/// also what a supervisor is told, so that it starts the same.
#[must_use]
pub fn daemon_arguments(paths: &HomePaths) -> Vec<OsString> {
    let mut arguments = Vec::new();
    if paths.explicit {
        arguments.extend([OsString::from("--home"), paths.state.clone().into_os_string()]);
    }
    arguments.extend(["daemon", "run"].map(OsString::from));
    arguments
}

/// The daemon of this home, if one listens: at its own address, else where the lock file says.
///
/// # Errors
/// `ENOENT` or `ECONNREFUSED` when there is none; `EAGAIN` when one is there and does not accept.
pub fn connect(home: &Home) -> io::Result<UnixStream> {
    let refused = match home.socket.connect_socket(SOCKET, CONNECT_PATIENCE) {
        Ok(stream) => return Ok(stream),
        Err(e) => e,
    };
    match lock::holder(&home.state) {
        // It was started by a process with another runtime directory.
        Ok(Some(holder)) if holder.socket != home.socket.path().join(SOCKET) => {
            connect_elsewhere(&holder.socket).ok_or(refused)
        }
        _ => Err(refused),
    }
}

fn connect_elsewhere(socket: &Path) -> Option<UnixStream> {
    let dir = Dir::open(socket.parent()?, &[SOCKET]).ok()?;
    dir.connect_socket(socket.file_name()?.to_str()?, CONNECT_PATIENCE).ok()
}

/// Starts a daemon and waits until it listens.
///
/// # Errors
/// Why there is none; what the daemon itself said is passed on word for word.
pub fn start(request: &StartRequest<'_>) -> Result<Started, StartError> {
    match request.inside {
        Inside::NoTask => start_detached(request),
        Inside::Orphaned(_) => Err(StartError::TaskOrphaned),
        Inside::Task { socket_name, .. } => {
            let deadline = Instant::now() + request.patience;
            forget_last_words(&request.home.state);
            ask_supervisor(request.home, socket_name, deadline)?;
            wait_for_socket_or_words(request.home, deadline)
                .ok_or(StartError::TimedOut(request.patience))?
        }
    }
}

/// Starts one until one listens. A daemon that is killed while it starts says nothing about the next
/// one, so it is tried again; one that dies each time is given up after a few.
fn start_detached(request: &StartRequest<'_>) -> Result<Started, StartError> {
    let deadline = Instant::now() + request.patience;
    let mut deaths = 0;
    let mut pause = AFTER_DEATH;
    loop {
        // What is left of the patience: a slow daemon that dies must not have the next one waited for all over.
        let patience = deadline.saturating_duration_since(Instant::now());
        match start_once(&StartRequest { patience, ..*request }) {
            Ok((pid, Message::Ready)) => return Ok(Started::New { pid }),
            Ok((_, Message::Failed { code, text })) => {
                return Err(StartError::Failed { code, text });
            }
            // That one may be killed before it listens: it is not waited for all the time there is.
            Ok((_, Message::Running)) => {
                let turn = deadline.min(Instant::now() + OTHERS_TURN);
                if wait_until_it_listens(request.home, turn).is_some() {
                    return Ok(Started::Running);
                }
            }
            Err(StartError::Died) if deaths < DEATHS => {
                deaths += 1;
                // sleep: whatever killed it announces nothing
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(StartError::TimedOut(_)) => return Err(StartError::TimedOut(request.patience)),
            Err(error) => return Err(error),
        }
        if Instant::now() >= deadline {
            return Err(StartError::TimedOut(request.patience));
        }
    }
}

fn start_once(request: &StartRequest<'_>) -> Result<(u32, Message), StartError> {
    let mut arguments = daemon_arguments(&request.home.paths);
    arguments.push(format!("--ready-fd={FIRST_INHERITED}").into());
    execute_and_listen(request, arguments)
}

fn execute_and_listen(
    request: &StartRequest<'_>,
    arguments: Vec<OsString>,
) -> Result<(u32, Message), StartError> {
    let (reader, writer) = io::pipe().map_err(StartError::Launch)?;
    let arguments = std::iter::once(PROGRAM.into()).chain(arguments);
    let arguments = arguments.map(|argument: OsString| c_string(argument.into_vec()));
    let environment = daemon_environment(request.environment).entries();
    let launched = launch(&Launch {
        executable: request.executable.as_fd(),
        arguments: &arguments.collect::<Vec<_>>(),
        environment: &environment.into_iter().map(c_string).collect::<Vec<_>>(),
        stderr: None,
        inherited: &[writer.as_fd()],
        lineage: Lineage::Orphan,
    })
    .map_err(StartError::Launch)?;
    drop(writer);
    Ok((launched.pid, read_message(reader.into(), request.patience)?))
}

impl Readiness {
    /// The pipe of a daemon that was started with `--ready-fd=N`.
    ///
    /// # Errors
    /// When there is no such descriptor. Call it once.
    pub fn inherited(number: RawFd) -> io::Result<Self> {
        Ok(Self { pipe: Some(take_inherited(number)?.into()) })
    }

    /// Nobody waits: the daemon was started by hand, or by systemd.
    #[must_use]
    pub fn nobody() -> Self {
        Self { pipe: None }
    }

    /// Says that the socket listens.
    pub fn ready(self) {
        self.say(format!("ready {}\n", std::process::id()));
    }

    /// Says that another daemon has the lock.
    pub fn already_running(self) {
        self.say("running\n".into());
    }

    /// Says why this daemon cannot run.
    pub fn failed(self, code: u8, text: &str) {
        self.say(failure(code, text));
    }

    fn say(self, message: String) {
        if let Some(mut pipe) = self.pipe {
            // Whoever waited may have given up: there is nobody else to tell.
            let _ = pipe.write_all(message.as_bytes());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Message {
    Ready,
    Running,
    Failed { code: u8, text: String },
}

fn read_message(pipe: OwnedFd, patience: Duration) -> Result<Message, StartError> {
    let deadline = Instant::now() + patience;
    if !wait_readable(&pipe, deadline) {
        return Err(StartError::TimedOut(patience));
    }
    // The daemon writes its message at once and closes, so the rest comes without waiting.
    let mut bytes = Vec::new();
    let read = std::fs::File::from(pipe).take(LONGEST_MESSAGE).read_to_end(&mut bytes);
    read.map_err(StartError::Launch)?;
    parse_message(&bytes).ok_or(StartError::Died)
}

fn parse_message(bytes: &[u8]) -> Option<Message> {
    let text = String::from_utf8_lossy(bytes);
    let (line, rest) = text.split_once('\n')?;
    match line.split_once(' ').unwrap_or((line, "")) {
        ("ready", _) => Some(Message::Ready),
        ("running", _) => Some(Message::Running),
        ("failed", code) => Some(Message::Failed { code: code.parse().ok()?, text: rest.into() }),
        _ => None,
    }
}

fn ask_supervisor(home: &Home, socket_name: &str, deadline: Instant) -> Result<(), StartError> {
    let failed = |e: &dyn fmt::Display| StartError::Supervisor(e.to_string());
    let run = home.run().map_err(|e| failed(&e))?;
    let socket = run.connect_socket(socket_name, CONNECT_PATIENCE).map_err(|e| failed(&e))?;
    let mut connection = Connection::new(socket.into()).map_err(|e| failed(&e))?;
    connection.tell(&ToSupervisor::StartDaemon);
    match converse(&mut connection, deadline).map_err(|e| failed(&e))? {
        Some(DaemonResult::Started | DaemonResult::Alive) => Ok(()),
        Some(DaemonResult::Failed(errno)) => Err(failed(&io::Error::from_raw_os_error(errno))),
        None => Err(StartError::Supervisor("it did not answer".into())),
    }
}

/// The supervisor's answer; `None` when it hangs up or time is over.
fn converse(
    connection: &mut Connection,
    deadline: Instant,
) -> Result<Option<DaemonResult>, WireError> {
    loop {
        connection.flush()?;
        if !wait_readable(&connection, deadline) {
            return Ok(None);
        }
        let state = connection.receive()?;
        while let Some(message) = connection.next_from_supervisor()? {
            if let FromSupervisor::DaemonStarted { result } = message {
                return Ok(Some(result));
            }
        }
        if state == Received::Closed {
            return Ok(None);
        }
    }
}

/// Leaves behind why this daemon cannot run, for clients that have asked a supervisor for one.
pub fn leave_last_words(state: &Dir, code: u8, text: &str) {
    forget_last_words(state);
    // Nothing else can be done for whoever waits: he is told that none came.
    let _ = state
        .create_new_file(LAST_WORDS)
        .and_then(|mut file| file.write_all(failure(code, text).as_bytes()));
}

/// A daemon runs, or is about to be started: what an earlier one said is of no interest any more.
pub fn forget_last_words(state: &Dir) {
    let _ = state.remove_file(LAST_WORDS);
}

fn last_words(state: &Dir) -> Option<Message> {
    let mut bytes = Vec::new();
    state.open_file(LAST_WORDS).ok()?.take(LONGEST_MESSAGE).read_to_end(&mut bytes).ok()?;
    parse_message(&bytes)
}

fn failure(code: u8, text: &str) -> String {
    format!("failed {code}\n{text}")
}

fn wait_until_it_listens(home: &Home, deadline: Instant) -> Option<()> {
    wait_until(deadline, || connect(home).ok().map(|_| ()))
}

fn wait_for_socket_or_words(home: &Home, deadline: Instant) -> Option<Result<Started, StartError>> {
    wait_until(deadline, || match (connect(home), last_words(&home.state)) {
        (Ok(_), _) => Some(Ok(Started::Running)),
        (Err(_), Some(Message::Failed { code, text })) => {
            Some(Err(StartError::Failed { code, text }))
        }
        (Err(_), _) => None,
    })
}

fn wait_until<T>(deadline: Instant, mut seen: impl FnMut() -> Option<T>) -> Option<T> {
    let mut pause = TRY_FIRST;
    loop {
        if let Some(seen) = seen() {
            return Some(seen);
        }
        if Instant::now() >= deadline {
            return None;
        }
        // sleep: a supervisor started it, and no pipe tells us when its socket is there.
        std::thread::sleep(pause);
        pause = (pause * 2).min(TRY_LAST);
    }
}

/// Waits until there is something to read or the other end is closed; false when time is over.
fn wait_readable(fd: &impl AsFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("less than the patience, which fits");
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(ready) => return ready > 0,
            Err(_) => return false,
        }
    }
}

impl StartError {
    /// The exit code for the command that needed the daemon: its own, or 5 for "unreachable".
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed { code, .. } => *code,
            _ => 5,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Died | Self::TimedOut(_) => {
                Some("see logs/daemon.log in the home, or run: meanwhile doctor")
            }
            Self::Supervisor(_) => Some("run meanwhile once outside of the task"),
            Self::Launch(_) | Self::Failed { .. } | Self::TaskOrphaned => None,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launch(e) => write!(f, "start the daemon: {e}"),
            Self::Failed { text, .. } => f.write_str(text.trim_end()),
            Self::Died => write!(f, "start the daemon: it ended without saying why"),
            Self::TimedOut(patience) => {
                write!(f, "start the daemon: it does not listen after {} s", patience.as_secs())
            }
            Self::TaskOrphaned => {
                write!(f, "start the daemon: this task has lost its supervisor and is being ended")
            }
            Self::Supervisor(why) => {
                write!(f, "start the daemon through the supervisor of this task: {why}")
            }
        }
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests;
