//! The messages: what a daemon says to a supervisor and what it hears.
//!
//! Owns their kinds and bytes. Numbers are never reused; fields are only appended.

use std::fmt;

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::exit::{ExitRecord, SpawnError, SpawnStage};

use super::frame::Frame;
use super::spec::StartSpec;

/// The secret name of one attempt: what makes a message about it unmistakable.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; 16]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:032x})", u128::from_be_bytes(self.0))
    }
}

/// A task's id: ten characters of lower-case base32.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskId(pub [u8; 10]);

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({})", self.0.escape_ascii())
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// What a daemon (or, for `StartDaemon`, a client) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToSupervisor {
    /// "I am your daemon": the first message of every daemon. Said again by the same one, it replaces what it said
    /// before: an idle supervisor may be asked to stay for longer, and be let go.
    Init(Init),
    /// Run this. Its descriptors travel with it: send it by [`super::Connection::queue_start`].
    Start(Box<StartSpec>),
    /// End the task by the stop ladder.
    Stop {
        /// Which attempt.
        token: Token,
        /// Why; it appears in the exit record.
        why: StopWhy,
        /// Between SIGTERM and SIGKILL, in milliseconds.
        grace_ms: u64,
    },
    /// Replace the running-time deadline, counted from the start; `None` removes it.
    Extend {
        /// Which attempt.
        token: Token,
        /// The new deadline in milliseconds of running time.
        timeout_ms: Option<u64>,
    },
    /// Write to the task's stdin (`hold_stdin`) or to its terminal.
    Input {
        /// Which attempt.
        token: Token,
        /// What to write.
        bytes: Vec<u8>,
    },
    /// Close the task's stdin once everything before was written (on a terminal: send its end-of-file key).
    CloseInput {
        /// Which attempt.
        token: Token,
    },
    /// The exit record is in the store: forget the attempt.
    Recorded {
        /// Which attempt.
        token: Token,
    },
    /// Say `Hello` again, and `Ended` if one is not recorded.
    Report,
    /// The daemon ends on purpose: do not start another. An idle supervisor exits.
    DaemonStopping,
    /// From a client: start a daemon outside of any task.
    StartDaemon,
}

/// Who the daemon is and how to start another like it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Init {
    /// The home directory (where `daemon.lock` is).
    pub home: Vec<u8>,
    /// The executable a new daemon is started from; `/proc/self/exe` where it is gone.
    pub exe: Vec<u8>,
    /// Its arguments, without the program's name.
    pub daemon_args: Vec<Vec<u8>>,
    /// Its whole environment, `K=V`, from an allow list.
    pub daemon_env: Vec<Vec<u8>>,
    /// The leaf cgroup daemons live in, an absolute directory.
    pub daemon_cgroup: Option<Vec<u8>>,
    /// The name of the listening socket inside the run directory; the supervisor binds it once.
    pub socket_name: Vec<u8>,
    /// An idle supervisor exits after this many milliseconds.
    pub idle_ms: u32,
    /// A supervisor exits after this many tasks.
    pub max_tasks: u32,
}

/// Who asked for a task's stop, as far as its end's name depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopWhy {
    /// `cancel`.
    Cancel,
    /// `complete`: the outcome was reported by somebody.
    Reported,
    /// It waits for input and the policy is to kill it.
    Waiting,
    /// It was found stalled or looping.
    Stalled,
    /// The service it is part of is being stopped.
    Shutdown,
    /// A reason that a later release knows.
    Other(u8),
}

/// What a supervisor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromSupervisor {
    /// The first message of every connection, and the answer to `Report`.
    Hello {
        /// Its protocol version.
        protocol: u16,
        /// Its process id.
        pid: u32,
        /// Its start time: field 22 of `/proc/PID/stat`, clock ticks since boot.
        start_time: u64,
        /// The task it has, ended and unrecorded ones included.
        current: Option<Running>,
    },
    /// The task runs: the main process has executed its program.
    Started {
        /// Which attempt.
        token: Token,
        /// The main process.
        pid: u32,
        /// Its start time, clock ticks since boot.
        start_time: u64,
        /// Wall clock at the start, milliseconds since 1970.
        wall_ms: u64,
        /// Whether it runs in the cgroup that was asked for.
        in_cgroup: bool,
    },
    /// The program could not be started. `Ended` follows.
    SpawnFailed {
        /// Which attempt.
        token: Token,
        /// The system's error number.
        errno: i32,
        /// The step that failed.
        stage: SpawnStage,
        /// What it was about.
        what: String,
    },
    /// The start was not accepted: nothing ran and the lock is free.
    Refused {
        /// Which attempt.
        token: Token,
        /// Why.
        why: RefusedWhy,
    },
    /// The attempt is over; repeated until `Recorded`.
    Ended(Box<ExitRecord>),
    /// The attempt is recorded and its tree empty: the next `Start` is welcome.
    Idle,
    /// A slow hint: the log has grown.
    Progress {
        /// Which attempt.
        token: Token,
        /// Everything written so far, dropped bytes included.
        log_bytes: u64,
        /// Bytes of those that the log does not hold.
        dropped_bytes: u64,
    },
    /// The tree is not empty a minute after SIGKILL. The supervisor keeps watching; `Ended` follows if it
    /// ever is.
    Unkillable {
        /// Which attempt.
        token: Token,
        /// Some of the processes.
        pids: Vec<u32>,
    },
    /// The answer to `StartDaemon`.
    DaemonStarted {
        /// How it went.
        result: DaemonResult,
    },
    /// Something worth a line in the daemon's log.
    Note {
        /// The line.
        text: String,
    },
}

/// The task of a supervisor, as `Hello` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Which attempt.
    pub token: Token,
    /// Of which task.
    pub task: TaskId,
    /// The attempt's number.
    pub attempt: u32,
    /// The main process and its start time; `None` when it never ran.
    pub main: Option<(u32, u64)>,
    /// Wall clock at the start, milliseconds since 1970.
    pub started_wall_ms: u64,
    /// How far it is.
    pub phase: Phase,
    /// Everything written so far, dropped bytes included.
    pub log_bytes: u64,
    /// Bytes of those that the log does not hold.
    pub dropped_bytes: u64,
}

/// How far a supervisor's task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It runs.
    Running,
    /// It is being ended, or its leftovers are.
    Stopping,
    /// Its tree cannot be killed.
    Unkillable,
    /// It ended and its record waits for `Recorded`.
    Ended,
    /// It ended and was recorded; its leftovers live on because it asked for that.
    Kept,
}

/// Why a start was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedWhy {
    /// Another task runs here or waits to be recorded.
    Busy,
    /// The message or its descriptors make no sense.
    Malformed,
    /// This supervisor is about to exit.
    Leaving,
    /// The owner file could not be written.
    OwnerFile,
    /// The machine has no room for it at this moment: the error number.
    Shortage(i32),
    /// A reason that a later release knows.
    Other(u8),
}

/// How starting a daemon went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonResult {
    /// It was started; whether it comes up is seen at its socket.
    Started,
    /// A daemon holds the lock already.
    Alive,
    /// It could not be started: the error number.
    Failed(i32),
}

impl StopWhy {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Cancel => 1,
            Self::Reported => 2,
            Self::Waiting => 3,
            Self::Stalled => 4,
            Self::Shutdown => 5,
            Self::Other(number) => number,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Cancel,
            2 => Self::Reported,
            3 => Self::Waiting,
            4 => Self::Stalled,
            5 => Self::Shutdown,
            other => Self::Other(other),
        }
    }
}

/// The number of the one reason that has something behind it.
const SHORTAGE: u8 = 5;

impl RefusedWhy {
    fn number(self) -> u8 {
        match self {
            Self::Busy => 1,
            Self::Malformed => 2,
            Self::Leaving => 3,
            Self::OwnerFile => 4,
            Self::Shortage(_) => SHORTAGE,
            Self::Other(number) => number,
        }
    }

    fn encode(self, out: &mut Encoder) {
        out.u8(self.number());
        if let Self::Shortage(errno) = self {
            out.i32(errno);
        }
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(match input.u8("why")? {
            1 => Self::Busy,
            2 => Self::Malformed,
            3 => Self::Leaving,
            4 => Self::OwnerFile,
            SHORTAGE => Self::Shortage(input.i32("error number")?),
            other => Self::Other(other),
        })
    }
}

impl Phase {
    fn number(self) -> u8 {
        match self {
            Self::Running => 1,
            Self::Stopping => 2,
            Self::Unkillable => 3,
            Self::Ended => 4,
            Self::Kept => 5,
        }
    }

    fn from_number(number: u8) -> Result<Self, DecodeError> {
        Ok(match number {
            1 => Self::Running,
            2 => Self::Stopping,
            3 => Self::Unkillable,
            4 => Self::Ended,
            5 => Self::Kept,
            _ => return Err(DecodeError::Invalid { field: "phase" }),
        })
    }
}

/// Kinds of `ToSupervisor`.
mod to {
    pub(super) const INIT: u16 = 1;
    pub(crate) const START: u16 = 2;
    pub(super) const STOP: u16 = 3;
    pub(super) const EXTEND: u16 = 4;
    pub(super) const INPUT: u16 = 5;
    pub(super) const CLOSE_INPUT: u16 = 6;
    pub(super) const RECORDED: u16 = 7;
    pub(super) const REPORT: u16 = 8;
    pub(super) const DAEMON_STOPPING: u16 = 9;
    pub(super) const START_DAEMON: u16 = 10;
    pub(crate) const START_BY_MEMFD: u16 = 11;
}
pub(super) use to::{START, START_BY_MEMFD};

/// Kinds of `FromSupervisor`.
mod from {
    pub(super) const HELLO: u16 = 101;
    pub(super) const STARTED: u16 = 102;
    pub(super) const SPAWN_FAILED: u16 = 103;
    pub(super) const REFUSED: u16 = 104;
    pub(super) const ENDED: u16 = 105;
    pub(super) const IDLE: u16 = 106;
    pub(super) const PROGRESS: u16 = 107;
    pub(super) const UNKILLABLE: u16 = 108;
    pub(super) const DAEMON_STARTED: u16 = 109;
    pub(super) const NOTE: u16 = 110;
}

impl ToSupervisor {
    /// The message as a frame.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        let mut out = Encoder::new();
        let kind = match self {
            Self::Init(init) => {
                init.encode(&mut out);
                to::INIT
            }
            Self::Start(spec) => {
                spec.encode(&mut out);
                START
            }
            Self::Stop { token, why, grace_ms } => {
                out.raw(&token.0).u8(why.number()).u64(*grace_ms);
                to::STOP
            }
            Self::Extend { token, timeout_ms } => {
                out.raw(&token.0).option(timeout_ms.as_ref(), |out, ms| {
                    out.u64(*ms);
                });
                to::EXTEND
            }
            Self::Input { token, bytes } => {
                out.raw(&token.0).bytes(bytes);
                to::INPUT
            }
            Self::CloseInput { token } => {
                out.raw(&token.0);
                to::CLOSE_INPUT
            }
            Self::Recorded { token } => {
                out.raw(&token.0);
                to::RECORDED
            }
            Self::Report => to::REPORT,
            Self::DaemonStopping => to::DAEMON_STOPPING,
            Self::StartDaemon => to::START_DAEMON,
        };
        Frame { kind, body: out.finish() }
    }

    /// The message a frame holds; `None` for a kind this release does not know.
    ///
    /// # Errors
    /// When a known kind's fields cannot be read.
    pub fn from_frame(frame: &Frame) -> Result<Option<Self>, DecodeError> {
        let mut body = Decoder::new(&frame.body);
        let token = |d: &mut Decoder<'_>| d.array("token").map(Token);
        Ok(Some(match frame.kind {
            to::INIT => Self::Init(Init::decode(&mut body)?),
            START => Self::Start(Box::new(StartSpec::decode(&mut body)?)),
            to::STOP => Self::Stop {
                token: token(&mut body)?,
                why: StopWhy::from_number(body.u8("why")?),
                grace_ms: body.u64("grace")?,
            },
            to::EXTEND => Self::Extend {
                token: token(&mut body)?,
                timeout_ms: body.option("timeout", |d| d.u64("timeout"))?,
            },
            to::INPUT => Self::Input { token: token(&mut body)?, bytes: body.vec("input")? },
            to::CLOSE_INPUT => Self::CloseInput { token: token(&mut body)? },
            to::RECORDED => Self::Recorded { token: token(&mut body)? },
            to::REPORT => Self::Report,
            to::DAEMON_STOPPING => Self::DaemonStopping,
            to::START_DAEMON => Self::StartDaemon,
            _ => return Ok(None),
        }))
    }
}

impl Init {
    fn encode(&self, out: &mut Encoder) {
        let Self {
            home,
            exe,
            daemon_args,
            daemon_env,
            daemon_cgroup,
            socket_name,
            idle_ms,
            max_tasks,
        } = self;
        out.bytes(home).bytes(exe);
        for list in [daemon_args, daemon_env] {
            out.list(list, |out, item| {
                out.bytes(item);
            });
        }
        out.option(daemon_cgroup.as_ref(), |out, path| {
            out.bytes(path);
        });
        out.bytes(socket_name).u32(*idle_ms).u32(*max_tasks);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            home: input.vec("home")?,
            exe: input.vec("exe")?,
            daemon_args: input.list("daemon arguments", |d| d.vec("argument"))?,
            daemon_env: input.list("daemon environment", |d| d.vec("variable"))?,
            daemon_cgroup: input.option("daemon cgroup", |d| d.vec("daemon cgroup"))?,
            socket_name: input.vec("socket name")?,
            idle_ms: input.u32("idle time")?,
            max_tasks: input.u32("task limit")?,
        })
    }
}

impl FromSupervisor {
    /// The message as a frame.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        let mut out = Encoder::new();
        let kind = match self {
            Self::Hello { protocol, pid, start_time, current } => {
                out.u16(*protocol).u32(*pid).u64(*start_time);
                out.option(current.as_ref(), |out, current| {
                    out.nested(|out| current.encode(out));
                });
                from::HELLO
            }
            Self::Started { token, pid, start_time, wall_ms, in_cgroup } => {
                out.raw(&token.0).u32(*pid).u64(*start_time).u64(*wall_ms).flag(*in_cgroup);
                from::STARTED
            }
            Self::SpawnFailed { token, errno, stage, what } => {
                out.raw(&token.0);
                SpawnError { errno: *errno, stage: *stage, what: what.clone() }.encode(&mut out);
                from::SPAWN_FAILED
            }
            Self::Refused { token, why } => {
                out.raw(&token.0);
                why.encode(&mut out);
                from::REFUSED
            }
            Self::Ended(record) => {
                record.encode(&mut out);
                from::ENDED
            }
            Self::Idle => from::IDLE,
            Self::Progress { token, log_bytes, dropped_bytes } => {
                out.raw(&token.0).u64(*log_bytes).u64(*dropped_bytes);
                from::PROGRESS
            }
            Self::Unkillable { token, pids } => {
                out.raw(&token.0).list(pids, |out, pid| {
                    out.u32(*pid);
                });
                from::UNKILLABLE
            }
            Self::DaemonStarted { result } => {
                let (tag, errno) = match result {
                    DaemonResult::Started => (0, 0),
                    DaemonResult::Alive => (1, 0),
                    DaemonResult::Failed(errno) => (2, *errno),
                };
                out.u8(tag).i32(errno);
                from::DAEMON_STARTED
            }
            Self::Note { text } => {
                out.bytes(text.as_bytes());
                from::NOTE
            }
        };
        Frame { kind, body: out.finish() }
    }

    /// The message a frame holds; `None` for a kind this release does not know.
    ///
    /// # Errors
    /// When a known kind's fields cannot be read.
    pub fn from_frame(frame: &Frame) -> Result<Option<Self>, DecodeError> {
        let mut body = Decoder::new(&frame.body);
        let token = |d: &mut Decoder<'_>| d.array("token").map(Token);
        Ok(Some(match frame.kind {
            from::HELLO => Self::Hello {
                protocol: body.u16("protocol")?,
                pid: body.u32("pid")?,
                start_time: body.u64("start time")?,
                current: body.option("current", |d| Running::decode(&mut d.nested("current")?))?,
            },
            from::STARTED => Self::Started {
                token: token(&mut body)?,
                pid: body.u32("pid")?,
                start_time: body.u64("start time")?,
                wall_ms: body.u64("started")?,
                in_cgroup: body.flag("in cgroup")?,
            },
            from::SPAWN_FAILED => {
                let token = token(&mut body)?;
                let SpawnError { errno, stage, what } = SpawnError::decode(&mut body)?;
                Self::SpawnFailed { token, errno, stage, what }
            }
            from::REFUSED => {
                Self::Refused { token: token(&mut body)?, why: RefusedWhy::decode(&mut body)? }
            }
            from::ENDED => Self::Ended(Box::new(ExitRecord::decode(&mut body)?)),
            from::IDLE => Self::Idle,
            from::PROGRESS => Self::Progress {
                token: token(&mut body)?,
                log_bytes: body.u64("log bytes")?,
                dropped_bytes: body.u64("dropped bytes")?,
            },
            from::UNKILLABLE => Self::Unkillable {
                token: token(&mut body)?,
                pids: body.list("pids", |d| d.u32("pid"))?,
            },
            from::DAEMON_STARTED => {
                let tag = body.u8("result")?;
                let errno = body.i32("errno")?;
                let result = match tag {
                    0 => DaemonResult::Started,
                    1 => DaemonResult::Alive,
                    _ => DaemonResult::Failed(errno),
                };
                Self::DaemonStarted { result }
            }
            from::NOTE => Self::Note { text: body.text("text")? },
            _ => return Ok(None),
        }))
    }
}

impl Running {
    fn encode(&self, out: &mut Encoder) {
        let Self { token, task, attempt, main, started_wall_ms, phase, log_bytes, dropped_bytes } =
            self;
        out.raw(&token.0).raw(&task.0).u32(*attempt);
        out.option(main.as_ref(), |out, (pid, start_time)| {
            out.u32(*pid).u64(*start_time);
        });
        out.u64(*started_wall_ms).u8(phase.number()).u64(*log_bytes).u64(*dropped_bytes);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            token: Token(input.array("token")?),
            task: TaskId(input.array("task")?),
            attempt: input.u32("attempt")?,
            main: input.option("main", |d| Ok((d.u32("main pid")?, d.u64("main start time")?)))?,
            started_wall_ms: input.u64("started")?,
            phase: Phase::from_number(input.u8("phase")?)?,
            log_bytes: input.u64("log bytes")?,
            dropped_bytes: input.u64("dropped bytes")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{EndWhy, Leaked, LeakedProcess, OomEvidence, TreeState, Usage};
    use crate::wire::{PtySize, Rlimit, Stdin};

    const TOKEN: Token = Token([7; 16]);

    fn record() -> ExitRecord {
        ExitRecord {
            token: TOKEN,
            wait_status: Some(-1),
            spawn_error: Some(SpawnError { errno: 2, stage: SpawnStage::Exec, what: "x".into() }),
            why: EndWhy::OutOfMemory(OomEvidence::SystemCounter(3)),
            tree: TreeState::Kept,
            run_ms: 1,
            started_wall_ms: 2,
            ended_wall_ms: 3,
            usage: Usage { user_us: 4, system_us: 5, max_rss_kib: 6 },
            log_bytes: 7,
            dropped_bytes: 8,
            leaked: Leaked { count: 9, named: vec![LeakedProcess { pid: 10, comm: "y".into() }] },
        }
    }

    fn spec() -> StartSpec {
        let argv = vec![b"a".to_vec(), Vec::new()];
        StartSpec {
            env: vec![b"K=V".to_vec()],
            rlimits: vec![Rlimit { resource: 1, soft: 2, hard: u64::MAX }],
            stdin: Stdin::Spool(b"/s".to_vec()),
            pty: Some(PtySize { cols: 3, rows: 4 }),
            timeout_ms: Some(5),
            cgroup: Some(b"/c".to_vec()),
            cpus: Some(6),
            nice: Some(-7),
            keep_leaked: true,
            ..StartSpec::new(TOKEN, TaskId(*b"0123456789"), 8, argv, b"/".to_vec())
        }
    }

    fn to_supervisor() -> Vec<ToSupervisor> {
        vec![
            ToSupervisor::Init(Init {
                home: b"/h".to_vec(),
                exe: b"/e".to_vec(),
                daemon_args: vec![b"a".to_vec()],
                daemon_env: vec![b"K=V".to_vec(), Vec::new()],
                daemon_cgroup: Some(b"/c".to_vec()),
                socket_name: b"s".to_vec(),
                idle_ms: 1,
                max_tasks: 2,
            }),
            ToSupervisor::Start(Box::new(spec())),
            ToSupervisor::Stop { token: TOKEN, why: StopWhy::Reported, grace_ms: 3 },
            ToSupervisor::Extend { token: TOKEN, timeout_ms: None },
            ToSupervisor::Extend { token: TOKEN, timeout_ms: Some(4) },
            ToSupervisor::Input { token: TOKEN, bytes: vec![0, 255] },
            ToSupervisor::CloseInput { token: TOKEN },
            ToSupervisor::Recorded { token: TOKEN },
            ToSupervisor::Report,
            ToSupervisor::DaemonStopping,
            ToSupervisor::StartDaemon,
        ]
    }

    fn from_supervisor() -> Vec<FromSupervisor> {
        let current = Running {
            token: TOKEN,
            task: TaskId(*b"0123456789"),
            attempt: 1,
            main: Some((2, 3)),
            started_wall_ms: 4,
            phase: Phase::Unkillable,
            log_bytes: 5,
            dropped_bytes: 6,
        };
        let hello = |current| FromSupervisor::Hello { protocol: 1, pid: 2, start_time: 3, current };
        let started = FromSupervisor::Started {
            token: TOKEN,
            pid: 1,
            start_time: 2,
            wall_ms: 3,
            in_cgroup: true,
        };
        let failed = FromSupervisor::SpawnFailed {
            token: TOKEN,
            errno: 1,
            stage: SpawnStage::Other(99),
            what: "w".into(),
        };
        let progress = FromSupervisor::Progress { token: TOKEN, log_bytes: 1, dropped_bytes: 2 };
        vec![
            hello(None),
            hello(Some(current)),
            started,
            failed,
            FromSupervisor::Refused { token: TOKEN, why: RefusedWhy::Leaving },
            FromSupervisor::Refused { token: TOKEN, why: RefusedWhy::Shortage(11) },
            FromSupervisor::Ended(Box::new(record())),
            FromSupervisor::Idle,
            progress,
            FromSupervisor::Unkillable { token: TOKEN, pids: vec![1, 2] },
            FromSupervisor::DaemonStarted { result: DaemonResult::Alive },
            FromSupervisor::DaemonStarted { result: DaemonResult::Failed(13) },
            FromSupervisor::Note { text: "t".into() },
        ]
    }

    /// A later release appends fields: whoever does not know them reads the rest as before.
    fn grown(mut frame: Frame) -> Frame {
        frame.body.extend_from_slice(&[1, 2, 3]);
        frame
    }

    #[test]
    fn every_message_arrives_as_it_was_sent_also_with_fields_of_a_later_release() {
        for message in to_supervisor() {
            let read = ToSupervisor::from_frame(&message.to_frame());
            assert_eq!(read, Ok(Some(message.clone())));
            assert_eq!(ToSupervisor::from_frame(&grown(message.to_frame())), Ok(Some(message)));
        }
        for message in from_supervisor() {
            let read = FromSupervisor::from_frame(&message.to_frame());
            assert_eq!(read, Ok(Some(message.clone())));
            assert_eq!(FromSupervisor::from_frame(&grown(message.to_frame())), Ok(Some(message)));
        }
    }

    #[test]
    fn a_message_cut_anywhere_is_an_error_and_never_a_panic() {
        let cut = |frame: Frame, read: &dyn Fn(&Frame) -> bool| {
            for len in 0..frame.body.len() {
                let part = Frame { kind: frame.kind, body: frame.body[..len].to_vec() };
                assert!(!read(&part), "kind {} cut at {len}", frame.kind);
            }
        };
        for message in to_supervisor() {
            cut(message.to_frame(), &|frame| ToSupervisor::from_frame(frame).is_ok());
        }
        for message in from_supervisor() {
            cut(message.to_frame(), &|frame| FromSupervisor::from_frame(frame).is_ok());
        }
    }

    #[test]
    fn a_kind_of_a_later_release_is_passed_over() {
        let frame = Frame { kind: 999, body: vec![1; 40] };
        assert_eq!(ToSupervisor::from_frame(&frame), Ok(None));
        assert_eq!(FromSupervisor::from_frame(&frame), Ok(None));
    }

    #[test]
    fn bytes_flipped_anywhere_are_read_or_refused_and_never_a_panic() {
        for message in from_supervisor() {
            let frame = message.to_frame();
            for at in 0..frame.body.len() {
                let mut flipped = frame.clone();
                flipped.body[at] ^= 0xff;
                let _ = FromSupervisor::from_frame(&flipped);
            }
        }
    }
}
